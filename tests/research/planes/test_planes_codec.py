"""The codec of planes as fitted, and its recipe from audio to a decoder at a small size."""

import numpy as np
import pytest
import soundfile
import torch

from eulerodec import Codec, audio
from eulerodec.metrics import si_sdr
from eulerodec.samples import SAMPLE
from eulerodec.train.cache import pack
from research.planes import recipe
from research.planes.codec import HEAD, PlanesCodec, load_coder
from research.planes.fit import PlaneRule
from research.planes.material import open_frames, prepare, synthetic


@pytest.fixture(scope="module")
def codec() -> PlanesCodec:
    return PlanesCodec()


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return audio.read(SAMPLE)[0][0][: 4 * 24_000]


@pytest.fixture(scope="module")
def twelve(codec, speech):
    return codec.encode(speech, 12)


def test_speech_is_nearer_than_with_the_same_bits_for_every_frame(codec, speech):
    released = Codec.from_pretrained()
    old = released.decode(released.encode(speech, 24_000, bitrate_kbps=6)).numpy()[0]
    packets = codec.encode(speech, 6)
    seconds = len(speech) / 24_000
    used = sum(HEAD + len(payload) for _, payload in packets)
    assert 0.985 * 750 * seconds <= used <= 750 * seconds
    new = codec.decode(packets, len(speech))
    assert si_sdr(speech, new) > si_sdr(speech, old) + 1.0


def test_a_cut_recording_is_nearly_that_of_the_lower_rate(codec, speech, twelve):
    six = codec.decode(codec.encode(speech, 6), len(speech))
    cut = codec.decode(codec.cut(twelve, len(speech), 6), len(speech))
    assert si_sdr(speech, cut) > si_sdr(speech, six) - 0.3


@pytest.mark.parametrize("n_samples", [1, 263, 264, 5000])
def test_any_length_and_any_rate(codec, speech, n_samples):
    wav = speech[30_000 : 30_000 + n_samples]
    for kbps in (1, 7.3, 16):
        packets = codec.encode(wav, kbps)
        used = sum(len(payload) for _, payload in packets)
        assert used <= kbps * 125 * n_samples / 24_000
        decoded = codec.decode(packets, n_samples)
        assert decoded.shape == wav.shape and np.isfinite(decoded).all()


def test_soft_speech_is_coded_as_well_as_loud(codec, speech):
    """The level leaves the codes: the released weights lose 2.4 dB at -40 dB."""
    soft = speech * np.float32(0.01)
    near = [si_sdr(x, codec.decode(codec.encode(x, 6), len(x))) for x in (speech, soft)]
    assert near[1] > near[0] - 1.0


def test_the_recipe_runs_from_audio_to_a_decoder(tmp_path):
    model = Codec.from_pretrained().model
    for k in range(2):
        soundfile.write(tmp_path / f"{k}.wav", synthetic(20.0, 24_000, k), 24_000)
    pack([tmp_path], tmp_path / "cache", sample_rate=24_000, quiet=True)
    prepare(model, tmp_path / "cache", tmp_path / "frames", synthetic_minutes=0)
    frames = open_frames(tmp_path / "frames")
    assert len(frames.parts) == 2
    sizes = recipe.FitSizes(60, 40, 4, codebook_size=256, energy_stages=2, count_bytes=300)
    rule = PlaneRule(energy_planes=(2, 4), n_latents=3)
    recipe.fit(model, frames, rule, sizes, tmp_path / "fit", say=lambda _: None)
    coder = load_coder(model, tmp_path / "fit")
    before = [p.clone() for p in model.decoder.parameters()]
    net = recipe.train_decoder(
        model, frames, coder, minutes=0.001, out=tmp_path / "fit/decoder.safetensors",
        n_packets=3, batch_size=2, say=lambda _: None,
    )  # fmt: skip
    # the model that was given is as it was, the one that was trained is not
    assert all(torch.equal(a, b) for a, b in zip(before, model.decoder.parameters(), strict=True))
    assert not torch.equal(net.decoder.out_proj.weight, model.decoder.out_proj.weight)
    trained = PlanesCodec(tmp_path / "fit")
    wav = synthetic(2.0, 24_000, 5)
    assert trained.decode(trained.encode(wav, 2), len(wav)).shape == wav.shape
