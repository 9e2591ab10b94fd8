"""Planar representation of complex tensors.

A complex tensor ``[B, C, *]`` is carried as a real tensor ``[B, 2C, *]``: first the C real parts,
then the C imaginary parts. Real kernels (one convolution with a block weight, one attention call)
are several times faster than native complex ones, work under bf16 autocast, and the gradient of the
planar pair is the Wirtinger gradient that PyTorch reports for complex tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ComplexModule", "magnitude", "scale_planar", "to_complex", "to_planar"]

_HALF = (torch.float16, torch.bfloat16)


def to_planar(z: Tensor, dim: int = 1) -> Tensor:
    """Complex ``[..., C, ...]`` -> real ``[..., 2C, ...]`` with real parts first along ``dim``."""
    if not z.is_complex():
        raise ValueError(f"to_planar needs a complex tensor, got {z.dtype}")
    return torch.cat([z.real, z.imag], dim=dim)


def to_complex(x: Tensor, dim: int = 1) -> Tensor:
    """Planar ``[..., 2C, ...]`` -> complex ``[..., C, ...]``; half precision becomes complex64."""
    if x.is_complex() or x.shape[dim] % 2:
        raise ValueError(
            f"to_complex needs a real tensor with an even size in dim {dim}, "
            f"got {x.dtype} of shape {tuple(x.shape)}"
        )
    re, im = widen(x).chunk(2, dim)
    return torch.complex(re, im)


def widen(x: Tensor) -> Tensor:
    """float16 and bfloat16 -> float32, other types unchanged (for statistics and magnitudes)."""
    return x.float() if x.dtype in _HALF else x


def magnitude(x: Tensor, eps: float = 1e-12) -> Tensor:
    """``sqrt(re^2 + im^2 + eps)`` of planar ``[B, 2C, *]`` -> ``[B, C, *]``, at least float32.

    ``eps`` keeps the gradient finite (zero) at z = 0.
    """
    re, im = widen(x).chunk(2, 1)
    return (torch.addcmul(re * re, im, im) + eps).sqrt()


def scale_planar(x: Tensor, gain: Tensor) -> Tensor:
    """Multiply planar ``[B, 2C, *]`` by a real gain ``[B, C, *]`` (one pass); keeps x's dtype."""
    pair = x.unflatten(1, (2, -1))
    return (pair * gain.to(x.dtype).unsqueeze(1)).flatten(1, 2)


class ComplexModule(nn.Module):
    """Base of modules on complex data: subclasses implement :meth:`planar_forward`.

    ``forward`` takes a planar real tensor or a native complex tensor and returns the same kind.
    """

    channel_dim: int = 1  # where the channels are (``ComplexLinear``: last)

    def forward(self, x: Tensor) -> Tensor:
        if x.is_complex():
            y = self.planar_forward(to_planar(x, self.channel_dim))
            return to_complex(y, self.channel_dim)
        return self.planar_forward(x)

    def planar_forward(self, x: Tensor) -> Tensor:
        """The computation on a planar real tensor; returns a planar real tensor."""
        raise NotImplementedError

    def _check_channels(self, x: Tensor, channels: int) -> None:
        if x.shape[self.channel_dim] != 2 * channels:
            raise ValueError(
                f"{type(self).__name__} has {channels} complex channels: it needs size "
                f"{2 * channels} in dim {self.channel_dim} of a planar tensor (or {channels} of a "
                f"complex one), got planar shape {tuple(x.shape)}"
            )
