"""Checks of what comes from outside, and the limits that they go by; no torch."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import audio
from ..errors import AudioError, ConfigError
from .info import MAX_BITRATE_KBPS, MIN_BITRATE_KBPS

__all__ = ["DEFAULT_BITRATE_KBPS", "MAX_CHANNELS", "checked_array", "checked_bitrate"]

DEFAULT_BITRATE_KBPS = 6
MAX_CHANNELS = 255  # of one .eul file


def checked_array(wav: ArrayLike) -> NDArray[np.float32]:
    """Samples ``[N]`` or ``[C, N]``, floats with full scale 1, as float32 ``[C, N]``.

    Raises:
        AudioError: another shape or type, samples that are NaN, infinite, or far too loud.
    """
    x = np.asarray(wav)
    if x.size and x.dtype.kind != "f":
        raise AudioError(
            f"samples must be floats with full scale 1, not {x.dtype} (divide int16 by 32768)"
        )
    if x.ndim not in (1, 2):
        raise AudioError(f"audio must have shape [N] or [C, N], not {list(x.shape)}")
    x = np.atleast_2d(x)
    if not 1 <= x.shape[0] <= MAX_CHANNELS:
        raise AudioError(
            f"audio [C, N] must have 1 to {MAX_CHANNELS} channels, not {x.shape[0]}"
            + (": is it transposed?" if 1 <= x.shape[1] <= MAX_CHANNELS else "")
        )
    audio.check_samples(x, "audio")
    return np.ascontiguousarray(x, dtype=np.float32)


def checked_bitrate(kbps: object) -> float:
    """A bitrate of a channel as files say it, in steps of 0.01 kbps; never more than asked for.

    Raises:
        ConfigError: no number, or one that cannot be had.
    """
    number = float(kbps) if isinstance(kbps, Real) and not isinstance(kbps, bool) else math.nan
    if not MIN_BITRATE_KBPS <= number <= MAX_BITRATE_KBPS:
        raise ConfigError(
            f"bitrate_kbps must be a number from {MIN_BITRATE_KBPS} to {MAX_BITRATE_KBPS},"
            f" not {kbps!r}"
        )
    return math.floor(number * 100 * (1 + 1e-7)) / 100
