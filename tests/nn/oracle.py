"""Slow references in native complex arithmetic, written from the definitions."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def native(parameter: Tensor) -> Tensor:
    """Real ``(..., 2)`` parameter -> a fresh complex leaf."""
    return torch.view_as_complex(parameter.detach().clone()).requires_grad_()


def complex_randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def non_circular(*shape: int, seed: int = 0) -> Tensor:
    """Correlated re and im of different power, with a mean."""
    z = complex_randn(*shape, seed=seed)
    return torch.complex(1.3 * z.real + 0.2, 0.4 * z.imag + 0.5 * z.real - 0.1)


def inverse_root(cov: Tensor, eps: float, floor: float) -> Tensor:
    """Symmetric inverse square root ``[..., 2, 2]`` by eigendecomposition, same regularisation."""
    level = cov.diagonal(dim1=-2, dim2=-1).mean(-1) + floor
    eye = torch.eye(2, dtype=cov.dtype)
    values, vectors = torch.linalg.eigh(cov + (floor + eps * level)[..., None, None] * eye)
    return vectors @ torch.diag_embed(values.rsqrt()) @ vectors.mT


def covariance(pairs: Tensor) -> Tensor:
    """About zero: ``[..., n, 2]`` -> ``[..., 2, 2]``."""
    return pairs.mT @ pairs / pairs.shape[-2]


def whiten_over_channels(z: Tensor, eps: float, floor: float, center: bool = False) -> Tensor:
    """Complex ``[B, C, *]``, each position on its own; covariance I."""
    if center:
        z = z - z.mean(1, keepdim=True)
    pairs = torch.view_as_real(z.movedim(1, -1).contiguous())  # B * C 2
    white = pairs @ inverse_root(covariance(pairs), eps, floor)
    return torch.view_as_complex(white.contiguous()).movedim(-1, 1)


def attention_along_last(
    z: Tensor,
    wqkv: Tensor,
    wout: Tensor,
    heads: int,
    window: tuple[int, int] | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Complex ``[C, T]`` -> ``[C, T]``: one query at a time, zero frames outside."""
    channels, length = z.shape
    q, k, v = (wqkv @ z).chunk(3, 0)
    size = channels // heads
    out = torch.zeros_like(z)
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        for t in range(length):
            if window is None:
                places = list(range(length))
            else:
                places = list(range(t - window[0], t + window[1] + 1))
            zero = torch.zeros(size, dtype=z.dtype)
            keys = torch.stack([k[part, j] if 0 <= j < length else zero for j in places])
            values = torch.stack([v[part, j] if 0 <= j < length else zero for j in places])
            score = (keys.conj() @ q[part, t]).real / math.sqrt(2 * size)
            if bias is not None:
                score = score + bias[h]
            out[part, t] = torch.softmax(score, 0).to(z.dtype) @ values
    return wout @ out
