"""Encoding without torch gives the files that the codec gives, up to codes equally near."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.cli import put, speech
from helpers.models import agree, snr_db

from eulerodec import AudioError, ConfigError, Encoded, audio
from eulerodec.runtime import OnnxCodec


@pytest.fixture(scope="module")
def onnx(graphs):
    return OnnxCodec(graphs, threads=1)


def same(codec, data, other):
    """Of headers all, of codes all but a few, and audio that is as near to the other's."""
    found, expected = Encoded.from_bytes(data), Encoded.from_bytes(other)
    assert found.info == expected.info
    assert [p.n_frames for p in found.packets] == [p.n_frames for p in expected.packets]
    if found.info.n_codebooks is not None:
        assert agree(found.codes, expected.codes)
        return
    for ours, theirs in zip(found.packets, expected.packets, strict=True):
        # bytes that a code saves or takes may be used by the packet after it
        assert abs(len(ours.payload) - len(theirs.payload)) <= 8
        codes = [
            codec.model.coder.payload.decode(p.payload, found.n_channels, p.n_frames).latents
            for p in (ours, theirs)
        ]
        assert agree(*map(torch.from_numpy, codes))


@pytest.mark.parametrize("n", [0, 1, 264, 265, 60_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_length(codec, onnx, n, channels):
    wav = speech(n, channels=channels) + np.float32(0.01)  # with an offset, which goes
    same(codec, onnx.compress(wav, 24_000), codec.compress(wav, 24_000))


@pytest.mark.parametrize("options", [{"bitrate_kbps": 1.5}, {"beam": 16}, {"n_codebooks": 8}])
def test_options(codec, onnx, talk, options):
    same(codec, onnx.compress(talk, 24_000, **options), codec.compress(talk, 24_000, **options))


def test_other_rates(codec, onnx):
    wav = speech(40_000, 44_100)
    same(codec, onnx.compress(wav, 44_100), codec.compress(wav, 44_100))


def test_there_and_back_is_as_good(codec, onnx, talk):
    there, back = onnx.compress(talk, 24_000, 12), codec.compress(talk, 24_000, 12)
    x = torch.from_numpy(talk)
    ours, theirs = (snr_db(x, codec.decompress(data)[0][0]) for data in (there, back))
    assert ours == pytest.approx(theirs, abs=0.1)


def test_bad_arguments(onnx):
    with pytest.raises(AudioError, match="full scale"):
        onnx.compress(np.zeros(9, np.int16), 24_000)
    with pytest.raises(ConfigError, match="from 1 to 16"):
        onnx.compress(np.zeros(9), 24_000, 17)
    with pytest.raises(ConfigError, match="give one of them"):
        onnx.compress(np.zeros(9), 24_000, 6, n_codebooks=4)
    with pytest.raises(ConfigError, match="beam"):
        onnx.compress(np.zeros(9), 24_000, beam=0)


def test_files_without_torch(graphs, codec, here):
    """In a process of its own, where importing torch fails."""
    put("talk.wav", 40_000)
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from eulerodec.runtime import OnnxCodec\n"
        f"codec = OnnxCodec({str(graphs)!r}, threads=1)\n"
        "codec.encode_file('talk.wav', 'talk.eul', bitrate_kbps=8)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    wav, rate = audio.read("talk.wav")
    same(codec, (here / "talk.eul").read_bytes(), codec.compress(wav, rate, 8))
