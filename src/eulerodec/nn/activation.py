"""Complex activations: a real gain, computed from the input, times the input.

U(1)-equivariant (gain depends on the modulus only): ModReLU, MagnitudeGELU, MagnitudeGLU (in
``value``; invariant in the phase of ``gate``). Not equivariant: Cardioid (depends on the phase).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .planar import ComplexModule, magnitude, scale_planar, to_complex, to_planar

__all__ = ["Cardioid", "MagnitudeGELU", "MagnitudeGLU", "ModReLU", "gated"]

# A circular Gaussian of unit power has Rayleigh modulus with this median and standard deviation.
RAYLEIGH_MEDIAN = math.sqrt(math.log(2.0))
RAYLEIGH_STD = math.sqrt(1.0 - math.pi / 4.0)


def _per_channel(w: Tensor, x: Tensor) -> Tensor:
    return w.view((-1,) + (1,) * (x.ndim - 2))


class ModReLU(ComplexModule):
    """``relu(|z| + b) z / |z|`` with a real b per channel (Arjovsky et al. 2016); b starts at 0.

    U(1)-equivariant. For b > 0 the function has a step at z = 0 (smoothed over |z| ~ 1e-6).
    """

    def __init__(self, channels: int, bias: float = 0.0) -> None:
        super().__init__()
        self.channels = channels
        self.bias = nn.Parameter(torch.full((channels,), bias))

    def planar_forward(self, x: Tensor) -> Tensor:
        self._check_channels(x, self.channels)
        r = magnitude(x)
        return scale_planar(x, torch.relu(r + _per_channel(self.bias, x)) / r)


class MagnitudeGELU(ComplexModule):
    """``z Phi((|z| - mu) / sigma)``: GELU with the modulus as gate, mu and sigma per channel.

    Phi is the normal distribution function. The defaults open the gate half way at the median
    modulus of a unit-power circular Gaussian. sigma is kept positive as exp(log_sigma).
    U(1)-equivariant.
    """

    def __init__(
        self, channels: int, mu: float = RAYLEIGH_MEDIAN, sigma: float = RAYLEIGH_STD
    ) -> None:
        super().__init__()
        self.channels = channels
        self.mu = nn.Parameter(torch.full((channels,), mu))
        self.log_sigma = nn.Parameter(torch.full((channels,), math.log(sigma)))

    def planar_forward(self, x: Tensor) -> Tensor:
        self._check_channels(x, self.channels)
        k = _per_channel(math.sqrt(0.5) * torch.exp(-self.log_sigma), x)
        u = (magnitude(x) - _per_channel(self.mu, x)) * k
        return scale_planar(x, 0.5 + 0.5 * torch.erf(u))


class Cardioid(ComplexModule):
    """``(1 + cos arg z) z / 2`` (Virtue et al. 2017): ReLU on the real axis, by phase elsewhere.

    cos arg z = re/|z|, no atan2. *Not* U(1)-equivariant.
    """

    def planar_forward(self, x: Tensor) -> Tensor:
        r = magnitude(x)
        re = x.chunk(2, 1)[0].to(r.dtype)
        return scale_planar(x, 0.5 + 0.5 * re / r)


def gated(value: Tensor, gate: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``value * sigmoid(a |gate| + b)``, planar ``[B, 2C, *]`` both, a and b real ``[C]``."""
    r = magnitude(gate)
    return scale_planar(value, torch.sigmoid(_per_channel(a, r) * r + _per_channel(b, r)))


class MagnitudeGLU(nn.Module):
    """Gated linear unit with a modulus gate: ``forward(value, gate)``, see :func:`gated`.

    ``a`` (starts at 2) and ``b`` (gate half open at the median modulus) are real, per channel.
    U(1)-equivariant in ``value``, invariant to the phase of ``gate``. Both planar or both complex.
    """

    def __init__(self, channels: int, a: float = 2.0, b: float = -2.0 * RAYLEIGH_MEDIAN) -> None:
        super().__init__()
        self.channels = channels
        self.a = nn.Parameter(torch.full((channels,), a))
        self.b = nn.Parameter(torch.full((channels,), b))

    def forward(self, value: Tensor, gate: Tensor) -> Tensor:
        if value.is_complex() != gate.is_complex():
            raise ValueError("MagnitudeGLU: value and gate must both be planar or both complex")
        if value.is_complex():
            return to_complex(gated(to_planar(value), to_planar(gate), self.a, self.b))
        return gated(value, gate, self.a, self.b)
