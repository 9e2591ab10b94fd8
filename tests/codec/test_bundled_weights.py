"""The weights that come with the package compute what they did when they were shipped."""

from __future__ import annotations

import json

import pytest

from eulerodec import Codec, audio
from eulerodec.codec import selftest
from eulerodec.codec.weights import DEFAULT_WEIGHTS, bundled_names, find_weights
from eulerodec.metrics import si_sdr
from eulerodec.samples import SAMPLE

# SI-SDR in dB on the bundled clip at 3, 6 and 12 kbps: what it was, less 0.3 dB
FLOORS = {
    "eulerodec-24khz": (7.5, 9.9, 12.0),
    "eulerodec-24khz-lowlatency": (7.2, 9.5, 11.4),
}


@pytest.mark.usefixtures("same_threads")
@pytest.mark.parametrize("name", bundled_names())
def test_bundled_weights_have_golden_files_of_their_own(name):
    """If this fails after new weights: eulerodec doctor --write-golden --weights DIR."""
    directory = find_weights(name)
    facts = json.loads((directory / "golden.json").read_text())
    sha256 = json.loads((directory / "config.json").read_text())["weights_sha256"]
    assert facts["weights_sha256"] == sha256
    assert sum(file.stat().st_size for file in directory.glob("golden*")) < 60_000
    report = selftest.examine(name)
    assert report["ok"], selftest.table(report)
    assert all(check["status"] != selftest.NOT_CHECKED for check in report["checks"])


def test_both_read_the_same_files_and_keep_their_quality():
    """One file of 12 kbps, and what is cut of it, through each decoder."""
    wav, rate = audio.read(SAMPLE)
    encoded = Codec.from_pretrained(DEFAULT_WEIGHTS).encode(wav, rate, bitrate_kbps=12)
    assert set(FLOORS) == set(bundled_names())
    for name, floors in FLOORS.items():
        codec = Codec.from_pretrained(name)
        for kbps, floor in zip((3, 6, 12), floors, strict=True):
            y = codec.decode(encoded.at_rate(kbps))[0].numpy()
            assert si_sdr(wav[0], y) > floor, (name, kbps)
