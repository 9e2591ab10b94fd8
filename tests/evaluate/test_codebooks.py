"""Statistics of codes whose entropies are known."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from helpers.code_tables import n_codes, random_codes, random_tables

from eulerodec import audio
from eulerodec.bitstream import PayloadCoder
from eulerodec.cli import main
from eulerodec.errors import AudioError
from eulerodec.evaluate.codebooks import analyse, codes_of, costs, stage_use

SIZE = 64


def draw(*arguments, **options):
    return np.random.default_rng(0).choice(*arguments, **options)


def use_of(codes, size=SIZE):
    return stage_use("latent", 1, codes, np.zeros(len(codes)), size)


def test_uniform_codes_cost_their_bits():
    use = use_of(draw(SIZE, 100_000))
    assert (use.codes, use.used, use.dead, use.bits) == (100_000, 64, 0, 6)
    assert use.entropy == pytest.approx(6, abs=1e-3)
    assert use.perplexity == pytest.approx(64, rel=1e-3)


def test_dead_codes_are_counted():
    use = use_of(draw(8, 40_000))
    assert (use.used, use.dead, use.usage) == (8, 56, 0.125)
    assert use.entropy == pytest.approx(3, abs=0.01)
    assert use.perplexity == pytest.approx(8, rel=0.01)


def test_few_codes_are_corrected_for():
    """Of 2000 codes of 1024 alike the counts say 9.56 bits or so; the truth is 10."""
    use = use_of(draw(1024, 2000), 1024)
    assert np.log2(use.perplexity) < 9.6 and use.entropy > 9.8


def test_a_known_distribution():
    use = use_of(draw(4, 40_000, p=[0.5, 0.25, 0.125, 0.125]), 4)
    assert use.entropy == pytest.approx(1.75, abs=0.01)


@pytest.mark.parametrize("n_bytes", [12, 60, 300, 10_000])
def test_costs_add_up_to_the_payload(n_bytes):
    """The range coder is the independent source: its bytes are the sum of all costs."""
    tables = random_tables()
    payload = PayloadCoder(tables)
    data = payload.encode(random_codes(3, tables, 2, 20), n_bytes)
    codes = payload.decode(data, 2, 20)
    rows = list(costs(payload, codes))
    assert sum(len(values) for _, _, values, _ in rows) == n_codes(codes) - 2  # levels aside
    bits = sum(float(cost.sum()) for *_, cost in rows) + 2 * 8
    # where the bytes end, the codes on which they are not settled do not count
    assert 8 * len(data) - 40 < bits <= 8 * len(data)


def test_stages_and_kinds_are_apart():
    tables = random_tables()
    payload = PayloadCoder(tables)
    packets = [random_codes(seed, tables, 1, 50) for seed in range(3)]
    packets[0].latents[:, 2:] = -1
    uses = analyse(payload, packets)
    assert [(u.kind, u.stage) for u in uses] == [
        *(("energy", k) for k in range(1, 5)),
        *(("latent", k) for k in range(1, 6)),
    ]
    assert [u.codes for u in uses] == [75] * 4 + [150] * 2 + [100] * 3
    with pytest.raises(AudioError, match="no codes"):
        analyse(payload, [])


def test_the_command(clips, tmp_path, weights, codec, capsys):
    out = tmp_path / "out"
    command = ["codebooks", str(weights), "--data", str(clips), "--out", str(out)]
    assert main([*command, "--bitrate", "4"]) == 0
    text = capsys.readouterr().out
    rows = list(csv.DictReader((out / "codebooks.csv").read_text().splitlines()))
    packets = []
    for file in sorted(clips.rglob("*.wav")):
        packets += codes_of(codec, audio.read(file)[0][0], 4)
    total = sum(n_codes(codes) - 1 for codes in packets)
    assert sum(int(row["codes"]) for row in rows) == total and f"{total} codes, " in text
    first = np.concatenate([codes.latents[0, 0] for codes in packets])
    row = next(row for row in rows if (row["kind"], row["stage"]) == ("latent", "1"))
    assert int(row["used"]) == len(set(first[first >= 0].tolist()))
    assert (out / "codebooks.png").read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--bitrate", "17"]) == 2
    assert "17" in capsys.readouterr().err
