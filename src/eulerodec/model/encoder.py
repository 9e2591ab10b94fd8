"""The encoder: STFT to latents by a lapped transform.

A network beside it brought 0.05 dB and 0.02 PESQ once bits lie where they count, and took nine
tenths of the encoder's time (docs/research/planes.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..nn import WidelyLinearConv1d, power_compress
from .config import ModelConfig

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """Planar STFT ``[B, 2F, T]`` -> planar latents ``[B, 2P, T]``, float32."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        bins, coefficients = config.n_fft // 2 + 1, config.hop_length // 2
        self.transform = WidelyLinearConv1d(bins, coefficients, 1, bias=False)

    def forward(self, spec: Tensor) -> Tensor:
        with torch.autocast(spec.device.type, enabled=False):
            return power_compress(self.transform(spec.float()), self.config.latent_exponent)
