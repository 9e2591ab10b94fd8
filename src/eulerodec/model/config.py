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
_MAY_BE_ZERO = {
    "energy_stages", "energy_channels", "pitch_channels", "encoder_blocks", "decoder_blocks",
    "encoder_look_ahead", "decoder_look_ahead", "attention_window",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that fixes the network's shape. Stored as config.json beside the weights.

    Attributes:
        sample_rate: Hz.
        hop_length: samples per latent frame (frame_rate = sample_rate / hop_length).
        n_codebooks, codebook_size: residual stages, codes per stage.
        energy_stages: which of the stages, counted from 0, code band energies instead of latents.
        energy_channels: width of the network that predicts them.
        pitch_channels: width of the network that mixes periods of the pitch, 0: no mixing.
        latent_dim: complex dimensions D of a latent.
        latent_exponent: compression of the transform's complex pairs before quantisation.
        feature_exponent: compression of the STFT that the network path sees and corrects.
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
    energy_stages: tuple[int, ...] = (5, 11)
    energy_channels: int = 192
    pitch_channels: int = 64
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
        stages = tuple(self.energy_stages)
        object.__setattr__(self, "energy_stages", stages)
        for setting in dataclasses.fields(self):
            self._check_size(setting.name, getattr(self, setting.name))
        if list(stages) != sorted({k for k in stages if 0 < k < self.n_codebooks}):
            raise ConfigError(
                f"energy_stages={list(stages)}: they must rise, from 1 to {self.n_codebooks - 1}"
            )
        for name in ("encoder_channels", "decoder_channels"):
            step = math.lcm(self.bands * self.frequency_heads, self.time_heads)
            if getattr(self, name) % step:
                raise ConfigError(
                    f"{name}={getattr(self, name)} must be a multiple of {step} (of bands * "
                    "frequency_heads and of time_heads)"
                )
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size={self.kernel_size} must be odd")
        if self.hop_length % 2:
            raise ConfigError(f"hop_length={self.hop_length} must be even")
        if self.pitch_channels and not stages:
            raise ConfigError("pitch_channels needs energy_stages, whose bands it works in")

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
        """A very small network with the full rates and codebook sizes, for tests."""
        return cls(
            latent_dim=8,
            energy_channels=16,
            pitch_channels=16,
            encoder_channels=16,
            decoder_channels=16,
            encoder_blocks=2,
            decoder_blocks=2,
            encoder_look_ahead=1,
            decoder_look_ahead=1,
            attention_window=(4, 1),
            bands=4,
            time_heads=2,
        )
