"""The encoder: STFT to latents, by a transform path and a network path."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..nn import (
    Clock,
    ComplexConv1d,
    History,
    StreamState,
    WidelyLinearConv1d,
    delay,
    power_compress,
)
from .config import ModelConfig
from .trunk import LEVEL_LEFT, LayerState, Trunk, local_level, scale_channels

__all__ = ["Encoder", "EncoderState"]


@dataclass
class EncoderState(StreamState):
    """The encoder in a stream."""

    clock: Clock | None
    trunk: list[LayerState] | None
    features: History | None = field(default_factory=History)
    features_level: History | None = field(default_factory=History)
    latents: History | None = field(default_factory=History)
    level: History | None = field(default_factory=History)
    level_skip: History | None = field(default_factory=History)


class Encoder(nn.Module):
    """Planar STFT ``[B, 2F, T]`` -> planar latents ``[B, 2D, T]``."""

    tilt: Tensor
    latent_scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        bins, coefficients = config.n_fft // 2 + 1, config.hop_length // 2
        self.transform = WidelyLinearConv1d(bins, coefficients, 1, bias=False)
        self.select = WidelyLinearConv1d(coefficients, config.latent_dim, 1, bias=False)
        self.trunk = Trunk(
            config, bins, config.encoder_channels, config.encoder_blocks, config.encoder_look_ahead
        )
        self.out_proj = ComplexConv1d(config.encoder_channels, config.latent_dim, 1, bias=False)
        nn.init.zeros_(self.out_proj.weight)
        # root mean square per bin and per latent, relative to the frame's level
        self.register_buffer("tilt", torch.ones(bins))
        self.register_buffer("latent_scale", torch.ones(config.latent_dim))
        self.right = min(1, config.encoder_look_ahead)
        self.look_ahead = max(self.right, self.trunk.look_ahead + self.right)
        self.look_back = LEVEL_LEFT + self.trunk.look_back

    def transform_path(self, spec: Tensor) -> Tensor:
        """The lapped transform codec's latents, planar ``[B, 2D, T]``, float32."""
        with torch.autocast(spec.device.type, enabled=False):
            mdct = power_compress(self.transform(spec.float()), self.config.latent_exponent)
            return self.select(mdct)

    def start(self, clock: Clock) -> EncoderState:
        """State for a stream."""
        return EncoderState(clock, self.trunk.start(clock, self.right))

    def forward(self, spec: Tensor, state: EncoderState | None = None) -> Tensor:
        """Latents of a recording, or of a stream's next block, delayed by ``look_ahead`` frames."""
        z, shift = self.paths(spec, state)
        return z + shift

    def paths(self, spec: Tensor, state: EncoderState | None = None) -> tuple[Tensor, Tensor]:
        """The latents of the transform path, and what the network path adds to them."""
        s, right = state or EncoderState.whole(), self.right
        z = self.transform_path(spec)
        features = power_compress(spec, self.config.feature_exponent)
        level = local_level(features, right, s.features_level)
        features = delay(features, right, s.features)
        h = self.trunk(scale_channels(features / level, 1.0 / self.tilt), states=s.trunk)
        delta = scale_channels(self.out_proj(h).float(), self.latent_scale)
        level = delay(local_level(z, right, s.level), self.trunk.look_ahead, s.level_skip)
        return delay(z, self.look_ahead, s.latents), delta * level
