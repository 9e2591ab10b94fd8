"""Frequency bands on the ERB-rate scale: where they are, and the energies of spectra in them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..nn import band_centres, triangles

__all__ = ["Bands", "planar_power"]

_FLOOR = 1e-8  # power per bin below which nothing is heard (-104 dB of full scale)


def planar_power(x: Tensor) -> Tensor:
    """``|x|^2`` of planar ``[B, 2C, T]``, ``[B, C, T]``."""
    return x.unflatten(1, (2, -1)).square().sum(1)


class Bands(nn.Module):
    """Overlapping triangular bands, 1.1 ERB apart but no closer than two MDCT coefficients.

    It has neither parameters nor saved buffers: every part of the network that works in bands may
    hold the same one.

    Args:
        sample_rate: Hz.
        hop_length: samples; F = hop_length + 1 STFT bins and P = hop_length / 2 complex MDCT
            coefficients share the range up to half the sample rate.

    Attributes:
        centres: Hz, float64 ``[bands]``.
        bin_means: ``[bands, F]``, rows that average STFT bins.
        spread: ``[F, bands]``, each bin's shares in the bands, which sum to one.
    """

    centres: Tensor
    bin_means: Tensor
    spread: Tensor

    def __init__(self, sample_rate: int, hop_length: int) -> None:
        super().__init__()
        nyquist, n_coefficients = sample_rate / 2, hop_length // 2
        centres = band_centres(sample_rate, nyquist / n_coefficients)
        at = torch.linspace(0.0, nyquist, hop_length + 1, dtype=torch.float64)
        bins = triangles(centres, at)
        self.count = len(centres)
        for name, value in {
            "centres": centres,
            "bin_means": (bins / bins.sum(1, keepdim=True)).float(),
            "spread": bins.t().float().contiguous(),
        }.items():
            self.register_buffer(name, value, persistent=False)

    def energies(self, spec: Tensor) -> Tensor:
        """Planar STFT ``[B, 2F, T]`` -> log10 of mean power per bin, float32 ``[B, bands, T]``."""
        with torch.autocast(spec.device.type, enabled=False):
            return (self.to_bands(planar_power(spec)) + _FLOOR).log10()

    def total(self, energies: Tensor) -> Tensor:
        """log10 energies ``[B, bands, T]`` -> power of all bins together, ``[B, 1, T]``."""
        return torch.matmul(self.spread.sum(0), torch.pow(10.0, energies))[:, None]

    def to_bands(self, bins: Tensor) -> Tensor:
        """Values of STFT bins ``[F]`` or ``[B, F, T]`` -> their means in bands."""
        return torch.matmul(self.bin_means, bins)

    def to_bins(self, bands: Tensor) -> Tensor:
        """Values of bands ``[B, bands, T]`` -> of STFT bins ``[B, F, T]``, interpolated."""
        return torch.matmul(self.spread, bands)
