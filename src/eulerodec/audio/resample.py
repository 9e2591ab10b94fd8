"""Sample rates: whole signals and streams from one to another, and times as samples.

Uses ``soxr`` at its very-high-quality setting, which loads on first use.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

__all__ = ["Resampler", "resample", "resampled_length", "sample_range"]


def sample_range(
    start_s: float | Fraction, stop_s: float | Fraction | None, sample_rate: int
) -> tuple[int, int | None]:
    """Times in seconds as the nearest samples; None, the end, stays None.

    Raises:
        ConfigError: for a time that is NaN, infinite or no number.
    """
    start, stop = (
        None if time is None else round(_seconds(time) * sample_rate) for time in (start_s, stop_s)
    )
    return start or 0, stop


def _seconds(time: object) -> Fraction:
    try:
        return Fraction(time)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"a time must be a number of seconds, not {time!r}") from None


def resampled_length(n_samples: int, sr_in: int, sr_out: int) -> int:
    """Samples at ``sr_out`` that cover ``n_samples`` at ``sr_in``: ceil(n * sr_out / sr_in).

    Rounded up, so that going to another rate and back never has fewer samples than at first.
    """
    return -(-n_samples * sr_out // sr_in)


def resample(
    x: NDArray[np.float32], sr_in: int, sr_out: int, n_out: int | None = None
) -> NDArray[np.float32]:
    """Resample [C, N] from ``sr_in`` to ``sr_out`` (Hz), without delay.

    The result has ``n_out`` samples, by default :func:`resampled_length`; the signal is taken as
    zero beyond its end. Channels do not influence each other.
    """
    n_in = x.shape[-1]
    n_out = resampled_length(n_in, sr_in, sr_out) if n_out is None else n_out
    if sr_in == sr_out:
        return np.ascontiguousarray(_fit(x, n_out), dtype=np.float32)
    if n_in == 0 or n_out == 0:
        return np.zeros((x.shape[0], n_out), np.float32)
    import soxr

    # soxr rounds its output length; a little silence at the end makes it long enough to cut.
    tail = 2 * -(-sr_in // sr_out) + 2
    padded = np.pad(np.asarray(x, dtype=np.float32), ((0, 0), (0, tail)))
    rows = [soxr.resample(row, sr_in, sr_out, quality="VHQ") for row in padded]
    return np.stack([_fit(row, n_out) for row in rows]).astype(np.float32, copy=False)


class Resampler:
    """:func:`resample` for a stream: the joined parts are the same samples for any chunks."""

    def __init__(self, sr_in: int, sr_out: int, n_channels: int) -> None:
        self._rates = sr_in, sr_out
        self._n_channels = n_channels
        self._stream: Any = None
        self._n_in = self._n_out = 0
        if sr_in != sr_out:
            import soxr

            self._stream = soxr.ResampleStream(
                sr_in, sr_out, n_channels, dtype="float32", quality="VHQ"
            )

    def push(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next samples [C, n] -> those that are complete [C, m], m >= 0."""
        self._n_in += x.shape[1]
        return self._give(self._resample(x, last=False))

    def flush(self, n_out: int | None = None) -> NDArray[np.float32]:
        """The rest [C, m], after which there were ``n_out`` in all, as :func:`resample` says.

        Samples beyond ``n_out`` that were given out already stay so.
        """
        sr_in, sr_out = self._rates
        n_out = resampled_length(self._n_in, sr_in, sr_out) if n_out is None else n_out
        tail = 2 * -(-sr_in // sr_out) + 2
        rest = self._resample(np.zeros((self._n_channels, tail), np.float32), last=True)
        return self._give(_fit(rest, max(n_out - self._n_out, 0)))

    def _resample(self, x: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        if self._stream is None:
            return x[:, :0] if last else x
        y = self._stream.resample_chunk(np.ascontiguousarray(x.T), last=last)
        return np.ascontiguousarray(y.reshape(-1, self._n_channels).T)

    def _give(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        self._n_out += x.shape[1]
        return x


def _fit(x: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Cut or zero-pad the last axis to ``n``."""
    missing = n - x.shape[-1]
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)]) if missing > 0 else x[..., :n]
