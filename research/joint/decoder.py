"""The decoder: latents to STFT, by a transform path and a network path."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from eulerodec.model.trunk import Trunk, cat_planar, local_level, scale_channels
from eulerodec.nn import (
    STFT,
    ComplexConv1d,
    WidelyLinearConv1d,
    magnitude,
    power_compress,
    power_expand,
    scale_planar,
)

from .config import JointConfig

__all__ = ["Decoder"]


class Decoder(nn.Module):
    """Planar latents ``[B, 2D, T]`` -> planar STFT ``[B, 2F, T]``."""

    tilt: Tensor
    latent_scale: Tensor

    def __init__(self, config: JointConfig, stft: STFT) -> None:
        super().__init__()
        self.config = config
        self.stft = stft  # shared with the whole model
        bins, coefficients = config.n_fft // 2 + 1, config.hop_length // 2
        width = config.decoder_channels
        self.expand = WidelyLinearConv1d(config.latent_dim, coefficients, 1, bias=False)
        self.transform = WidelyLinearConv1d(coefficients, bins, 1, bias=False)
        self.trunk = Trunk(
            cast(Any, config),  # has what a trunk reads of the codec's
            bins + config.latent_dim,
            width,
            config.decoder_blocks,
            config.decoder_look_ahead,
        )
        # real gain per trunk channel for each number of stages: U(1)-equivariant conditioning
        self.stage_gain = nn.Embedding(config.n_codebooks + 1, width)
        nn.init.zeros_(self.stage_gain.weight)
        self.out_proj = ComplexConv1d(width, bins, 1, bias=False)
        nn.init.zeros_(self.out_proj.weight)
        self.gain_proj = nn.Conv1d(width, bins, 1)
        nn.init.zeros_(self.gain_proj.weight)
        nn.init.zeros_(cast(Tensor, self.gain_proj.bias))
        # root mean square per bin and per latent, relative to the frame's level
        self.register_buffer("tilt", torch.ones(bins))
        self.register_buffer("latent_scale", torch.ones(config.latent_dim))
        self.right = min(1, config.decoder_look_ahead)

    def transform_path(self, z: Tensor) -> Tensor:
        """The lapped transform's spectrum, planar ``[B, 2F, T]``, float32.

        Overlap-added and analysed again, so that the network sees the STFT of a real signal with
        the time-domain aliasing of single frames cancelled.
        """
        with torch.autocast(z.device.type, enabled=False):
            mdct = power_expand(self.expand(z.float()), self.config.latent_exponent)
            return self.stft.reanalysis(self.transform(mdct))

    def forward(self, z: Tensor, n_codebooks: Tensor) -> Tensor:
        """The spectrum that is heard, planar ``[B, 2F, T]``.

        Args:
            z: latents, planar ``[B, 2D, T]``.
            n_codebooks: int ``[B]``, stages of codes (0: not quantised).
        """
        right, exponent = self.right, self.config.feature_exponent
        base = power_compress(self.transform_path(z), exponent)
        level = local_level(base, right)
        latents = scale_channels(z / local_level(z, right), 1.0 / self.latent_scale)
        features = cat_planar(scale_channels(base / level, 1.0 / self.tilt), latents)
        h = self.trunk(features, self.stage_gain(n_codebooks)[:, :, None])
        residual = scale_channels(self.out_proj(h).float(), self.tilt) * level
        # modulus gate on the output: restores (or lowers) energy without touching the phase
        log_gain = self.gain_proj(magnitude(h).to(h.dtype)).float()
        corrected = scale_planar(base, log_gain.clamp(-3.0, 3.0).exp()) + residual
        return power_expand(corrected, exponent)
