"""Putting a decoded signal in time with its reference.

Every system removes the delay that it is known to have. What is left is searched within half a
millisecond only, so that a codec that is late stays late in the measures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_LAG_S", "align", "best_lag", "shift"]

MAX_LAG_S = 0.0005

Signal = NDArray[np.float32]


def best_lag(reference: Signal, estimate: Signal, max_lag: int) -> int:
    """Samples by which ``estimate`` is late, from -max_lag to max_lag.

    The lag with the largest normalised correlation, that is with the best SI-SDR; 0 where nothing
    correlates. An inverted signal is not taken for a delayed one: the sign counts.
    """
    scores = {}
    for lag in range(-max_lag, max_lag + 1):
        moved = shift(estimate, lag, len(reference)).astype(np.float64)
        norm = float(np.linalg.norm(moved))
        scores[lag] = float(moved @ reference) / norm if norm > 0 else 0.0
    # of equal ones the smallest
    return min(scores, key=lambda lag: (-scores[lag], abs(lag)))


def shift(x: Signal, lag: int, n: int) -> Signal:
    """``n`` samples of ``x`` from sample ``lag`` on, zeros where there are none."""
    if lag < 0:
        x, lag = np.concatenate([np.zeros(-lag, x.dtype), x]), 0
    x = x[lag : lag + n]
    return np.pad(x, (0, n - len(x)))


def align(reference: Signal, estimate: Signal, sample_rate: int) -> tuple[Signal, int]:
    """``estimate`` in time with ``reference`` and as long, and the lag in samples it had."""
    lag = best_lag(reference, estimate, round(sample_rate * MAX_LAG_S))
    return shift(estimate, lag, len(reference)), lag
