"""The codec for Codec-SUPERB, against the interface that its base class documents."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers.cli import speech

from eulerodec.errors import AudioError


class BaseCodec:
    """What of SoundCodec/base_codec/general.py calls a codec."""

    def __init__(self):
        self.sampling_rate = self.setting = None
        self.config()

    def synth(self, data):
        """At the codec's rate: whoever calls it has resampled."""
        return self.decode_unit(self.extract_unit(data).stuff_for_synth)

    def batch_extract_unit(self, data_list):
        found = [self.extract_unit(data) for data in data_list]
        units, stuff = [x.unit for x in found], [x.stuff_for_synth for x in found]
        return BatchExtractedUnit(units, stuff, len(data_list))


@dataclass
class ExtractedUnit:
    unit: torch.Tensor
    stuff_for_synth: object


@dataclass
class BatchExtractedUnit:
    units: list
    stuff_for_synth: list
    batch_size: int


@pytest.fixture
def superb(weights, monkeypatch):
    """A codec of the benchmark with the tiny weights."""
    general = ModuleType("SoundCodec.base_codec.general")
    for kind in (BaseCodec, ExtractedUnit, BatchExtractedUnit):
        setattr(general, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "SoundCodec", ModuleType("SoundCodec"))
    monkeypatch.setitem(sys.modules, "SoundCodec.base_codec", ModuleType("SoundCodec.base_codec"))
    monkeypatch.setitem(sys.modules, "SoundCodec.base_codec.general", general)
    monkeypatch.delitem(sys.modules, "eulerodec.adapters.codec_superb", raising=False)
    from eulerodec.adapters.codec_superb import EuleroDecBaseCodec

    class Codec(EuleroDecBaseCodec):
        n_codebooks = 4

    Codec.weights = str(weights)
    yield Codec()
    sys.modules.pop("eulerodec.adapters.codec_superb")  # that of these stand-ins


def item(n, rate=24_000):
    return {"audio": {"array": speech(n, rate)[0].astype(np.float64), "sampling_rate": rate}}


def test_units_are_codes_and_become_audio(superb, codec):
    assert (superb.sampling_rate, superb.setting) == (24_000, "tiny_4")
    data = item(30_000)
    found = superb.extract_unit(data)
    want = codec.encode(data["audio"]["array"], 24_000, n_codebooks=4)
    assert torch.equal(found.unit, want.codes[0])
    heard = superb.decode_unit(found.stuff_for_synth)
    np.testing.assert_allclose(heard, codec.decode(want)[0].numpy(), rtol=0, atol=1e-5)
    assert superb.synth(data).shape == (30_000,)


def test_audio_of_another_rate_comes_back_at_that_of_the_codec(superb):
    assert superb.synth(item(16_000, 16_000)).shape == (24_000,)


def test_a_batch_is_its_items(superb):
    items = [item(n) for n in (9_000, 30_000, 264)]
    batch = superb.batch_extract_unit(items)
    assert batch.batch_size == 3
    for data, heard in zip(items, superb.batch_decode_unit(batch), strict=True):
        np.testing.assert_allclose(heard, superb.synth(data), rtol=0, atol=1e-5)


def test_two_channels_are_refused(superb):
    with pytest.raises(AudioError, match="one channel"):
        superb.extract_unit({"audio": {"array": speech(900, channels=2), "sampling_rate": 24_000}})


def test_outside_of_a_checkout_a_line_says_so():
    code = "import eulerodec.adapters.codec_superb"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs a checkout of Codec-SUPERB on PYTHONPATH" in done.stderr.splitlines()[-1]
