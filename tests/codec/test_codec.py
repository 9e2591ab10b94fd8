"""The codec's promises: exact lengths, rates, channels, weights.  Streams: the other file."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import agree, build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import eulerodec
from eulerodec.bitstream import EulReader
from eulerodec.codec import Codec
from eulerodec.codec.encoded import Encoded
from eulerodec.codec.weights import load_weights
from eulerodec.errors import AudioError, BitstreamError, ConfigError, WeightsError

HOP = 264


def noise(n: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((channels, n))).astype(np.float32)


# --- lengths and shapes


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    n=st.one_of(st.sampled_from([0, 1, 2, 263, 264, 265, 527, 528, 529]), st.integers(0, 4000)),
    rate=st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 192_000]),
    channels=st.sampled_from([1, 2, 6]),
)
def test_length_is_exact_through_bytes(codec: Codec, n, rate, channels):
    data = codec.compress(noise(n, channels), rate, 2)
    wav, got = codec.decompress(data)
    assert wav.shape == (channels, n) and wav.dtype == torch.float32 and got == rate
    at_model_rate, got = codec.decompress(data, 24_000)
    assert got == 24_000
    assert at_model_rate.shape == (channels, math.ceil(Fraction(n * 24_000, rate)))


def test_shapes_of_encoded(codec):
    encoded = codec.encode(noise(4410, 2), 44_100, bitrate_kbps=5)
    frames = codec.model.n_frames(2400)
    assert encoded.codes.shape == (2, 5, frames) and encoded.codes.dtype == torch.int64
    assert (encoded.sample_rate, encoded.n_samples, encoded.n_samples_model) == (44_100, 4410, 2400)
    assert (encoded.n_channels, encoded.n_codebooks, encoded.bitrate_kbps) == (2, 5, 5.0)
    assert encoded.frame_rate == 24_000 / HOP and encoded.duration_s == 0.1


def test_one_dimension_numpy_and_tensors_are_the_same(codec):
    x = noise(1000)
    codes = codec.encode(x, 24_000).codes
    for same in (x[0], x.astype(np.float64), torch.from_numpy(x), torch.from_numpy(x[0]).double()):
        assert torch.equal(codec.encode(same, 24_000).codes, codes)


def test_channels_do_not_influence_each_other(codec):
    x = noise(3000, 3)
    together = codec.encode(x, 16_000)
    assert agree(together.codes, torch.cat([codec.encode(row, 16_000).codes for row in x]))
    one = together.info.replace(n_channels=1)
    apart = [codec.decode(Encoded(codes[None], one)) for codes in together.codes]
    assert torch.allclose(codec.decode(together), torch.cat(apart), rtol=0, atol=1e-5)


def test_codes_are_those_of_the_plain_model(codec):
    x = noise(5000)
    encoded = codec.encode(x, 24_000, n_codebooks=7)
    assert agree(encoded.codes, codec.model.encode(torch.from_numpy(x)[None], 7))
    plain = codec.model.decode(encoded.codes, 5000)[0]
    assert torch.allclose(codec.decode(encoded), plain, rtol=0, atol=1e-5)


# --- bitrates


@pytest.mark.parametrize("kbps", range(1, 13))
def test_a_stage_is_exactly_one_kbps(codec, kbps):
    assert codec.kbps_per_stage == 1
    encoded = codec.encode(noise(2640), 24_000, bitrate_kbps=kbps)
    assert encoded.n_codebooks == kbps
    assert encoded.bitrate_kbps == pytest.approx(kbps, rel=1e-12)


def test_default_is_6_kbps(codec):
    assert codec.encode(noise(300), 24_000).n_codebooks == 6


@pytest.mark.parametrize("kbps", [0, 13, 6.5, -1, float("nan"), float("inf"), "6", None])
def test_other_bitrates_are_refused_and_the_allowed_named(codec, kbps):
    with pytest.raises(ConfigError, match=r"1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"):
        codec.n_codebooks_for(kbps)


@pytest.mark.parametrize("stages", [0, 13, 2.5, True, "6"])
def test_wrong_number_of_stages(codec, stages):
    with pytest.raises(ConfigError, match="1 to 12"):
        codec.encode(noise(300), 24_000, n_codebooks=stages)


def test_bitrate_and_stages_exclude_each_other(codec):
    with pytest.raises(ConfigError, match="one of them"):
        codec.encode(noise(300), 24_000, bitrate_kbps=6, n_codebooks=6)


def test_fewer_stages_are_a_prefix(codec):
    x = noise(4000)
    full = codec.encode(x, 24_000, bitrate_kbps=12, beam=1)
    low = codec.encode(x, 24_000, bitrate_kbps=4, beam=1)
    assert torch.equal(full.truncate(4).codes, low.codes)
    assert full.truncate(4).to_bytes() == low.to_bytes()
    read = Encoded.from_bytes(full.to_bytes(), n_codebooks=4)
    assert torch.equal(codec.decode(read), codec.decode(low))
    with pytest.raises(ConfigError):
        low.truncate(5)


# --- input


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(codec, value):
    x = noise(500, 2)
    x[1, 77] = value
    with pytest.raises(AudioError, match="sample 77 of channel 1"):
        codec.encode(x, 24_000)


@pytest.mark.parametrize(
    ("wav", "words"),
    [
        (np.zeros((1, 1, 9)), "shape"),
        (np.float32(1), "shape"),
        (np.zeros((48_000, 2)), "transposed"),
        (np.zeros((0, 9)), "channels"),
        (np.ones((1, 9), np.int16), "divide int16 by 32768"),
        (np.ones(9, complex), "complex"),
        (np.full(9, 1e300), "largest sample is 1e\\+300"),
        (np.array([0.0, -32768.0, 5.0]), "largest sample is 32768, but full scale is 1"),
        (np.full(9, 1e30), "largest sample is 1e\\+30"),
    ],
)
def test_arrays_that_are_no_audio(codec, wav, words):
    with pytest.raises(AudioError, match=words):
        codec.encode(wav, 24_000)


SQUARE = np.where(np.arange(6000) // 24 % 2, -1.0, 1.0)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e-30, 1000.0])
def test_silence_and_extreme_levels_give_finite_audio(codec, scale):
    wav = codec.decode(codec.encode(SQUARE * scale, 24_000))
    assert wav.shape == (1, 6000) and bool(wav.isfinite().all())


def test_level_is_not_normalised(codec):
    """Half the level gives other codes: no gain is hidden anywhere."""
    x = noise(4000)
    loud, soft = codec.encode(x, 24_000), codec.encode(x / 2, 24_000)
    assert not torch.equal(loud.codes, soft.codes)


def test_training_mode_changes_nothing_and_is_kept(weights):
    codec = Codec.from_pretrained(weights)
    expected = codec.encode(noise(3000), 24_000)
    before = {k: v.clone() for k, v in codec.model.state_dict().items()}
    codec.model.train()
    encoded = codec.encode(noise(3000), 24_000)
    assert torch.equal(encoded.codes, expected.codes) and codec.model.training
    after = codec.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


# --- streams


def test_codes_of_other_weights_are_refused_with_both_hashes(codec, other_weights):
    other = Codec.from_pretrained(other_weights)
    with pytest.raises(WeightsError) as caught:
        codec.decompress(other.compress(noise(500), 24_000))
    for part in (codec.weights_sha256[:16], other.weights_sha256[:16], "'tiny'", "'other'"):
        assert part in str(caught.value)


def test_codes_that_do_not_fit_the_model(codec):
    encoded = codec.encode(noise(2000), 24_000)
    with pytest.raises(BitstreamError, match="outside"):
        codec.decode(Encoded(encoded.codes + 2048, encoded.info))
    with pytest.raises(BitstreamError, match="do not fit"):
        codec.decode(Encoded(encoded.codes, encoded.info.replace(hop_length=263)))
    with pytest.raises(BitstreamError, match="frames"):
        codec.decode(Encoded(encoded.codes[..., :-1], encoded.info))


def test_a_cut_file_is_decoded_as_far_as_it_goes(codec):
    x = noise(4 * 24_000)
    data = codec.compress(x, 24_000, 6)
    with pytest.raises(BitstreamError, match="cut short"):
        codec.decompress(data[:-400])
    encoded = Encoded.from_bytes(data[:-400], recover=True)
    wav = codec.decode(encoded)
    assert encoded.damage and 24_000 < wav.shape[1] < 4 * 24_000
    # The end apart, which needs the frames that are lost, it is the same audio.
    whole, _ = codec.decompress(data)
    n = wav.shape[1] - codec.model.receptive_field
    assert n > 0
    assert torch.allclose(wav[:, :n], whole[:, :n], rtol=0, atol=1e-5)


def test_file_says_what_made_it(codec):
    data = codec.compress(noise(700, 2), 48_000, 3)
    info = EulReader(io.BytesIO(data)).info
    assert info.weights_hash.hex() == codec.weights_sha256[:16]
    assert (info.model_id, info.input_sample_rate, info.n_channels) == ("tiny", 48_000, 2)
    assert (info.n_input_samples, info.n_samples, info.n_codebooks) == (700, 350, 3)


# --- weights on disk


def test_save_and_load_keep_hash_and_codes(codec, tmp_path):
    codec.save_pretrained(tmp_path / "copy")
    copy = Codec.from_pretrained(str(tmp_path / "copy"))
    assert copy.weights_sha256 == codec.weights_sha256
    file = (tmp_path / "copy" / "model.safetensors").read_bytes()
    assert hashlib.sha256(file).hexdigest() == codec.weights_sha256
    assert copy.info == codec.info
    assert (tmp_path / "copy" / "README.md").read_text() == "# Tiny\n"
    data = codec.compress(noise(900), 24_000)
    assert torch.equal(copy.decompress(data)[0], codec.decompress(data)[0])


def test_codec_of_an_own_model_has_the_hash_it_saves(tmp_path):
    codec = Codec(build(seed=3), name="mine")
    sha256 = codec.weights_sha256
    codec.save_pretrained(tmp_path)
    assert Codec.from_pretrained(tmp_path).weights_sha256 == sha256


def test_info(codec):
    info = codec.info
    assert (info.sample_rate, info.hop_length, info.n_codebooks) == (24_000, 264, 12)
    assert info.bitrates_kbps == tuple(range(1, 13))
    assert info.about == {"licence": "CC0-1.0", "data": ["noise"]}
    assert len(info.stage_perplexity) == 12
    assert all(1 <= p <= 2048 for p in info.stage_perplexity)
    json.dumps(info.to_dict())


def edit_config(**changes):
    def edit(directory: Path) -> None:
        path = directory / "config.json"
        fields = json.loads(path.read_text())
        fields.update(changes)
        path.write_text(json.dumps(fields))

    return edit


def edit_tensors(change):
    def edit(directory: Path) -> None:
        path = directory / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
        fields = json.loads((directory / "config.json").read_text())
        del fields["weights_sha256"]
        (directory / "config.json").write_text(json.dumps(fields))

    return edit


def cut(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def cut_without_checksum(directory: Path) -> None:
    edit_tensors(lambda tensors: None)(directory)
    cut(directory)


BOOKS = "quantizer.codebooks"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: (d / "config.json").unlink(), ["config.json", "no such file"]),
        (lambda d: (d / "model.safetensors").unlink(), ["model.safetensors", "no such file"]),
        (lambda d: (d / "config.json").write_text("{"), ["config.json", "not valid JSON"]),
        (lambda d: (d / "config.json").write_text("[]"), ["config.json", "JSON object"]),
        (edit_config(format=2), ["config.json", "format 2", "reads 1"]),
        (edit_config(latent_dims=8), ["config.json", "latent_dims", "latent_dim"]),
        (edit_config(latent_dim=9), ["model.safetensors", "shape"]),
        (cut, ["model.safetensors", "damaged", "sha256"]),
        (cut_without_checksum, ["model.safetensors", "damaged"]),
        (edit_tensors(lambda t: t.pop(BOOKS)), ["model.safetensors", "misses", BOOKS]),
        (edit_tensors(lambda t: t.update(new=torch.ones(1))), ["unknown tensor new"]),
        (edit_tensors(lambda t: t.update({BOOKS: t[BOOKS][:1]})), [BOOKS, "shape"]),
        (edit_tensors(lambda t: t.update({BOOKS: t[BOOKS].long()})), [BOOKS, "int64"]),
        (edit_tensors(lambda t: t[BOOKS].fill_(torch.nan)), [BOOKS, "NaN"]),
    ],
)
def test_damaged_weights_name_the_file(weights, tmp_path, edit, words):
    directory = tmp_path / "copy"
    shutil.copytree(weights, directory)
    edit(directory)
    with pytest.raises(WeightsError) as caught:
        load_weights(directory)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_precision_weights_load(weights, tmp_path):
    shutil.copytree(weights, tmp_path / "copy")
    edit_tensors(lambda t: t.update({BOOKS: t[BOOKS].half()}))(tmp_path / "copy")
    model = load_weights(tmp_path / "copy").model
    assert model.quantizer.codebooks.dtype == torch.float32


def test_unknown_name_of_weights():
    with pytest.raises(WeightsError, match=r"no weights 'gone'.*bundled"):
        Codec.from_pretrained("gone")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta2"])
def test_unknown_device(weights, device):
    with pytest.raises(ConfigError, match=device):
        Codec.from_pretrained(weights, device)


# --- the package


def test_import_is_light_and_names_are_there():
    code = (
        "import sys, eulerodec\n"
        "assert not {'torch', 'numpy', 'soundfile', 'click'} & set(sys.modules), sys.modules\n"
        "from eulerodec import *\n"
        "print(Codec, Encoded, EuleroDec, ModelConfig, AudioError, __version__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert set(eulerodec.__all__) <= set(dir(eulerodec))
    with pytest.raises(AttributeError, match="nothing"):
        _ = eulerodec.nothing
