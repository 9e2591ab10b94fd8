"""The encoder: STFT to latents, by a transform path and a network path."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from eulerodec.model.trunk import Trunk, local_level, scale_channels
from eulerodec.nn import ComplexConv1d, WidelyLinearConv1d, power_compress

from .config import JointConfig

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """Planar STFT ``[B, 2F, T]`` -> planar latents ``[B, 2D, T]``."""

    tilt: Tensor
    latent_scale: Tensor

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.config = config
        bins, coefficients = config.n_fft // 2 + 1, config.hop_length // 2
        self.transform = WidelyLinearConv1d(bins, coefficients, 1, bias=False)
        self.select = WidelyLinearConv1d(coefficients, config.latent_dim, 1, bias=False)
        self.trunk = Trunk(
            cast(Any, config),  # has what a trunk reads of the codec's
            bins,
            config.encoder_channels,
            config.encoder_blocks,
            config.encoder_look_ahead,
        )
        self.out_proj = ComplexConv1d(config.encoder_channels, config.latent_dim, 1, bias=False)
        nn.init.zeros_(self.out_proj.weight)
        # root mean square per bin and per latent, relative to the frame's level
        self.register_buffer("tilt", torch.ones(bins))
        self.register_buffer("latent_scale", torch.ones(config.latent_dim))
        self.right = min(1, config.encoder_look_ahead)

    def transform_path(self, spec: Tensor) -> Tensor:
        """The lapped transform's latents, planar ``[B, 2D, T]``, float32."""
        with torch.autocast(spec.device.type, enabled=False):
            mdct = power_compress(self.transform(spec.float()), self.config.latent_exponent)
            return self.select(mdct)

    def forward(self, spec: Tensor) -> Tensor:
        z = self.transform_path(spec)
        features = power_compress(spec, self.config.feature_exponent)
        features = features / local_level(features, self.right)
        h = self.trunk(scale_channels(features, 1.0 / self.tilt))
        delta = scale_channels(self.out_proj(h).float(), self.latent_scale)
        return z + delta * local_level(z, self.right)
