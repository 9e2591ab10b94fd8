"""What reading a file gives: packets, and a record of what was wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["LOST", "Damage", "Packet"]

LOST = -1  # stands for a code that did not arrive


@dataclass(frozen=True)
class Packet:
    """Codes [n_channels, K, T] of frames ``start_frame`` on, all :data:`LOST` if ``lost``."""

    index: int
    start_frame: int
    codes: npt.NDArray[np.int64]
    lost: bool = False


@dataclass(frozen=True)
class Damage:
    """Something that was wrong with a file, found while reading with ``recover=True``.

    ``n_frames`` frames from ``start_frame`` on have codes of -1 (:data:`LOST`); it is 0 when no
    frame is known to be lost (extra bytes, or a cut file, which just ends early). ``start_s`` and
    ``lost_s`` say the same in seconds of the decoded audio; for a cut file ``lost_s`` is what the
    header promised beyond its end, 0 if it promised nothing (a live stream).
    """

    kind: Literal["corrupt", "missing", "truncated", "trailing", "counts"]
    start_frame: int
    n_frames: int
    message: str
    start_s: float = 0.0
    lost_s: float = 0.0
