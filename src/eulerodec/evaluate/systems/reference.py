"""The clip itself as a system."""

from __future__ import annotations

import numpy as np

from ..clips import SAMPLE_RATE
from .base import Coded, Signal, System, to_pcm16

__all__ = ["Reference"]


class Reference(System):
    """``reference``: the clip as 16-bit PCM; shows the best value each metric can have."""

    title = "the reference itself, 16-bit PCM"

    @property
    def identity(self) -> dict[str, str]:
        return {"format": "PCM 16 bit"}

    def code(self, wav: Signal) -> Coded:
        pcm = to_pcm16(wav)
        copy = pcm.astype(np.float32) / np.float32(32768)
        return Coded(copy, SAMPLE_RATE, pcm.nbytes, pcm.nbytes + 44)
