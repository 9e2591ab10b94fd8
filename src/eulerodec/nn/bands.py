"""Triangular frequency bands on the ERB-rate scale."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["band_centres", "erb_width", "triangles"]


def erb_width(hertz: float) -> float:
    """Equivalent rectangular bandwidth in Hz: 24.7 (0.00437 f + 1) (Glasberg & Moore 1990)."""
    return 24.7 * (0.00437 * hertz + 1.0)


def band_centres(sample_rate: int, narrowest: float, step: float = 1.1) -> Tensor:
    """Centres in Hz, float64, from ``narrowest`` up to below Nyquist.

    They are ``step`` ERB apart, but no less than ``narrowest`` Hz.
    """
    centres = [narrowest]
    while True:
        f = centres[-1] + max(narrowest, step * erb_width(centres[-1]))
        if f > 0.96 * sample_rate / 2:
            return torch.tensor(centres, dtype=torch.float64)
        centres.append(f)


def triangles(centres: Tensor, hertz: Tensor) -> Tensor:
    """Weights ``[bands, n]`` of the bands at the frequencies ``hertz [n]``, which sum to one there.

    Each falls linearly to zero at its neighbours' centres; the outermost stay one to the ends.
    """
    at = torch.bucketize(hertz, centres).clamp(1, len(centres) - 1)
    low, high = centres[at - 1], centres[at]
    upper = ((hertz - low) / (high - low)).clamp(0.0, 1.0)
    weights = torch.zeros(len(centres), len(hertz), dtype=torch.float64)
    n = torch.arange(len(hertz))
    weights[at - 1, n] = 1.0 - upper
    weights[at, n] += upper
    return weights
