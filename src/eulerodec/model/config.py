"""What fixes the network's shape."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..settings import build

__all__ = ["ModelConfig"]

_MAX_NUMBER = 1 << 20  # of any setting
_MAX_BLOCKS = 1 << 10  # blocks are Python objects, whatever their size
_MAY_BE_ZERO = {"decoder_blocks", "decoder_look_ahead", "attention_window"}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that fixes the network's shape. Stored as config.json beside the weights.

    Attributes:
        sample_rate: Hz.
        hop_length: samples per latent frame (frame_rate = sample_rate / hop_length).
        latent_dim: strongest complex components D of the transform, which the decoder's network
            looks at.
        latent_exponent: compression of the transform's complex pairs before quantisation.
        feature_exponent: compression of the STFT that the network path sees and corrects.
        pitch_channels: width of the network that mixes periods of the pitch.
        decoder_channels: complex width of the trunk, a multiple of ``bands``.
        decoder_blocks: gated convolution blocks in the trunk.
        kernel_size: frames seen by a block's convolution, odd.
        decoder_look_ahead: how many of the blocks see future frames (the others are causal); also
            bounds the attention's right window.
        attention_window: frames to the left and right that the time attention sees.
        bands: frequency groups of channels that the frequency attention compares.
        frequency_heads, time_heads: heads of the two attentions.
    """

    sample_rate: int = 24000
    hop_length: int = 264
    latent_dim: int = 64
    latent_exponent: float = 0.75
    feature_exponent: float = 0.5
    pitch_channels: int = 64
    decoder_channels: int = 160
    decoder_blocks: int = 8
    kernel_size: int = 3
    decoder_look_ahead: int = 6
    attention_window: tuple[int, int] = (24, 6)
    bands: int = 16
    frequency_heads: int = 2
    time_heads: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "attention_window", tuple(self.attention_window))
        for setting in dataclasses.fields(self):
            self._check_size(setting.name, getattr(self, setting.name))
        step = math.lcm(self.bands * self.frequency_heads, self.time_heads)
        if self.decoder_channels % step:
            raise ConfigError(
                f"decoder_channels={self.decoder_channels} must be a multiple of {step} (of bands *"
                " frequency_heads and of time_heads)"
            )
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size={self.kernel_size} must be odd")
        if self.hop_length % 2:
            raise ConfigError(f"hop_length={self.hop_length} must be even")
        if self.latent_dim > self.hop_length // 2:
            raise ConfigError(
                f"latent_dim={self.latent_dim}: a frame has {self.hop_length // 2} components"
            )

    @staticmethod
    def _check_size(name: str, value: Any) -> None:
        """Refuse numbers that no network has; weights come from anywhere."""
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool | str):
                continue
            most = _MAX_BLOCKS if name.endswith("_blocks") else _MAX_NUMBER
            least = 0 if name in _MAY_BE_ZERO else 1
            if isinstance(number, float):
                if not 0 < number <= most:  # NaN is neither
                    raise ConfigError(f"{name}={value} must be above 0")
            elif not least <= number <= most:
                raise ConfigError(f"{name}={value!r:.40} must be from {least} to {most}")

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def n_fft(self) -> int:
        """STFT window in samples."""
        return 2 * self.hop_length

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """From a recipe's ``[model]`` or config.json.

        Raises:
            ConfigError: an unknown setting (the message has the nearest known one), a value of
                another type, or one that no network has.
        """
        return build(cls, values)

    @classmethod
    def tiny(cls) -> ModelConfig:
        """A very small network for tests."""
        return cls(
            latent_dim=8,
            pitch_channels=16,
            decoder_channels=16,
            decoder_blocks=2,
            decoder_look_ahead=1,
            attention_window=(4, 1),
            bands=4,
            time_heads=2,
        )
