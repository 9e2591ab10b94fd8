"""Another sample rate and hop than the released ones, from training to the cut of a file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.cli import speech

from eulerodec.bitstream import cut_file
from eulerodec.cli import main
from eulerodec.codec import Codec, Encoded

RATE, HOP = 16_000, 256
SMOKE = Path(__file__).parents[2] / "recipes" / "smoke.toml"
SETTINGS = (
    f"model.sample_rate={RATE}", f"model.hop_length={HOP}", "model.codebook_size=256",
    "train.steps=2", "train.init_crops=8", "train.threads=1",
    "data.synthetic_seconds=40", "data.val_crops=1", "data.val_fraction=0.3",
    "augment.speed_p=1", "augment.eq_p=1", "augment.band_limit_p=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Two training steps of a small network from generated audio."""
    out = tmp_path_factory.mktemp("runs") / "16khz"
    settings = [word for text in SETTINGS for word in ("--set", text)]
    assert main(["train", str(SMOKE), "--out", str(out), *settings]) == 0
    return out


@pytest.fixture(scope="module")
def codec(run) -> Codec:
    return Codec.from_pretrained(run)


def test_the_run_counts_seconds_at_its_own_rate(run):
    facts = json.loads((run / "training.json").read_text())
    assert facts["audio_hours_seen"] == round(2 * 4 * 0.5 / 3600, 3)
    # every generated item lasts a second
    hours = sum(source["hours"] for source in facts["data"])
    assert 15 <= round(hours * 3600) <= 40
    assert np.isfinite(list(facts["validation"].values())).all()


def test_frames_and_rates_are_those_of_the_configuration(codec):
    assert (codec.sample_rate, codec.model.hop_length) == (RATE, HOP)
    for k, kbps in enumerate(codec.bitrates_kbps, 1):
        assert kbps == pytest.approx(k * 8 * RATE / HOP / 1000)
        assert codec.n_codebooks_for(kbps) == k
    encoded = codec.encode(speech(RATE, RATE), RATE, n_codebooks=6)
    assert encoded.codes.shape == (1, 6, -(-RATE // HOP) + 1)


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_files_decode_whole_and_cut(codec, rate):
    n = 2 * rate + 17
    encoded = codec.encode(speech(n, rate), rate, n_codebooks=3)
    data = encoded.to_bytes()
    whole = codec.decode(Encoded.from_bytes(data)).numpy()
    assert whole.shape == (1, n) and np.isfinite(whole).all()
    start, stop = rate // 2 + 5, rate + 1000
    part = io.BytesIO()
    cut_file(io.BytesIO(data), part, start, stop)
    got = codec.decode(Encoded.from_bytes(part.getvalue())).numpy()
    np.testing.assert_allclose(got, whole[:, start:stop], rtol=0, atol=1e-5)


def test_blocks_of_a_stream_give_the_codes_of_the_whole(codec):
    wav = speech(RATE, RATE)
    encoder = codec.streaming_encoder(n_codebooks=6)
    pieces = [encoder.push(wav[:, k : k + 997]) for k in range(0, RATE, 997)]
    streamed = np.concatenate([*(p.numpy() for p in pieces), encoder.flush().numpy()], -1)
    whole = codec.encode(wav, RATE, n_codebooks=6).codes.numpy()
    assert np.array_equal(streamed, whole)
