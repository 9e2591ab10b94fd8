"""The transform path's start: a lapped transform as a widely linear map of an STFT frame."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from eulerodec.nn import STFT, WidelyLinearConv1d

from .decoder import Decoder
from .encoder import Encoder

__all__ = ["channel_rms", "set_lapped_transform", "set_planar_matrix"]


def channel_rms(parts: Iterable[Tensor]) -> Tensor:
    """Root mean square modulus of each channel of planar ``[B, 2C, T]``, bounded below."""
    powers = [2.0 * x.unflatten(1, (2, -1)).square().mean((0, 1, 3)) for x in parts]
    rms = torch.stack(powers).mean(0).sqrt()
    return rms.clamp_min(0.02 * float(rms.max()))


def set_planar_matrix(layer: WidelyLinearConv1d, matrix: Tensor) -> None:
    """Sets a 1x1 widely linear map from its real matrix ``[2*out, 2*in]`` over planar channels."""
    rr, ri, ir, ii = (
        q for half in matrix.chunk(2, 0) for q in half.chunk(2, 1)
    )  # [[rr, ri], [ir, ii]]
    a = torch.stack([rr + ii, ir - ri], -1) / 2
    b = torch.stack([rr - ii, ir + ri], -1) / 2
    with torch.no_grad():
        layer.weight.copy_(a[:, :, None])
        layer.weight_conj.copy_(b[:, :, None])


def set_lapped_transform(encoder: Encoder, decoder: Decoder, stft: STFT) -> None:
    """MDCT as a widely linear map of one STFT frame, and back; identity-like band selection.

    MDCT (Princen, Johnson & Bradley 1987): y_k = sqrt(2/h) sum_n w_n x_n cos(pi/h (n + 1/2 + h/2)
    (k + 1/2)) over a window of 2h samples. y is linear in the windowed frame, which is linear in
    (re, im) of its STFT. Coefficients 2j and 2j + 1 become re and im of the complex coefficient j.
    """
    hop = encoder.config.hop_length
    bins = stft.n_bins
    n = torch.arange(2 * hop, dtype=torch.float64) + 0.5 + hop / 2
    k = torch.arange(hop, dtype=torch.float64) + 0.5
    mdct = math.sqrt(2.0 / hop) * torch.cos(math.pi / hop * torch.outer(k, n))  # [h, 2h]
    mdct = torch.cat([mdct[0::2], mdct[1::2]])
    unit = torch.eye(bins, dtype=torch.float64)
    # columns: the windowed frame for a unit real or imaginary part of each bin
    frame = torch.cat([
        torch.fft.irfft(unit.to(torch.complex128), n=2 * hop),
        torch.fft.irfft(1j * unit, n=2 * hop),
    ])  # fmt: skip
    forward = mdct @ frame.t()  # [h, 2 bins]
    back = torch.fft.rfft(mdct).t()  # [bins, h]
    set_planar_matrix(encoder.transform, forward.float())
    set_planar_matrix(decoder.transform, torch.cat([back.real, back.imag]).float())
    # until initialize(): the lowest coefficients, as they are
    keep = torch.eye(2 * encoder.config.latent_dim, dtype=torch.float32)
    half, dim = hop // 2, encoder.config.latent_dim
    matrix = torch.zeros(2 * dim, hop)
    matrix[:dim, :dim] = keep[:dim, :dim]
    matrix[dim:, half : half + dim] = keep[dim:, dim:]
    set_planar_matrix(encoder.select, matrix)
    set_planar_matrix(decoder.expand, matrix.t())
