"""Triangular frequency bands on the ERB-rate scale."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["band_centres", "erb_rate", "erb_width", "triangles"]


def erb_width(hertz: float) -> float:
    """Equivalent rectangular bandwidth in Hz: 24.7 (0.00437 f + 1) (Glasberg & Moore 1990)."""
    return 24.7 * (0.00437 * hertz + 1.0)


def erb_rate(hertz: Tensor) -> Tensor:
    """Number of ERB below a frequency in Hz: 21.4 log10(0.00437 f + 1) (Glasberg & Moore 1990)."""
    return 21.4 * torch.log10(0.00437 * hertz + 1.0)


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


def triangles(centres: Tensor, at: Tensor) -> Tensor:
    """Weights ``[bands, n]`` of the bands at the places ``at [n]``, which sum to one there.

    Each falls linearly to zero at its neighbours' centres; the outermost stay one to the ends.
    Linear in whatever unit both have, Hz or ERB.
    """
    upper_band = torch.bucketize(at, centres).clamp(1, len(centres) - 1)
    low, high = centres[upper_band - 1], centres[upper_band]
    upper = ((at - low) / (high - low)).clamp(0.0, 1.0)
    weights = torch.zeros(len(centres), len(at), dtype=torch.float64)
    n = torch.arange(len(at))
    weights[upper_band - 1, n] = 1.0 - upper
    weights[upper_band, n] += upper
    return weights
