"""What a user may get wrong is refused in one line that names argument, value and the way out."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from helpers.cli import speech
from helpers.models import TINY, build

from eulerodec import Codec, Encoded, ModelConfig
from eulerodec.codec.weights import DEFAULT_WEIGHTS, find_weights
from eulerodec.errors import AudioError, BitstreamError, ConfigError
from eulerodec.settings import whole

WAV = speech(1000)


@pytest.mark.parametrize("value", [1, 64, np.int8(3), torch.tensor(7)])
def test_whole_numbers_of_any_kind(value):
    got = whole("beam", value, 1, 64)
    assert type(got) is int and got == int(value)


@pytest.mark.parametrize("value", [0, 65, 2.0, "3", True, None, np.array([1, 2])])
def test_anything_else_is_refused(value):
    with pytest.raises(ConfigError, match=r"^beam must be a whole number from 1 to 64, not ") as e:
        whole("beam", value, 1, 64)
    assert repr(value) in str(e.value)


@pytest.mark.parametrize("beam", [0, -1, 65, 600, "3", 2.5, True])
def test_beam(codec: Codec, beam):
    for call in (
        lambda: codec.encode(WAV, 24_000, beam=beam),
        lambda: codec.streaming_encoder(beam=beam),
        lambda: codec.model.encode(torch.zeros(1, 1, 1000), beam=beam),
    ):
        with pytest.raises(ConfigError, match="beam must be a whole number from 1 to 64"):
            call()


@pytest.mark.parametrize("frames", [0, 4097, 1.5, "64"])
def test_block_frames(codec: Codec, frames):
    for call in (
        lambda: codec.encode(WAV, 24_000, block_frames=frames),
        lambda: codec.decode(codec.encode(WAV, 24_000), block_frames=frames),
        lambda: codec.streaming_decoder(block_frames=frames),
    ):
        with pytest.raises(ConfigError, match="block_frames must be a whole number from 1 to 4096"):
            call()


@pytest.mark.parametrize("frames", [-1, 65_536, 1.5])
def test_packet_frames(codec: Codec, frames):
    with pytest.raises(ConfigError, match="frames_per_packet must be"):
        codec.encode(WAV, 24_000, frames_per_packet=frames)


@pytest.mark.parametrize("stages", [0, 5.5, 7, "2"])
def test_truncate(codec: Codec, stages):
    encoded = codec.encode(WAV, 24_000)
    with pytest.raises(ConfigError, match="n_codebooks must be a whole number from 1 to 6"):
        encoded.truncate(stages)
    with pytest.raises(ConfigError, match="kbps"):  # the same type for the same mistake
        codec.encode(WAV, 24_000, bitrate_kbps=5.5)


def test_codes(codec: Codec):
    encoded = codec.encode(WAV, 24_000)
    wav = codec.decode(encoded)
    small = encoded.codes.to(torch.int16)
    assert torch.equal(codec.decode(Encoded(small, encoded.info)), wav)
    same = codec.model.decode(small, 1000)
    torch.testing.assert_close(same[0], wav, rtol=0, atol=1e-5)
    wrong = encoded.codes.clone()
    wrong[0, 0, 0] = 2048
    for call in (
        lambda: Encoded(wrong, encoded.info),
        lambda: codec.model.decode(wrong, 1000),
        lambda: codec.streaming_decoder().push(wrong),
    ):
        with pytest.raises(BitstreamError, match="a code lies outside 0 to 2047"):
            call()
    for codes in (encoded.codes.float(), encoded.codes[0], encoded.codes[:, :3]):
        with pytest.raises(BitstreamError, match=r"integers of shape \[1, 6, T\]"):
            Encoded(codes, encoded.info)
    for codes in (encoded.codes.float(), encoded.codes[0]):
        with pytest.raises(BitstreamError, match=r"integers \[B, K, T\]"):
            codec.model.decode(codes, 1000)


@pytest.mark.parametrize("thing", [torch.zeros(1, 6, 5, dtype=torch.int64), b"EUL", None])
def test_decode_takes_what_encode_gave(codec: Codec, thing):
    with pytest.raises(ConfigError, match="decode takes an Encoded, not"):
        codec.decode(thing)
    with pytest.raises(ConfigError, match="decode takes an Encoded, not"):
        codec.decode_batch([thing])


@pytest.mark.parametrize("shape", [(3, 2, 2400), (3, 2400), (2400,), (1, 1, 1, 2400)])
def test_the_network_takes_one_channel_per_item(codec: Codec, shape):
    wav = torch.zeros(shape)
    for call in (codec.model.encode, codec.model):
        with pytest.raises(AudioError, match=r"takes audio \[B, 1, N\], not \["):
            call(wav)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precision_is_refused_in_one_line(dtype):
    codec = Codec(build(TINY).to(dtype))
    with pytest.raises(ConfigError, match=f"the weights are {dtype}.*call model.float"):
        codec.encode(WAV, 24_000)
    with pytest.raises(ConfigError, match=f"the weights are {dtype}"):
        codec.streaming_decoder()


@pytest.mark.parametrize(
    ("rate", "hop"), [(24_000, 250), (24_000, 264), (16_000, 264), (16_000, 256), (44_100, 300)]
)
def test_a_codec_accepts_the_rates_it_lists(rate, hop):
    config = ModelConfig(**{**TINY.to_dict(), "sample_rate": rate, "hop_length": hop})
    codec = Codec(build(config))
    for k, kbps in enumerate(codec.bitrates_kbps, 1):
        assert kbps == pytest.approx(k * rate * 11 / hop / 1000, rel=1e-12)
        # as listed, as printed, and in single precision
        for same in (kbps, float(f"{kbps:g}"), np.float32(kbps)):
            assert codec.n_codebooks_for(same) == k
    encoded = codec.encode(WAV, rate, bitrate_kbps=codec.bitrates_kbps[1])
    assert encoded.n_codebooks == 2
    assert Encoded.from_bytes(encoded.to_bytes(), bitrate_kbps=encoded.bitrate_kbps) == encoded
    for wrong in (codec.bitrates_kbps[0] * 1.01, codec.bitrates_kbps[-1] * 1.01, -1, True):
        with pytest.raises(ConfigError, match=f"this codec has {codec.bitrates_kbps[0]:g}, "):
            codec.n_codebooks_for(wrong)


def test_device_and_repr(codec: Codec):
    assert codec.device == torch.device("cpu") and codec.to("auto") is codec.to("cpu")
    words = repr(codec)
    for word in ("'tiny'", codec.weights_sha256[:16], "24000 Hz", "1 to 12 kbps", "cpu"):
        assert word in words
    with pytest.raises(ConfigError, match="'warp'"):
        codec.to("warp")


# --- the identity of weights


def test_saving_bundled_weights_changes_no_byte_of_them(tmp_path):
    codec = Codec.from_pretrained()
    data = codec.compress(WAV, 24_000)
    before = codec.weights_sha256
    codec.save_pretrained(tmp_path)
    assert codec.weights_sha256 == before
    original = find_weights(DEFAULT_WEIGHTS) / "model.safetensors"
    assert (tmp_path / "model.safetensors").read_bytes() == original.read_bytes()
    for same in (codec, Codec.from_pretrained(tmp_path)):
        assert same.decompress(data)[0].shape == (1, 1000)


def test_weights_that_changed_are_new_ones_and_not_rounded(tmp_path):
    from eulerodec.codec.weights import save_weights

    save_weights(tmp_path / "half", build(seed=2), name="half", half=True)
    codec = Codec.from_pretrained(tmp_path / "half")
    before = codec.weights_sha256
    third = torch.tensor(1 / 3)  # no float16
    with torch.no_grad():
        next(codec.model.parameters()).view(-1)[0] = third
    codec.save_pretrained(tmp_path / "trained")
    assert codec.weights_sha256 != before
    again = Codec.from_pretrained(tmp_path / "trained")
    assert next(again.model.parameters()).view(-1)[0] == third
    shutil.rmtree(tmp_path / "half")
    again.save_pretrained(tmp_path / "copy")
    assert again.weights_sha256 == codec.weights_sha256
