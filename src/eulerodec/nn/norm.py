"""Complex normalisation: 2x2 whitening of (re, im), and RMS.

A complex variable has a power *and* a pseudo-variance; its real covariance
V = [[Vrr, Vri], [Vri, Vii]] is a multiple of the identity only if the variable is circular.
Whitening multiplies (re, im) by V^(-1/2) (Trabelsi et al. 2018, section 3.5).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .planar import ComplexModule, widen

__all__ = ["ComplexBatchNorm", "ComplexRMSNorm", "WhiteningNorm", "inverse_sqrt_2x2"]


def inverse_sqrt_2x2(
    vrr: Tensor, vii: Tensor, vri: Tensor, eps: float, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Symmetric inverse square root of the regularised covariance, closed form.

    Regularised means V + (floor + eps * p) I with p = floor + trace(V)/2: relative to the level,
    with an absolute floor for silence. Written as p [[1+eps+d, c], [c, 1+eps-d]] every number is
    of order one at any level, and sqrt(d^2 + c^2) <= 1 is the degree of non-circularity. From
    Cayley-Hamilton, with s = sqrt(det M), t = sqrt(trace M + 2 s):
    M^(-1/2) = (s I + adj M) / (s t).

    Args:
        vrr, vii, vri: covariance entries, any one shape.
        eps: relative regularisation (> 0).
        floor: absolute regularisation (power).

    Returns:
        (rr, ii, ri) entries of the inverse square root.
    """
    p = 0.5 * (vrr + vii) + floor
    d = 0.5 * (vrr - vii) / p
    c = vri / p
    one = 1.0 + eps
    # exactly >= 2 eps; the clamp only guards against rounding
    s = ((one - d) * (one + d) - c * c).clamp_min(eps).sqrt()
    k = torch.rsqrt(p) / (s * (2.0 * (one + s)).sqrt())
    return k * (one - d + s), k * (one + d + s), -k * c


class WhiteningNorm(ComplexModule):
    """Whitens (re, im) over the channels at each position, then scales by one complex per channel.

    At each position (batch item and frame, or bin) the 2x2 covariance over the C channels is
    taken, about zero or about the channel mean (``center=True``), and its symmetric inverse square
    root applied, so that the covariance over channels becomes I/2: unit power, circular. Nothing
    is shared between positions, so it is causal and independent of length and batch.

    U(1)-equivariant: for z -> e^(ia) z the pairs (re, im) turn by the rotation R, V -> R V R^T,
    the regularisation (a multiple of I) is unchanged, and the symmetric root of R V R^T is
    R V^(-1/2) R^T. So the output R V^(-1/2) R^T R x = R V^(-1/2) x turns by R, which commutes with
    the complex scale. The mean over channels turns too, so this also holds with ``center=True``.

    Statistics are float32 (or wider) under autocast. ``eps`` is relative to the power and bounds
    the gain of a missing component (pure real input) to ~ 1/sqrt(2 eps) of the other's; ``floor``
    (power) bounds the gain for silence.

    Args:
        channels: number of complex channels C.

    Shape: planar ``[B, 2C, *]`` -> same.
    """

    def __init__(
        self, channels: int, eps: float = 1e-3, floor: float = 1e-8, center: bool = False
    ) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.floor = floor
        self.center = center
        self.scale = nn.Parameter(torch.tensor([1.0, 0.0]).repeat(channels, 1))

    def planar_forward(self, x: Tensor) -> Tensor:
        self._check_channels(x, self.channels)
        re, im = widen(x).chunk(2, 1)
        if self.center:
            re, im = re - re.mean(1, keepdim=True), im - im.mean(1, keepdim=True)
        # products and means, not a dot product: autocast would run that in half precision
        vrr, vii, vri = ((s * t).mean(1, keepdim=True) for s, t in ((re, re), (im, im), (re, im)))
        a, d, b = inverse_sqrt_2x2(vrr, vii, vri, self.eps, self.floor)
        # the factor sqrt(1/2), for covariance I/2, goes with the (small) scale
        shape = (-1,) + (1,) * (x.ndim - 2)
        gr, gi = (g.view(shape) for g in (self.scale * math.sqrt(0.5)).unbind(-1))
        u = torch.addcmul(a * re, b, im)
        v = torch.addcmul(b * re, d, im)
        out = torch.cat([torch.addcmul(gr * u, gi, v, value=-1), torch.addcmul(gi * u, gr, v)], 1)
        return out.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, floor={self.floor}, center={self.center}"


