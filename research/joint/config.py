"""What fixes the shape of a jointly trained network."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Self

from eulerodec.errors import ConfigError
from eulerodec.settings import build

__all__ = ["JointConfig"]


@dataclass(frozen=True, kw_only=True)
class JointConfig:
    """Stored as config.json beside the weights.

    Attributes:
        sample_rate: Hz.
        hop_length: samples per latent frame.
        n_codebooks, codebook_size: residual stages, codes per stage.
        latent_dim: complex dimensions D of a latent.
        latent_exponent: compression of the transform's complex pairs before quantisation.
        feature_exponent: compression of the STFT that the networks see and correct.
        encoder_channels, decoder_channels: complex width of the trunks, multiples of ``bands``.
        encoder_blocks, decoder_blocks: gated convolution blocks in each trunk.
        kernel_size: frames seen by a block's convolution, odd.
        encoder_look_ahead, decoder_look_ahead: how many of the blocks see future frames (the
            others are causal); also bounds the attention's right window.
        attention_window: frames to the left and right that the time attention sees.
        bands: frequency groups of channels that the frequency attention compares.
        frequency_heads, time_heads: heads of the two attentions.
    """

    sample_rate: int = 24000
    hop_length: int = 264
    n_codebooks: int = 12
    codebook_size: int = 2048
    latent_dim: int = 64
    latent_exponent: float = 0.75
    feature_exponent: float = 0.5
    encoder_channels: int = 96
    decoder_channels: int = 160
    encoder_blocks: int = 4
    decoder_blocks: int = 8
    kernel_size: int = 3
    encoder_look_ahead: int = 2
    decoder_look_ahead: int = 6
    attention_window: tuple[int, int] = (24, 6)
    bands: int = 16
    frequency_heads: int = 2
    time_heads: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "attention_window", tuple(self.attention_window))
        step = math.lcm(self.bands * self.frequency_heads, self.time_heads)
        for name in ("encoder_channels", "decoder_channels"):
            if getattr(self, name) % step:
                raise ConfigError(f"{name}={getattr(self, name)} must be a multiple of {step}")
        if self.kernel_size % 2 == 0 or self.hop_length % 2:
            raise ConfigError("kernel_size must be odd and hop_length even")

    @property
    def n_fft(self) -> int:
        """STFT window in samples."""
        return 2 * self.hop_length

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """From a recipe's ``[model]`` or config.json.

        Raises:
            ConfigError: an unknown setting, a value of another type, or one that makes no network.
        """
        return build(cls, values)
