"""Decoding without torch gives what the codec gives."""

import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers.cli import speech

from eulerodec import BitstreamError, Encoded, WeightsError, audio
from eulerodec.bitstream import concat_files, cut_file
from eulerodec.runtime import OnnxCodec, decoder

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def onnx(graphs):
    return OnnxCodec(graphs, threads=1)


def same(found, expected):
    assert found.dtype == np.float32 and found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found, np.asarray(expected), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("n", [0, 1, 263, 264, 265, 30_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_length(codec, onnx, n, channels):
    data = codec.compress(speech(n, channels=channels), 24_000, 6)
    wav, rate = onnx.decompress(data)
    assert rate == 24_000
    same(wav, codec.decompress(data)[0])


@pytest.mark.parametrize("chunk", [7, 50])
def test_chunks_have_no_seams(codec, onnx, talk, monkeypatch, chunk):
    data = codec.compress(talk, 24_000, 6)
    monkeypatch.setattr(decoder._Frames.__init__, "__defaults__", (chunk,))
    same(onnx.decompress(data)[0], codec.decompress(data)[0])


@pytest.mark.parametrize("rate", [None, 16_000, 24_000, 44_100])
def test_rates(codec, onnx, rate):
    wav = speech(20_011, 16_000)
    data = codec.compress(wav, 16_000, 7.3)
    found, out_rate = onnx.decompress(data, rate)
    assert out_rate == (rate or 16_000)
    same(found, codec.decompress(data, rate)[0])


def test_a_constant_number_of_codes(codec, onnx, talk):
    data = codec.compress(talk, 24_000, n_codebooks=8)
    same(onnx.decompress(data)[0], codec.decompress(data)[0])


def test_a_live_file_whose_header_has_no_length(codec, onnx, talk):
    from eulerodec.bitstream import EulWriter

    encoder = codec.streaming_encoder(bitrate_kbps=6)
    packets = encoder.push(talk) + encoder.flush()
    sink = io.BytesIO()
    writer = EulWriter(sink, encoder.info)
    for packet in packets:
        writer.write(packet.payload, packet.n_frames)
    writer.close(encoder.n_samples, encoder.n_input_samples)
    same(onnx.decompress(sink.getvalue())[0], codec.decompress(sink.getvalue())[0])


def test_files_that_were_cut_and_joined(codec, onnx, here):
    codec.encode(speech(150_000), 24_000, bitrate_kbps=6).save("a.eul")
    codec.encode(speech(60_000, 16_000), 16_000, bitrate_kbps=6).save("b.eul")
    with open("a.eul", "rb") as source, open("cut.eul", "wb") as target:
        cut_file(source, target, 40_000, 111_000)
    data = (here / "cut.eul").read_bytes()
    same(onnx.decompress(data)[0], codec.decompress(data)[0])
    with open("a.eul", "rb") as a, open("cut.eul", "rb") as b, open("ab.eul", "wb") as target:
        concat_files([a, b], target)
    data = (here / "ab.eul").read_bytes()
    for rate in (24_000, 44_100):
        same(onnx.decompress(data, rate)[0], codec.decompress(data, rate)[0])


def test_files(codec, onnx, here, stream):
    (here / "talk.eul").write_bytes(stream)
    onnx.decode_file("talk.eul", "talk.wav", subtype="FLOAT")
    wav, rate = audio.read("talk.wav")
    assert rate == 24_000
    same(wav, codec.decompress(stream)[0])


def test_what_does_not_fit_is_refused(codec, onnx, stream, other_weights, here, graphs):
    from eulerodec import Codec

    with pytest.raises(BitstreamError, match=r"damaged|checksum"):
        onnx.decompress(stream[:300] + b"\0\0\0" + stream[303:])
    with pytest.raises(BitstreamError):
        onnx.decompress(stream[:-300])
    other = Codec.from_pretrained(other_weights).compress(speech(), 24_000)
    with pytest.raises(WeightsError, match="made with the codes"):
        onnx.decompress(other)
    with pytest.raises(WeightsError, match=r"onnx.json: no such file: `eulerodec export"):
        OnnxCodec(here)
    shutil.copytree(graphs, here / "copy")
    codes = here / "copy/codes.safetensors"
    codes.write_bytes(codes.read_bytes()[:-1] + b"\1")
    with pytest.raises(WeightsError, match=r"codes.safetensors: damaged, or of another export"):
        OnnxCodec(here / "copy")
    (here / "copy/onnx.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"onnx.json: not of format 1"):
        OnnxCodec(here / "copy")


def test_without_torch(graphs, here, stream):
    """In a process of its own, where importing torch fails."""
    (here / "talk.eul").write_bytes(stream)
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from eulerodec.runtime import OnnxCodec\n"
        f"codec = OnnxCodec({str(graphs)!r}, threads=1)\n"
        "codec.decode_file('talk.eul', 'talk.wav')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    wav, _ = audio.read("talk.wav")
    assert wav.shape == (1, Encoded.from_bytes(stream).n_samples)
