"""Shards of WebDataset, by the library itself."""

from __future__ import annotations

import functools
import io
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import soundfile
import torch
from helpers.cli import speech

from eulerodec.adapters.webdataset import codes, samples
from eulerodec.errors import BitstreamError, ConfigError


@pytest.fixture
def decode():
    """What the library does to each item of a shard, with functions of ours: its ``decode``."""
    name = "webdataset.autodecode"
    autodecode = pytest.importorskip(name, reason="webdataset is not installed")
    return lambda handler, item: autodecode.Decoder([handler])(item)


def flac(x: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, x.T, rate, format="FLAC")
    return file.getvalue()


@pytest.mark.parametrize("field", ["eul", "clean.eul", "EUL"])
def test_samples_of_an_item(codec, decode, field):
    wav = speech(9_000, 16_000, 2)
    data = codec.compress(wav, 16_000)
    handler = functools.partial(samples, codec=codec)
    item = decode(handler, {"__key__": "0", field: data, "flac": flac(wav, 16_000), "cls": b"7"})
    heard, rate = item[field]
    assert rate == 16_000 and heard.dtype == torch.float32
    torch.testing.assert_close(heard, codec.decompress(data)[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(item["flac"][0].numpy(), wav, rtol=0, atol=1e-4)
    assert item["cls"] == 7  # by the library's own decoder


def test_codes_of_an_item(codec, decode):
    encoded = codec.encode(speech(9_000), 24_000, n_codebooks=4)
    item = decode(codes, {"__key__": "0", "eul": encoded.to_bytes(), "txt": b"words"})
    assert torch.equal(item["eul"], encoded.codes) and item["txt"] == "words"


def test_a_damaged_field_is_an_error(codec, decode):
    data = codec.compress(speech(9_000), 24_000)[:50]
    handler = functools.partial(samples, codec=codec)
    from webdataset.autodecode import DecodingError

    with pytest.raises(DecodingError) as caught:
        decode(handler, {"__key__": "0", "__url__": "a.tar", "eul": data})
    assert isinstance(caught.value.__cause__, BitstreamError)


@pytest.mark.parametrize("key", [".txt", ".json", ".eul.json", ".eulx", "."])
def test_other_fields_are_left_to_other_decoders(key):
    assert samples(key, b"") is None and codes(key, b"") is None


def test_codes_of_a_file_with_a_bitrate(codec):
    with pytest.raises(ConfigError, match="n_codebooks"):
        codes(".eul", codec.compress(speech(), 24_000))


def test_a_shard(codec, here):
    """In a process of its own: the library leaves its shards open."""
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    with tarfile.open("a.tar", "w") as tar:
        for i in range(3):
            data = codec.encode(speech(264 * (9 + i)), 24_000, n_codebooks=4).to_bytes()
            entry = tarfile.TarInfo(f"{i:04d}.eul")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    code = """
import webdataset
from eulerodec.adapters.webdataset import codes
for item in webdataset.WebDataset("a.tar", shardshuffle=False).decode(codes):
    print(item["__key__"], tuple(item["eul"].shape))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [f"{i:04d} (1, 4, {10 + i})" for i in range(3)]
