"""Clips and signals for the tests of the evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eulerodec import audio

RATE = 24_000


@pytest.fixture
def clips(tmp_path: Path, talk: np.ndarray) -> Path:
    """A folder with two sets: one clip of 1.2 s, and two of 1 s."""
    folder = tmp_path / "clips"
    parts = {"read/a.wav": (0, 28_800), "other/b.wav": (30_000, 54_000), "other/c.wav": (0, 24_000)}
    for name, (start, end) in parts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(folder / name, talk[start:end], RATE)
    return folder
