"""The weights that come with the package compute what they did when they were shipped."""

from __future__ import annotations

import json

import pytest

from eulerodec.bitstream import read
from eulerodec.codec import selftest
from eulerodec.codec.weights import bundled_names, find_weights


@pytest.mark.usefixtures("same_threads")
@pytest.mark.parametrize("name", bundled_names())
def test_bundled_weights_have_golden_files_of_their_own(name):
    """If this fails after new weights: eulerodec doctor --write-golden --weights DIR."""
    directory = find_weights(name)
    info = read((directory / "golden.eul").read_bytes()).info
    sha256 = json.loads((directory / "config.json").read_text())["weights_sha256"]
    assert info.weights_hash.hex() == sha256[:16]
    assert sum((directory / f"golden.{kind}").stat().st_size for kind in ("eul", "f32")) < 50_000
    report = selftest.examine(name)
    assert report["ok"], selftest.table(report)
