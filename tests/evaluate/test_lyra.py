"""Lyra's chain with networks that are known, instead of its own (which are not part of this)."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from eulerodec.evaluate.systems import build, lyra, parse

FRAME = 320


class Quantizer:
    """Codes are the frame's first features; stages beyond the rate must come back as -1."""

    def get_signature_runner(self, name):
        return getattr(self, name)

    def encode(self, input_frames, num_quantizers):
        assert input_frames.shape == (1, 1, 64)
        codes = np.zeros((46, 1, 1), np.int32)
        codes[:num_quantizers, 0, 0] = input_frames[0, 0, :num_quantizers]
        return {"output_0": codes}

    def decode(self, encoding_indices):
        assert encoding_indices.shape == (46, 1, 1) and encoding_indices.dtype == np.int32
        return {"output_0": encoding_indices[:, 0, 0].astype(np.float32)}


class Network:
    """Encoder: 64 numbers 0 to 15 from the samples. Decoder: the codes, then zeros."""

    def __init__(self, path):
        self.encodes = "encoder" in path.name

    def __call__(self, x):
        if self.encodes:
            assert x.shape == (1, FRAME) and x.dtype == np.float32
            return np.round(x[:, :64] * 16)[:, None]
        return np.pad(np.asarray(x), (0, FRAME - len(x)))[None] / 100


@pytest.mark.parametrize(("kbps", "stages"), [(3.2, 16), (6, 30), (9.2, 46)])
def test_packets_and_codes(kbps, stages, tmp_path, monkeypatch):
    for name in lyra.FILES:
        (tmp_path / name).write_bytes(b"x")
    find = importlib.util.find_spec
    fake = lambda name: name == "ai_edge_litert" or find(name)  # noqa: E731
    monkeypatch.setattr(lyra.importlib.util, "find_spec", fake)
    monkeypatch.setattr(lyra, "_Network", Network)
    monkeypatch.setattr(lyra, "_interpreter", lambda path: Quantizer())
    monkeypatch.setattr(lyra, "to_rate", lambda x, rate: x)  # samples are 16 kHz already
    system = build(parse(f"lyra:{kbps:g}"), lyra_models=tmp_path)
    codes = np.random.default_rng(0).integers(0, 16, (3, 64))
    x = np.zeros((3, FRAME), np.float32)
    x[:, :64] = codes / 16
    coded = system.code(x.ravel()[:-5])  # the last frame is filled up
    assert coded.payload_bytes == coded.file_bytes == 3 * stages // 2  # 4 bits a stage
    got = coded.audio.reshape(3, FRAME)
    assert np.allclose(got[:, :stages], codes[:, :stages] / 100, atol=1e-4)
    assert np.allclose(got[:, stages:46], -0.01, atol=1e-4)
