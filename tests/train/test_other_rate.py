"""Another sample rate and hop than the released ones, from codes to the cut of a file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.cli import speech

from eulerodec.bitstream import cut_file
from eulerodec.cli import main
from eulerodec.codec import Codec, Encoded
from eulerodec.train.cache import pack
from eulerodec.train.fit import FitSizes, write_codes
from eulerodec.train.material import synthetic
from eulerodec.train.recipe import load_recipe
from eulerodec.train.tables import PlaneRule

RATE, HOP = 16_000, 256
SMOKE = Path(__file__).parents[2] / "recipes" / "smoke.toml"
SETTINGS = (
    f"model.sample_rate={RATE}", f"model.hop_length={HOP}",
    "train.steps=2", "train.init_crops=8", "train.threads=1", "data.val_crops=1",
    'data.val=["2.wav"]', "data.val_fraction=0",
    "augment.speed_p=1", "augment.eq_p=1", "augment.band_limit_p=1",
)  # fmt: skip
SIZES = FitSizes(
    energy_packets=40, latent_packets=30, count_packets=4, codebook_size=256, energy_stages=6,
    rule=PlaneRule(energy_planes=(2, 4, 6, 8, 10, 12), n_latents=6),
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Small codes, and two training steps of a small network for them."""
    root = tmp_path_factory.mktemp("runs")
    for k in range(3):
        soundfile.write(root / f"{k}.wav", synthetic(8.0, RATE, k), RATE)
    cache = str(pack([root], root / "cache", sample_rate=RATE, quiet=True))
    recipe = load_recipe(SMOKE, [*SETTINGS, f"data.paths=['{cache}']"])
    write_codes(recipe, root / "codes", SIZES)
    out = root / "16khz"
    settings = (*SETTINGS, f"model.codes={root / 'codes'}")
    words = [word for text in settings for word in ("--set", text)]
    assert main(["train", str(SMOKE), "--data", cache, "--out", str(out), *words]) == 0
    return out


@pytest.fixture(scope="module")
def codec(run) -> Codec:
    return Codec.from_pretrained(run)


def test_the_run_counts_seconds_at_its_own_rate(run):
    facts = json.loads((run / "training.json").read_text())
    assert facts["audio_hours_seen"] == round(2 * 4 * 0.5 / 3600, 3)
    hours = sum(source["hours"] for source in facts["data"])
    assert hours == round(16 / 3600, 3)  # two of three recordings
    assert np.isfinite(list(facts["validation"].values())).all()


def test_frames_and_rates_are_those_of_the_configuration(codec):
    assert (codec.sample_rate, codec.model.hop_length) == (RATE, HOP)
    wav = speech(RATE, RATE)
    encoded = codec.encode(wav, RATE, n_codebooks=6)
    assert encoded.codes.shape == (1, 6, -(-RATE // HOP) + 1)
    for kbps in (2, 4.5):
        size = len(codec.encode(wav, RATE, bitrate_kbps=kbps).to_bytes())
        assert size <= 125 * kbps + 100  # the header


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_files_decode_whole_and_cut(codec, rate):
    n = 3 * rate + 17
    data = codec.encode(speech(n, rate), rate, bitrate_kbps=3).to_bytes()
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
    streamed = [p for k in range(0, RATE, 997) for p in encoder.push(wav[:, k : k + 997])]
    streamed += encoder.flush()
    whole = codec.encode(wav, RATE, n_codebooks=6, frames_per_packet=24).packets
    assert b"".join(p.payload for p in streamed) == b"".join(p.payload for p in whole)
