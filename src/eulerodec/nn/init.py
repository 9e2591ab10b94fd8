"""Initialisation of complex weights stored as real tensors ``(out, in, *kernel, 2)``.

Trabelsi et al. 2018, "Deep Complex Networks", section 3.6: the modulus is Rayleigh distributed and
the phase uniform. That is exactly a circular complex Gaussian, i.e. independent normal real and
imaginary parts with standard deviation equal to the Rayleigh scale, so ``normal_`` fills both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["complex_glorot_", "complex_kaiming_", "complex_unitary_"]


def _fans(weight: Tensor) -> tuple[int, int]:
    if weight.ndim < 3 or weight.shape[-1] != 2:
        raise ValueError(f"complex weight must be (out, in, *kernel, 2), got {tuple(weight.shape)}")
    taps = math.prod(weight.shape[2:-1])
    return weight.shape[1] * taps, weight.shape[0] * taps


@torch.no_grad()
def complex_kaiming_(
    weight: Tensor,
    gain: float = 1.0,
    fan_in: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fill with ``E|w|^2 = gain^2 / fan_in`` (He variance 2/fan_in is ``gain=sqrt(2)``).

    ``gain=1`` keeps ``E|z|^2`` through a linear layer. ``fan_in`` overrides the one of the shape.
    """
    fan = _fans(weight)[0] if fan_in is None else fan_in
    return weight.normal_(0.0, gain / math.sqrt(2.0 * max(fan, 1)), generator=generator)


@torch.no_grad()
def complex_glorot_(
    weight: Tensor, gain: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Fill with ``E|w|^2 = 2 gain^2 / (fan_in + fan_out)``."""
    fan = sum(_fans(weight))
    return weight.normal_(0.0, gain / math.sqrt(max(fan, 1)), generator=generator)


@torch.no_grad()
def complex_unitary_(
    weight: Tensor, gain: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Fill with ``gain`` times a Haar-distributed (semi-)unitary matrix of shape out x (in*kernel).

    Rows are orthonormal if out <= in*kernel, else columns. QR of a complex Gaussian, with the
    phases of R's diagonal moved into Q (Mezzadri 2007) so that the distribution is uniform.
    """
    _fans(weight)
    rows, cols = weight.shape[0], weight[0].numel() // 2
    shape = (max(rows, cols), min(rows, cols), 2)
    gauss = torch.empty(shape, dtype=torch.float64, device=weight.device)
    q, r = torch.linalg.qr(torch.view_as_complex(gauss.normal_(generator=generator)))
    q = q * torch.sgn(torch.diagonal(r))
    q = q if rows >= cols else q.transpose(0, 1)
    return weight.copy_(gain * torch.view_as_real(q.resolve_conj()).reshape(weight.shape))
