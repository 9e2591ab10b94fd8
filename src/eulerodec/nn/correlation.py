"""Circular correlations of one length by way of the Fourier transform."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Correlation"]


class Correlation(nn.Module):
    """Correlates real signals along the last axis; has no weights.

    Args:
        n: length, to which shorter signals are filled up with zeros.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def spectrum(self, x: Tensor) -> Tensor:
        """What :meth:`correlate` takes of a signal ``[..., m]``, m <= n."""
        return torch.fft.rfft(x, n=self.n)

    def correlate(self, a: Tensor, b: Tensor) -> Tensor:
        """``sum over p of a[k + p] b[p]`` for each k ``[..., n]``, from the spectra of a and b."""
        return torch.fft.irfft(a * b.conj(), n=self.n)
