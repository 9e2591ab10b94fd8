"""What samples and sample rates may be, and how many samples are clipped."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError

__all__ = [
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "ClipCounter",
    "check_finite",
    "check_level",
    "check_sample_rate",
    "check_samples",
]

# 60 dB over full scale. Recordings in floats may go some 10 dB beyond it; what is that loud has
# another full scale: 16-bit integers that were only converted to floats, most of the time.
MAX_LEVEL = 1000.0

# A header may claim any rate; outside this range resampling it to the model's rate would only
# turn a damaged header into a huge array.
MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 768_000


def check_samples(x: NDArray[Any], name: str, start: int = 0) -> float:
    """Check samples in one pass: finite, and loud as samples of full scale 1 can be.

    Args:
        x: Samples [C, N].
        name: What the error calls them.
        start: Number of the first sample of ``x``.

    Returns:
        The largest magnitude, 0 for no samples.

    Raises:
        AudioError: as :func:`check_finite` and :func:`check_level` say it.
    """
    peak = max(float(x.max()), -float(x.min())) if x.size else 0.0
    if not peak <= MAX_LEVEL:  # NaN too
        check_finite(x, name, start)
        check_level(x, name)
    return peak


def check_finite(x: NDArray[Any], name: str, start: int = 0) -> None:
    """Raise :class:`AudioError` that names the first sample of ``x`` [C, N] that is NaN or inf.

    Args:
        x: Samples [C, N].
        name: What the error calls them.
        start: Number of the first sample of ``x``.
    """
    finite = np.isfinite(x)
    if not finite.all():
        # The first in time, whichever channel.
        sample, channel = (int(i) for i in np.argwhere(~finite.T)[0])
        raise AudioError(
            f"{name}: {count_samples(int((~finite).sum()))} NaN or infinite,"
            f" the first is sample {start + sample} of channel {channel}"
        )


def count_samples(n: int) -> str:
    """``n`` samples as the subject of a sentence."""
    return "1 sample is" if n == 1 else f"{n} samples are"


def check_level(x: NDArray[Any], name: str) -> None:
    """Raise :class:`AudioError` for finite samples that cannot have full scale 1."""
    largest = max(float(x.max()), -float(x.min())) if x.size else 0.0
    if largest > MAX_LEVEL:
        raise AudioError(
            f"{name}: the largest sample is {largest:g}, but full scale is 1"
            " (divide 16-bit integers by 32768)"
        )


def check_sample_rate(sample_rate: object, name: str = "audio") -> int:
    """``sample_rate`` as an int in Hz.

    Raises:
        AudioError: for a rate that is not a whole number in the range that is supported.
    """
    try:
        rate = operator.index(sample_rate)  # type: ignore[arg-type]
    except TypeError:
        if not (isinstance(sample_rate, float) and sample_rate.is_integer()):
            raise AudioError(f"{name}: sample rate {sample_rate!r} is no whole number") from None
        rate = int(sample_rate)
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {rate} Hz is outside {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        )
    return rate


class ClipCounter:
    """Counts clipped samples of a recording, block by block.

    Clipped are :data:`RUN` or more samples in a row at full scale (Audacity's "Find Clipping" takes
    three too). One such sample may be a peak; samples of floats beyond full scale are not clipped.

    Attributes:
        n_clipped: Clipped samples so far, of all channels.
        n_values: Samples so far, of all channels.
    """

    RUN = 3
    LEVEL = 32767 / 32768  # full scale of 16 bits; +1 cannot be reached by integers

    def __init__(self, n_channels: int) -> None:
        self.n_clipped = self.n_values = 0
        # the last samples of the block before: at full scale or not
        self._before = np.zeros((n_channels, self.RUN), bool)

    def add(self, x: NDArray[np.float32], peak: float) -> None:
        """Count the next samples [C, n], of which the largest magnitude is ``peak``."""
        if not x.size:
            return
        self.n_values += x.size
        if peak < self.LEVEL:
            self._before[:] = False
            return
        level = np.abs(x)
        at = np.concatenate([self._before, (level >= self.LEVEL) & (level <= 1)], 1)
        # a run that was long enough before the block has been counted up to here
        counted = self.RUN * int(self._before.all(1).sum())
        full = at[:, :-2] & at[:, 1:-1] & at[:, 2:]
        member = np.zeros_like(at)
        for shift in range(self.RUN):
            member[:, shift : shift + full.shape[1]] |= full
        self.n_clipped += int(member.sum()) - counted
        # a run that ends at the end of the block, right-aligned; older samples do not matter
        tail = at[:, -self.RUN :]
        self._before = np.logical_and.accumulate(tail[:, ::-1], 1)[:, ::-1]
