"""What a user may get wrong is refused in one line that names argument, value and the way out."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from helpers.cli import speech
from helpers.models import TINY, build

from eulerodec import Codec
from eulerodec.codec.selftest import examine
from eulerodec.codec.threads import set_threads
from eulerodec.codec.weights import DEFAULT_WEIGHTS, find_weights, save_weights
from eulerodec.errors import AudioError, ConfigError
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


@pytest.mark.usefixtures("same_threads")
def test_threads_are_shared_and_at_least_one():
    torch.set_num_threads(2)
    assert set_threads(None) == torch.get_num_threads() == 2
    assert set_threads(5) == torch.get_num_threads() == 5
    assert set_threads(5, share=2) == torch.get_num_threads() == 2
    assert set_threads(None, share=2) == torch.get_num_threads() == 1
    assert set_threads(3, share=4) == torch.get_num_threads() == 1


@pytest.mark.parametrize("threads", [0, -1, 1025, 2.0, "2", True])
def test_a_number_of_threads_that_is_none(threads, weights):
    for call in (lambda: set_threads(threads), lambda: examine(weights, threads=threads)):
        with pytest.raises(ConfigError, match=r"^threads must be a whole number from 1 to 1024"):
            call()


@pytest.mark.parametrize("beam", [0, -1, 65, 600, "3", 2.5, True])
def test_beam(codec: Codec, beam):
    for call in (
        lambda: codec.encode(WAV, 24_000, beam=beam),
        lambda: codec.streaming_encoder(beam=beam),
    ):
        with pytest.raises(ConfigError, match="beam must be a whole number from 1 to 64"):
            call()


@pytest.mark.parametrize("frames", [0, 4097, 1.5, "64"])
def test_block_frames(codec: Codec, frames):
    encoded = codec.encode(WAV, 24_000)
    for call in (
        lambda: codec.decode(encoded, block_frames=frames),
        lambda: codec.decode_batch([encoded], block_frames=frames),
        lambda: codec.streaming_decoder(encoded.info, block_frames=frames),
    ):
        with pytest.raises(ConfigError, match="block_frames must be a whole number from 1 to 4096"):
            call()


@pytest.mark.parametrize("frames", [-1, 256, 1.5, None])
def test_packet_frames(codec: Codec, frames):
    for call in (
        lambda: codec.encode(WAV, 24_000, frames_per_packet=frames),
        lambda: codec.streaming_encoder(frames_per_packet=frames),
    ):
        with pytest.raises(ConfigError, match="frames_per_packet must be a whole number from 0"):
            call()


@pytest.mark.parametrize("thing", [torch.zeros(1, 6, 5, dtype=torch.int64), b"EUL", None])
def test_decode_takes_what_encode_gave(codec: Codec, thing):
    for call in (codec.decode, lambda x: codec.decode_batch([x])):
        with pytest.raises(ConfigError, match=r"decode takes an Encoded, not .*from_codes\("):
            call(thing)


@pytest.mark.parametrize("shape", [(3, 2, 2400), (3, 2400), (2400,), (1, 1, 1, 2400)])
def test_the_network_takes_one_channel_per_item(codec: Codec, shape):
    wav = torch.zeros(shape)
    for call in (codec.model.analysis, codec.model):
        with pytest.raises(AudioError, match=r"the network takes audio \[B, 1, N\], not \["):
            call(wav)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precision_is_refused_in_one_line(dtype):
    codec = Codec(build(TINY).to(dtype))
    with pytest.raises(ConfigError, match=f"the weights are {dtype}.*call model.float"):
        codec.encode(WAV, 24_000)
    with pytest.raises(ConfigError, match=f"the weights are {dtype}"):
        codec.streaming_decoder(codec.stream_info())


@pytest.mark.parametrize(
    ("rate", "hop", "words"),
    [
        (16_000, 256, "codes of 264 numbers a frame do not fit hop_length=256"),
        (24_000, 250, "codes of 264 numbers a frame do not fit hop_length=250"),
        (16_000, 264, "codes of 30 bands do not fit sample_rate=16000, which has 29"),
    ],
)
def test_a_network_of_another_rate_needs_codes_of_its_own(rate, hop, words):
    """One with such codes: tests/train/test_other_rate.py."""
    with pytest.raises(ConfigError, match=words):
        build(dataclasses.replace(TINY, sample_rate=rate, hop_length=hop))


def test_device_and_repr(codec: Codec):
    assert codec.device == torch.device("cpu") and codec.to("auto") is codec.to("cpu")
    words = repr(codec)
    for word in ("'tiny'", codec.weights_sha256[:16], "24000 Hz", "1 to 16 kbps", "cpu"):
        assert word in words
    with pytest.raises(ConfigError, match="'warp'"):
        codec.to("warp")


# --- the identity of weights


@pytest.mark.parametrize("name", [DEFAULT_WEIGHTS, "eulerodec-24khz-lowlatency"])
def test_saving_bundled_weights_changes_no_byte_of_them(tmp_path, name):
    """Those that share codes get a copy of these."""
    codec = Codec.from_pretrained(name)
    data = codec.compress(WAV, 24_000)
    before = codec.weights_sha256, codec.codes_sha256
    codec.save_pretrained(tmp_path)
    assert (codec.weights_sha256, codec.codes_sha256) == before
    tensors, codes = find_weights(name), find_weights(DEFAULT_WEIGHTS)
    for source, file in ((tensors, "model.safetensors"), (codes, "codes.safetensors")):
        assert (tmp_path / file).read_bytes() == (source / file).read_bytes()
    assert "codes" not in json.loads((tmp_path / "config.json").read_text())
    copy = Codec.from_pretrained(tmp_path)
    assert (copy.weights_sha256, copy.codes_sha256) == before
    assert copy.decompress(data)[0].equal(codec.decompress(data)[0])


def test_weights_that_changed_are_new_ones_and_not_rounded(tmp_path):
    save_weights(tmp_path / "half", build(seed=2), name="half", half=True)
    codec = Codec.from_pretrained(tmp_path / "half")
    before, codes = codec.weights_sha256, codec.codes_sha256
    third = torch.tensor(1 / 3)  # no float16
    with torch.no_grad():
        next(codec.model.parameters()).view(-1)[0] = third
    codec.save_pretrained(tmp_path / "trained")
    assert codec.weights_sha256 != before and codec.codes_sha256 == codes
    again = Codec.from_pretrained(tmp_path / "trained")
    assert next(again.model.parameters()).view(-1)[0] == third
    shutil.rmtree(tmp_path / "half")
    again.save_pretrained(tmp_path / "copy")
    assert again.weights_sha256 == codec.weights_sha256
