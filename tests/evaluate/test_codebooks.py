"""Statistics of codes whose entropies are known."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from eulerodec import audio
from eulerodec.cli import main
from eulerodec.errors import AudioError
from eulerodec.evaluate.codebooks import analyse, stage_use

SIZE = 64


def draw(n, clips=20, seed=0, size=SIZE):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, size, n) for _ in range(clips)]


def test_uniform_codes_cost_their_bits():
    use = stage_use(1, draw(5000), SIZE)
    assert (use.codes, use.used, use.dead, use.bits) == (100_000, 64, 0, 6)
    assert use.entropy == pytest.approx(6, abs=1e-3)
    assert use.perplexity == pytest.approx(64, rel=1e-3)
    assert use.coded_order0 == pytest.approx(6, abs=0.01)
    assert 6 <= use.coded_order1 < 6.1  # nothing to gain from time, and little to lose
    assert use.conditional == pytest.approx(use.conditional_shuffled, abs=0.01)


def test_dead_codes_are_counted():
    use = stage_use(1, [c % 8 for c in draw(2000)], SIZE)
    assert (use.used, use.dead, use.usage) == (8, 56, 0.125)
    assert use.entropy == pytest.approx(3, abs=0.01)
    assert use.perplexity == pytest.approx(8, rel=0.01)


def test_a_known_distribution():
    p = np.array([0.5, 0.25, 0.125, 0.125])
    rng = np.random.default_rng(1)
    use = stage_use(1, [rng.choice(4, 4000, p=p) for _ in range(10)], 4)
    assert use.entropy == pytest.approx(1.75, abs=0.01)
    assert use.coded_order0 == pytest.approx(1.75, abs=0.01)


def test_a_markov_chain():
    """Stays with probability 0.9, else any other code: H = h(0.9) + 0.1 log2 15."""
    rng = np.random.default_rng(2)
    clips = []
    for _ in range(20):
        steps = np.where(rng.random(5000) < 0.9, 0, rng.integers(1, 16, 5000))
        clips.append(np.cumsum(steps) % 16)
    use = stage_use(1, clips, 16)
    truth = -0.9 * math.log2(0.9) - 0.1 * math.log2(0.1) + 0.1 * math.log2(15)
    assert use.entropy == pytest.approx(4, abs=0.05)
    assert use.conditional == pytest.approx(truth, abs=0.02)
    assert use.coded_order1 == pytest.approx(truth, abs=0.03)
    assert use.conditional_shuffled == pytest.approx(4, abs=0.05)


def test_few_codes_do_not_fool_what_a_coder_needs():
    """2000 uniform codes of 1024: counting pairs says 1 bit or so, no coder can do that."""
    use = stage_use(1, draw(200, clips=10, size=1024), 1024)
    assert use.conditional < 2 and use.conditional_shuffled < 2
    assert use.coded_order0 > 9.9 and use.coded_order1 > 9.9


def test_stages_are_apart():
    one, two = draw(500, seed=1), draw(500, seed=2)
    clips = [np.stack([a, b % 4]) for a, b in zip(one, two, strict=True)]
    uses = analyse(clips, SIZE)
    assert [u.stage for u in uses] == [1, 2] and [u.used for u in uses] == [64, 4]
    with pytest.raises(AudioError, match="two clips"):
        analyse(clips[:1], SIZE)


def test_the_command(clips, tmp_path, weights, codec, capsys):
    out = tmp_path / "out"
    assert main(["codebooks", str(weights), "--data", str(clips), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    rows = list(csv.DictReader((out / "codebooks.csv").read_text().splitlines()))
    assert len(rows) == codec.model.n_codebooks
    frames = 0
    used = set()
    for file in sorted(clips.rglob("*.wav")):
        wav, rate = audio.read(file)
        codes = codec.encode(wav, rate, n_codebooks=codec.model.n_codebooks).codes[0]
        frames += codes.shape[1]
        used |= set(codes[0].tolist())
    assert int(rows[0]["codes"]) == frames and int(rows[0]["used"]) == len(used)
    assert f"{frames} frames, 11 bits" in text
    assert (out / "codebooks.png").read_bytes().startswith(b"\x89PNG")
