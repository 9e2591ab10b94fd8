"""What is exported: the two halves of the network as modules on plain tensors."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..model import EuleroDec
from ..nn import prepared
from ..quantize import Coded
from .fourier import MatrixCorrelation, MatrixSTFT

__all__ = ["AnalysisGraph", "DecoderGraph", "without_fft"]


class AnalysisGraph(nn.Module):
    """Waveform ``[C, (T + 1) hop]`` -> latents ``[C, 2P, T]`` and log10 energies ``[C, bands, T]``.

    Frame t covers samples t hop ... (t + 2) hop - 1: a stream has one hop of the past before it.
    """

    def __init__(self, model: EuleroDec) -> None:
        super().__init__()
        self.model = model

    def forward(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.describe(self.model.stft.transform(wav))


class DecoderGraph(nn.Module):
    """What is known of T >= 2 frames -> waveform ``[C, (T - 1) hop]``, of which frame t starts at
    (t - 1) hop; arguments as the fields of :class:`~eulerodec.quantize.Coded`."""

    def __init__(self, model: EuleroDec) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, bands: Tensor, n_stages: Tensor, n_energies: Tensor) -> Tensor:
        spec = self.model.decoder(Coded(z, bands, n_stages, n_energies))
        return self.model.stft.complete(spec)


def without_fft(model: EuleroDec) -> EuleroDec:
    """A copy for export: matrices in place of Fourier transforms, weights as they are used."""
    twin = copy.deepcopy(model).eval().requires_grad_(False).cpu().float()
    stft = MatrixSTFT(twin.stft.n_fft, twin.stft.hop_length)
    pitch = twin.decoder.pitch
    twin.stft = twin.decoder.stft = pitch.stft = stft
    pitch.correlation = MatrixCorrelation(pitch.correlation.n)
    with torch.no_grad():
        return prepared(twin)
