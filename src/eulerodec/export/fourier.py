"""Fourier transforms as products with constant matrices, of real numbers alone.

ONNX has no complex tensors, and these products are what its runtimes are good at.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..nn import STFT, Correlation

__all__ = ["MatrixCorrelation", "MatrixSTFT"]


class MatrixSTFT(STFT):
    """:class:`~eulerodec.nn.STFT` by matrices, which hold the window as well."""

    forward_matrix: Tensor
    inverse_matrix: Tensor

    def __init__(self, n_fft: int, hop_length: int) -> None:
        super().__init__(n_fft, hop_length)
        unit = torch.eye(n_fft, dtype=torch.float64)
        window = self.window.double()
        spectrum = torch.fft.rfft(unit * window)
        bins = torch.eye(self.n_bins, dtype=torch.float64)
        back = torch.cat([torch.fft.irfft(z, n=n_fft) for z in (bins + 0j, 1j * bins)])
        self.register_buffer("forward_matrix", _planar(spectrum), persistent=False)
        self.register_buffer("inverse_matrix", (back * window).float(), persistent=False)

    def spectra(self, frames: Tensor) -> Tensor:
        return (frames @ self.forward_matrix).transpose(1, 2)

    def frames(self, spec: Tensor) -> Tensor:
        return spec.transpose(1, 2) @ self.inverse_matrix


class MatrixCorrelation(Correlation):
    """:class:`~eulerodec.nn.Correlation` by the four-step transform (Gentleman & Sande 1966).

    With n = R C, x[a C + b] and X[c + R d]:
    X = sum_b e^(-2 pi i b d / C) e^(-2 pi i b c / n) sum_a e^(-2 pi i a c / R) x. Of a real x the
    spectrum is needed for c = 0 ... R/2 alone. It stays in the order [c, d].
    """

    rows_in: Tensor
    rows_out: Tensor
    columns_in: Tensor
    columns_out: Tensor
    twiddle: Tensor

    def __init__(self, n: int) -> None:
        super().__init__(n)
        rows = max(r for r in range(2, math.isqrt(n) + 1, 2) if n % r == 0)
        self.rows, self.columns = rows, n // rows
        half = rows // 2 + 1
        c = torch.arange(half)
        first = _roots(torch.arange(rows)[:, None] * c, rows)  # [R, half]
        second = _roots(
            torch.outer(torch.arange(self.columns), torch.arange(self.columns)), self.columns
        )
        share = torch.full((half, 1), 2.0 / n, dtype=torch.float64)  # c and R - c are conjugates,
        share[0] = share[-1] = 1.0 / n  # but for these two
        last = share * first.conj().t()  # [half, R]
        for name, value in {
            "rows_in": _planar(first),
            "columns_in": _block(second),
            "columns_out": _block(second.conj()),
            "rows_out": torch.cat([last.real, -last.imag]).float(),
            "twiddle": torch.view_as_real(
                _roots(c[:, None] * torch.arange(self.columns), n)
            ).float(),
        }.items():
            self.register_buffer(name, value, persistent=False)

    def spectrum(self, x: Tensor) -> Tensor:
        """``[..., m]`` -> ``[..., R/2 + 1, 2 C]``, real parts, then imaginary ones."""
        x = F.pad(x, (0, self.n - x.shape[-1])).unflatten(-1, (self.rows, self.columns))
        re, im = (x.transpose(-1, -2) @ self.rows_in).transpose(-1, -2).chunk(2, -2)
        return _product(re, im, *self.twiddle.unbind(-1)) @ self.columns_in

    def correlate(self, a: Tensor, b: Tensor) -> Tensor:
        (ar, ai), (br, bi) = a.chunk(2, -1), b.chunk(2, -1)
        re, im = (_product(ar, ai, br, -bi) @ self.columns_out).chunk(2, -1)
        tr, ti = self.twiddle.unbind(-1)
        z = _product(re, im, tr, -ti).chunk(2, -1)
        return (torch.cat(z, -2).transpose(-1, -2) @ self.rows_out).transpose(-1, -2).flatten(-2)


def _roots(k: Tensor, n: int) -> Tensor:
    """``e^(-2 pi i k / n)``, complex128."""
    angle = (-2.0 * math.pi / n) * (k % n).double()
    return torch.complex(angle.cos(), angle.sin())


def _planar(z: Tensor) -> Tensor:
    return torch.cat([z.real, z.imag], -1).float()


def _block(z: Tensor) -> Tensor:
    """The real matrix by which ``[re | im]`` rows are multiplied in place of complex ones."""
    return torch.cat([_planar(z), _planar(1j * z)])


def _product(ar: Tensor, ai: Tensor, br: Tensor, bi: Tensor) -> Tensor:
    """Complex product, ``[re | im]`` along the last axis."""
    return torch.cat([ar * br - ai * bi, ar * bi + ai * br], -1)
