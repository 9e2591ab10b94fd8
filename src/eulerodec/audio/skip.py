"""Leaving out the start of what can only be read from its start."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["without_first"]


def without_first(
    blocks: Iterator[NDArray[np.float32]], n_samples: int
) -> Iterator[NDArray[np.float32]]:
    """Blocks [C, n] without their first ``n_samples`` samples; none of them is empty."""
    for x in blocks:
        left_out = min(n_samples, x.shape[1])
        n_samples -= left_out
        if left_out < x.shape[1]:
            yield x[:, left_out:]