class ComplexRMSNorm(ComplexModule):
    """``z * scale / sqrt(mean_channels |z|^2 + floor)`` with one real scale per channel.

    Unit power at each position; keeps every phase, U(1)-equivariant.

    Shape: planar ``[B, 2C, *]`` -> same.
    """

    def __init__(self, channels: int, floor: float = 1e-8) -> None:
        super().__init__()
        self.channels = channels
        self.floor = floor
        self.scale = nn.Parameter(torch.ones(channels))

    def planar_forward(self, x: Tensor) -> Tensor:
        self._check_channels(x, self.channels)
        wide = widen(x)
        gain = torch.rsqrt(2.0 * wide.square().mean(1, keepdim=True) + self.floor)
        scale = self.scale.repeat(2).view((-1,) + (1,) * (x.ndim - 2))
        return (wide * gain * scale).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}, floor={self.floor}"


class ComplexBatchNorm(ComplexModule):
    """Complex batch normalisation with 2x2 whitening (Trabelsi et al. 2018), any spatial rank.

    Training: mean and covariance per channel over batch and positions, whitened to I, then the
    symmetric affine ``gamma`` (rr, ii, ri; starts at I/sqrt(2), so output covariance I/2) and a
    complex ``bias``. Evaluation uses the running mean and covariance, which fixes a direction in
    the complex plane: *not* U(1)-equivariant. The running covariance starts at I/2, so that a
    fresh module in evaluation is the identity (up to eps).

    Shape: planar ``[B, 2C, *]`` -> same.
    """

    running_mean: Tensor
    running_cov: Tensor

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        floor: float = 1e-8,
        momentum: float = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.floor = floor
        self.momentum = momentum
        root = math.sqrt(0.5)
        self.gamma = nn.Parameter(torch.tensor([root, root, 0.0]).repeat(channels, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 2))
        self.gamma.requires_grad_(affine)
        self.bias.requires_grad_(affine)
        self.register_buffer("running_mean", torch.zeros(channels, 2))
        self.register_buffer("running_cov", torch.tensor([0.5, 0.5, 0.0]).repeat(channels, 1))

    def planar_forward(self, x: Tensor) -> Tensor:
        self._check_channels(x, self.channels)
        pair = widen(x).unflatten(1, (2, -1))
        shape = (-1,) + (1,) * (x.ndim - 2)
        if self.training:
            dims = [0, *range(3, pair.ndim)]
            mean = pair.mean(dims)  # [2, C]
            pair = pair - mean.view(1, 2, *shape)
            re, im = pair.unbind(1)
            axes = [0, *range(2, x.ndim)]
            vrr, vii = pair.square().mean(dims).unbind(0)
            vri = (re * im).mean(axes)
            self._track(mean, torch.stack([vrr, vii, vri], -1), re.numel() // self.channels)
        else:
            pair = pair - self.running_mean.t().reshape(1, 2, *shape)
            re, im = pair.unbind(1)
            vrr, vii, vri = self.running_cov.unbind(-1)
        a, d, b = inverse_sqrt_2x2(vrr, vii, vri, self.eps, self.floor)
        grr, gii, gri = self.gamma.unbind(-1)
        # gamma @ whitening as one 2x2 matrix per channel
        m = [grr * a + gri * b, grr * b + gri * d, gri * a + gii * b, gri * b + gii * d]
        rr, ri, ir, ii = (w.view(shape) for w in m)
        br, bi = (w.view(shape) for w in self.bias.unbind(-1))
        out = [torch.addcmul(rr * re + br, ri, im), torch.addcmul(ir * re + bi, ii, im)]
        return torch.cat(out, 1).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, cov: Tensor, count: int) -> None:
        unbiased = cov * (count / max(count - 1, 1))
        self.running_mean.lerp_(mean.t().to(self.running_mean.dtype), self.momentum)
        self.running_cov.lerp_(unbiased.to(self.running_cov.dtype), self.momentum)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, momentum={self.momentum}"
