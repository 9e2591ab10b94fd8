"""Small clips for corpora."""

from __future__ import annotations

import io
import tarfile

import numpy as np

from eulerodec import audio

RATES = (24_000, 16_000, 44_100)


def clip(number: int) -> tuple[np.ndarray, int]:
    """Stereo noise of 0.1 to 0.5 s that is another for each number."""
    rate = RATES[number % len(RATES)]
    rng = np.random.default_rng(number)
    return (0.1 * rng.standard_normal((2, rate // 10 * (1 + number % 5)))).astype("float32"), rate


def wav_bytes(number: int) -> bytes:
    file = io.BytesIO()
    audio.write(file, *clip(number), subtype="FLOAT")
    return file.getvalue()


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
