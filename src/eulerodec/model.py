"""The EuleroDec network: waveform -> codes -> waveform, complex between STFT and inverse STFT.

Encoder and decoder are each the sum of two paths.

* The *transform path* is a lapped transform codec: a widely linear map of one STFT frame (it
  starts as the MDCT, the critically sampled transform hidden in the STFT; the MDCT is real-linear
  but not complex-linear in the STFT, hence widely linear), magnitude compression of its complex
  pairs, and a unitary map onto the strongest components (Karhunen-Loeve).  Set from data before
  training, it codes at once, and it can be trained on.
* The *network path* sees the compressed STFT, mixes frames and bands through complex gated
  convolutions, 2x2-whitening and axial attention, and adds what a linear transform cannot know.  It
  starts at zero.

Some stages of codes hold the energies of frequency bands (:mod:`eulerodec.energies`); the decoder
brings its bands near to them, with its own spectrum where it has one and with noise where it has
none.

All inner tensors are planar (see :mod:`eulerodec.nn.planar`): [B, 2C, T], real parts first.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .energies import EnergyCoder, EnergyState
from .errors import ConfigError
from .nn import (
    STFT,
    AxialAttention,
    Clock,
    ComplexConv1d,
    ComplexRMSNorm,
    History,
    MagnitudeGLU,
    TimeAttention,
    WhiteningNorm,
    WidelyLinearConv1d,
    clip,
    compress,
    context,
    delay,
    expand,
    magnitude,
    scale_planar,
)
from .quantize import DEFAULT_BEAM, ResidualVQ

__all__ = [
    "Decoder",
    "DecoderState",
    "Encoder",
    "EncoderState",
    "EuleroDec",
    "ModelConfig",
    "ModelOutput",
]

_LEVEL_LEFT = 8  # frames of the past that set the local level


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that fixes the network's shape.  Stored as config.json beside the weights.

    Attributes:
        sample_rate: Hz.
        hop_length: samples per latent frame (frame_rate = sample_rate / hop_length).
        n_codebooks, codebook_size: residual stages, codes per stage.
        energy_stages: which of the stages, counted from 0, code band energies instead of latents.
        energy_channels: width of the network that foretells them.
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
        attention, whitening: switch the axial attention or the 2x2 whitening off (ablation;
            without whitening an RMS normalisation takes its place).
        activation: "magnitude" gates by modulus, "split" treats re and im apart (ablation).
    """

    sample_rate: int = 24000
    hop_length: int = 264
    n_codebooks: int = 12
    codebook_size: int = 2048
    energy_stages: tuple[int, ...] = (5, 11)
    energy_channels: int = 192
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
    attention: bool = True
    whitening: bool = True
    activation: str = "magnitude"

    def __post_init__(self) -> None:
        object.__setattr__(self, "attention_window", tuple(self.attention_window))
        stages = tuple(self.energy_stages)
        object.__setattr__(self, "energy_stages", stages)
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
        if self.activation not in ("magnitude", "split"):
            raise ConfigError(f'activation={self.activation!r}; allowed: "magnitude", "split"')

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
        """Raises ConfigError for an unknown key, naming the nearest one."""
        names = [f.name for f in dataclasses.fields(cls)]
        for key in values:
            if key not in names:
                near = difflib.get_close_matches(key, names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ConfigError(f"unknown model setting {key!r}{hint}")
        return cls(**values)

    @classmethod
    def tiny(cls) -> ModelConfig:
        """A very small network with the full rates and codebook sizes, for tests."""
        return cls(
            latent_dim=8,
            energy_channels=16,
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


@dataclass
class ModelOutput:
    """Training forward: ``audio [B, 1, N]``, planar ``spec [B, 2F, T]``, ``codes [B, K, T]`` (None
    if not quantised), scalar ``commitment_loss``, scalar ``shift_loss`` (power of what the network
    path adds to the latents, relative to the power of the quantisation error), and numbers for the
    log."""

    audio: Tensor
    spec: Tensor
    codes: Tensor | None
    commitment_loss: Tensor
    shift_loss: Tensor
    stats: dict[str, float]


def cat_planar(*parts: Tensor) -> Tensor:
    """Concatenates planar tensors along the complex channels."""
    return torch.cat([p.unflatten(1, (2, -1)) for p in parts], 2).flatten(1, 2)


def scale_channels(x: Tensor, gain: Tensor) -> Tensor:
    """Planar ``[B, 2C, T]`` times a real gain per channel, ``[C]`` or ``[B, C]``."""
    return x * gain.repeat(*([1] * (gain.ndim - 1)), 2).unsqueeze(-1)


@dataclass
class LayerState:
    """A residual layer in a stream: what it needs of the past.  ``late``: frames, of its result."""

    clock: Clock
    late: int
    inner: History = field(default_factory=History)
    skip: History = field(default_factory=History)


@dataclass
class EncoderState:
    """The encoder in a stream; its parts are None for a whole recording."""

    clock: Clock | None = None
    trunk: list[LayerState] | None = None
    features: History | None = None
    features_level: History | None = None
    latents: History | None = None
    level: History | None = None
    level_skip: History | None = None


@dataclass
class DecoderState:
    """The decoder in a stream; its parts are None for a whole recording."""

    clock: Clock | None = None
    trunk: list[LayerState] | None = None
    transform: History | None = None
    base: History | None = None
    base_level: History | None = None
    base_skip: History | None = None
    base_level_skip: History | None = None
    latents: History | None = None
    level: History | None = None
    level_skip: History | None = None
    bands: History | None = None
    bands_skip: History | None = None
    missing: History | None = None
    noise: History | None = None
    energies: EnergyState | None = None


@dataclass
class Latents:
    """What codes stand for, before the decoder network.

    Attributes:
        z: sum of the latent stages, planar ``[B, 2D, T]``.
        before: for each energy stage that is there, the sum of those before it (z if none is).
        vectors: for each energy stage that is there, its code vectors ``[B, bands, T]``.
    """

    z: Tensor
    before: list[Tensor]
    vectors: list[Tensor]


def local_level(x: Tensor, right: int, past: History | None = None) -> Tensor:
    """Root mean square modulus over channels and nearby frames, ``[B, 1, T]``.

    The network works on levels relative to this, so it treats a whisper as it treats a shout.
    """
    power = 2.0 * x.float().square().mean(1, keepdim=True)
    power = context(power, _LEVEL_LEFT, right, past)
    return (F.avg_pool1d(power, _LEVEL_LEFT + right + 1, 1) + 1e-10).sqrt()


class Residual(nn.Module):
    """A layer of the trunk: ``x + branch(x)``, late by ``right`` frames in a stream."""

    right = 0

    def branch(self, x: Tensor, past: History | None) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor, state: LayerState | None = None) -> Tensor:
        if state is None:
            return x + self.branch(x, None)
        y = delay(x, self.right, state.skip) + self.branch(x, state.inner)
        return clip(y, state.late, state.clock)


class GatedBlock(Residual):
    """Residual block: norm, complex convolution over time to (value, gate), modulus gate, mix."""

    def __init__(self, config: ModelConfig, channels: int, look_ahead: bool) -> None:
        super().__init__()
        reach = config.kernel_size - 1
        self.right = reach // 2 if look_ahead else 0
        self.left = reach - self.right
        self.norm = _norm(config, channels)
        self.conv = ComplexConv1d(channels, 2 * channels, config.kernel_size, bias=False)
        self.gate = MagnitudeGLU(channels)
        self.split = config.activation == "split"
        self.mix = ComplexConv1d(channels, channels, 1, bias=False)
        with torch.no_grad():
            self.mix.weight.mul_(0.1)

    def branch(self, x: Tensor, past: History | None) -> Tensor:
        h = self.conv(context(self.norm(x), self.left, self.right, past))
        value, gate = h.unflatten(1, (2, 2, -1)).unbind(2)
        if self.split:  # ablation: re and im gate themselves, apart
            gated = value.flatten(1, 2) * torch.sigmoid(gate.flatten(1, 2))
        else:
            gated = self.gate(value.flatten(1, 2), gate.flatten(1, 2))
        return self.mix(gated)


class FrequencyAttention(Residual):
    """Residual axial attention between the ``bands`` groups of channels of each frame."""

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        self.bands = config.bands
        self.norm = _norm(config, channels)
        width = channels // config.bands
        self.attention = AxialAttention(width, config.frequency_heads, "frequency", zero_init=True)

    def branch(self, x: Tensor, past: History | None) -> Tensor:
        grid = self.norm(x).unflatten(1, (2, self.bands, -1)).transpose(2, 3).flatten(1, 2)
        y = self.attention(grid).unflatten(1, (2, -1)).transpose(2, 3)
        return y.flatten(1, 3)


class WindowedAttention(Residual):
    """Residual attention over a fixed window of frames."""

    def __init__(self, config: ModelConfig, channels: int, right: int) -> None:
        super().__init__()
        self.right = right
        self.norm = _norm(config, channels)
        window = (config.attention_window[0], right)
        self.attention = TimeAttention(channels, config.time_heads, window, zero_init=True)

    def branch(self, x: Tensor, past: History | None) -> Tensor:
        return self.attention.attend(self.norm(x), past)


def _norm(config: ModelConfig, channels: int) -> nn.Module:
    # The trunk's input has unit level over some frames; the floor of the same size keeps the
    # *relative* level of neighbouring frames visible, which normalising each to one would erase.
    if config.whitening:
        return WhiteningNorm(channels, floor=0.5)
    return ComplexRMSNorm(channels, floor=0.5)


class Trunk(nn.Module):
    """Planar features of unit local level ``[B, 2*in, T]`` -> trunk state ``[B, 2C, T]``."""

    def __init__(
        self, config: ModelConfig, in_channels: int, channels: int, blocks: int, look_ahead: int
    ) -> None:
        super().__init__()
        self.in_proj = ComplexConv1d(in_channels, channels, 1, bias=False)
        layers: list[nn.Module] = []
        if config.attention:
            layers.append(FrequencyAttention(config, channels))
        right = min(config.attention_window[1], look_ahead)
        # future context early, so that every later block profits from it
        for k in range(blocks):
            if config.attention and k == blocks // 2:
                layers.append(WindowedAttention(config, channels, right))
            layers.append(GatedBlock(config, channels, k < look_ahead))
        self.layers = nn.ModuleList(layers)
        per_block = (config.kernel_size - 1) // 2
        attention = (config.attention_window[0], right) if config.attention else (0, 0)
        self.look_ahead = per_block * min(look_ahead, blocks) + attention[1]
        self.look_back = (
            per_block * min(look_ahead, blocks)
            + 2 * per_block * max(blocks - look_ahead, 0)
            + attention[0]
        )

    @property
    def _residuals(self) -> list[Residual]:
        return cast(list[Residual], list(self.layers))

    def start(self, clock: Clock, late: int) -> list[LayerState]:
        """States for a stream; ``late``: frames, of the input."""
        states = []
        for layer in self._residuals:
            late += layer.right
            states.append(LayerState(clock, late))
        return states

    def forward(
        self, x: Tensor, gain: Tensor | None = None, states: list[LayerState] | None = None
    ) -> Tensor:
        x = self.in_proj(x)
        if gain is not None:
            x = scale_planar(x, (1.0 + gain).to(x.dtype))
        for k, layer in enumerate(self._residuals):
            x = layer(x, states[k] if states else None)
        return x


class Encoder(nn.Module):
    """Planar STFT ``[B, 2F, T]`` -> planar latents ``[B, 2D, T]``."""

    tilt: Tensor
    latent_scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        bins, pairs = config.n_fft // 2 + 1, config.hop_length // 2
        self.transform = WidelyLinearConv1d(bins, pairs, 1, bias=False)
        self.select = WidelyLinearConv1d(pairs, config.latent_dim, 1, bias=False)
        self.trunk = Trunk(
            config, bins, config.encoder_channels, config.encoder_blocks, config.encoder_look_ahead
        )
        self.out_proj = ComplexConv1d(config.encoder_channels, config.latent_dim, 1, bias=False)
        nn.init.zeros_(self.out_proj.weight)
        # typical modulus per bin and per latent, relative to the frame's level
        self.register_buffer("tilt", torch.ones(bins))
        self.register_buffer("latent_scale", torch.ones(config.latent_dim))
        self.right = min(1, config.encoder_look_ahead)
        self.look_ahead = max(self.right, self.trunk.look_ahead + self.right)
        self.look_back = _LEVEL_LEFT + self.trunk.look_back

    def transform_path(self, spec: Tensor) -> Tensor:
        """The lapped transform codec's latents, planar ``[B, 2D, T]``, float32."""
        with torch.autocast(spec.device.type, enabled=False):
            pairs = compress(self.transform(spec.float()), self.config.latent_exponent)
            return self.select(pairs)

    def start(self, clock: Clock) -> EncoderState:
        """State for a stream."""
        return EncoderState(clock, self.trunk.start(clock, self.right), *_histories(5))

    def forward(self, spec: Tensor, state: EncoderState | None = None) -> Tensor:
        """With ``state``: the next block of a stream, late by ``look_ahead`` frames."""
        z, shift = self.paths(spec, state)
        return z + shift

    def paths(self, spec: Tensor, state: EncoderState | None = None) -> tuple[Tensor, Tensor]:
        """The latents of the transform path, and what the network path adds to them."""
        s, right = state or EncoderState(), self.right
        z = self.transform_path(spec)
        features = compress(spec, self.config.feature_exponent)
        level = local_level(features, right, s.features_level)
        features = delay(features, right, s.features)
        h = self.trunk(scale_channels(features / level, 1.0 / self.tilt), states=s.trunk)
        delta = scale_channels(self.out_proj(h).float(), self.latent_scale)
        level = delay(local_level(z, right, s.level), self.trunk.look_ahead, s.level_skip)
        return delay(z, self.look_ahead, s.latents), delta * level


class Decoder(nn.Module):
    """Planar latents ``[B, 2D, T]`` -> planar STFT ``[B, 2F, T]``."""

    tilt: Tensor
    latent_scale: Tensor

    def __init__(self, config: ModelConfig, stft: STFT, energies: EnergyCoder | None) -> None:
        super().__init__()
        self.config = config
        self._stft = [stft]  # shared with the model, not a child of this module
        self._energies = [energies]
        bins, pairs = config.n_fft // 2 + 1, config.hop_length // 2
        width = config.decoder_channels
        self.expand = WidelyLinearConv1d(config.latent_dim, pairs, 1, bias=False)
        self.transform = WidelyLinearConv1d(pairs, bins, 1, bias=False)
        self.trunk = Trunk(
            config, bins + config.latent_dim, width, config.decoder_blocks,
            config.decoder_look_ahead,
        )  # fmt: skip
        # real gain per trunk channel for each number of stages: U(1)-equivariant conditioning
        self.stage_gain = nn.Embedding(config.n_codebooks + 1, width)
        nn.init.zeros_(self.stage_gain.weight)
        self.out_proj = ComplexConv1d(width, bins, 1, bias=False)
        nn.init.zeros_(self.out_proj.weight)
        self.gain_proj = nn.Conv1d(width, bins, 1)
        nn.init.zeros_(self.gain_proj.weight)
        nn.init.zeros_(cast(Tensor, self.gain_proj.bias))
        self.repair: EnergyRepair | None = None
        if energies is not None:
            self.repair = EnergyRepair(config, energies, width, bins)
        self.register_buffer("tilt", torch.ones(bins))
        self.register_buffer("latent_scale", torch.ones(config.latent_dim))
        self.right = min(1, config.decoder_look_ahead)
        # one more frame each way for the overlap-add and analysis of the transform path
        self.look_ahead = 1 + self.right + self.trunk.look_ahead
        left = 1 + _LEVEL_LEFT
        self.look_back = max(left, energies.look_back if energies else 0) + self.trunk.look_back

    def start(self, clock: Clock) -> DecoderState:
        """State for a stream."""
        energies = self._energies[0]
        return DecoderState(
            clock,
            self.trunk.start(clock, 1 + self.right),
            *_histories(12),
            energies=energies.start(clock, 0) if energies else None,
        )

    def transform_path(self, z: Tensor, past: History | None = None) -> Tensor:
        """The lapped transform codec's spectrum, planar ``[B, 2F, T]``, float32.

        Overlap-added and analysed again, so that the network sees the STFT of a real signal with
        the time-domain aliasing of single frames cancelled.
        """
        stft = self._stft[0]
        with torch.autocast(z.device.type, enabled=False):
            pairs = expand(self.expand(z.float()), self.config.latent_exponent)
            return stft.reanalysis(self.transform(pairs), past)

    def forward(
        self,
        z: Tensor,
        bands: Tensor | None,
        n_codebooks: Tensor,
        state: DecoderState | None = None,
    ) -> Tensor:
        """The spectrum that is heard.

        With ``state``: the next block of a stream, late by ``look_ahead`` frames.

        Args:
            z: latents.
            bands: log10 energies ``[B, bands, T]``; None without energy stages.
            n_codebooks: int ``[B]``, stages of codes (0: not quantised).
        """
        if z.shape[-1] == 0:
            return z.new_zeros(z.shape[0], 2 * self._stft[0].n_bins, 0)
        s, right, depth = state or DecoderState(), self.right, self.trunk.look_ahead
        z = clip(z, 0, s.clock)  # a block may be filled up beyond the end
        spectrum = clip(self.transform_path(z, s.transform), 1, s.clock)
        base = compress(spectrum, self.config.feature_exponent)
        level = local_level(base, right, s.base_level)
        base = delay(base, right, s.base)
        z_level = delay(local_level(z, right, s.level), 1, s.level_skip)
        latents = delay(z, 1 + right, s.latents) / z_level
        latents = scale_channels(latents, 1.0 / self.latent_scale)
        features = cat_planar(scale_channels(base / level, 1.0 / self.tilt), latents)
        gain = self.stage_gain(n_codebooks)[:, :, None]
        if self.repair is not None:
            assert bands is not None
            bands = delay(bands, 1, s.bands)
            missing = delay(self.repair.missing(spectrum, bands), right, s.missing)
            bands = delay(bands, right, s.bands_skip)
            gain = gain + self.repair.condition(missing, bands, level)
        h = self.trunk(features, gain, s.trunk)
        base = delay(base, depth, s.base_skip)
        level = delay(level, depth, s.base_level_skip)
        residual = scale_channels(self.out_proj(h).float(), self.tilt) * level
        # modulus gate on the output: restores (or lowers) energy without touching the phase
        moduli = magnitude(h).to(h.dtype)
        gain = torch.exp(self.gain_proj(moduli).float().clamp(-3.0, 3.0))
        corrected = scale_planar(base, gain) + residual
        if self.repair is None:
            return expand(corrected, self.config.feature_exponent)
        assert bands is not None
        noise = delay(torch.cat([latents, bands], 1), depth, s.noise)
        latents, bands = noise.split([latents.shape[1], bands.shape[1]], 1)
        corrected = corrected + self.repair.noise(latents, bands, moduli)
        return self.repair(expand(corrected, self.config.feature_exponent), bands, moduli)


class EnergyRepair(nn.Module):
    """What the decoder does with the band energies; every gain is real, so phases turn along."""

    carrier: Tensor

    def __init__(self, config: ModelConfig, energies: EnergyCoder, width: int, bins: int) -> None:
        super().__init__()
        self._energies = [energies]
        self._exponent = config.feature_exponent
        n = energies.n_bands
        self.condition_proj = nn.Conv1d(2 * n, width, 1)
        nn.init.zeros_(self.condition_proj.weight)
        nn.init.zeros_(cast(Tensor, self.condition_proj.bias))
        self.noise_proj = nn.Conv1d(width, bins, 1)
        self.trust_proj = nn.Conv1d(width, 2 * n, 1)
        zero = torch.zeros(n)
        high = torch.linspace(0.0, config.sample_rate / 2, bins) > 6500.0
        for layer, bias in (
            (self.noise_proj, torch.where(high, -0.7, -3.0)),
            (self.trust_proj, torch.cat([3.0 * energies.to_bands(high.float()) - 0.5, zero])),
        ):
            nn.init.zeros_(layer.weight)
            with torch.no_grad():
                cast(Tensor, layer.bias).copy_(bias)
        # a fixed random mix of the latents: noise that needs no generator
        self.register_buffer("carrier", torch.randn(bins, config.latent_dim, 2))

    def missing(self, spectrum: Tensor, bands: Tensor) -> Tensor:
        """Energies against those of a spectrum, log10 of the ratio within +-30 dB."""
        return (bands - self._energies[0].measure(spectrum)).clamp(-3.0, 3.0)

    def condition(self, missing: Tensor, bands: Tensor, level: Tensor) -> Tensor:
        """Gains ``[B, width, T]`` for the trunk's input, relative to 1."""
        relative = bands - level.log10() * (2.0 / self._exponent)
        return self.condition_proj(torch.cat([missing, relative.clamp(-4.0, 4.0)], 1))

    def noise(self, latents: Tensor, bands: Tensor, moduli: Tensor) -> Tensor:
        """Compressed noise, planar ``[B, 2F, T]``, of the bands' energies times learnt gains."""
        re, im = self.carrier.unbind(-1)
        weight = torch.cat([torch.cat([re, -im], 1), torch.cat([im, re], 1)])
        with torch.autocast(latents.device.type, enabled=False):
            mix = torch.matmul(weight, compress(latents.float(), 0.3))
            unit = scale_planar(mix, 1.0 / magnitude(mix, eps=1e-6))
        log_gain = self.noise_proj(moduli).float().clamp(-8.0, 1.5)
        log_level = self._energies[0].to_bins(bands) * (0.5 * self._exponent * math.log(10.0))
        return scale_planar(unit, torch.exp(log_gain + log_level))

    def forward(self, spectrum: Tensor, bands: Tensor, moduli: Tensor) -> Tensor:
        """A spectrum brought near to the energies, as far as they are trusted in each band.

        The frames overlap, and what does not fit together in them is lost when they are added
        (of noise up to half): ``extra`` can make up for it.
        """
        trust, extra = self.trust_proj(moduli).float().chunk(2, 1)
        log_gain = torch.sigmoid(trust) * self.missing(spectrum, bands) + extra
        log_gain = log_gain.clamp(-2.0, 2.0)
        return scale_planar(spectrum, torch.pow(10.0, 0.5 * self._energies[0].to_bins(log_gain)))


def _histories(count: int) -> list[History]:
    return [History() for _ in range(count)]


class EuleroDec(nn.Module):
    """The codec network.  ``encode`` and ``decode`` are the product, ``forward`` trains it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.stft = STFT(config.n_fft, config.hop_length)
        self.encoder = Encoder(config)
        latent_stages = config.n_codebooks - len(config.energy_stages)
        self.quantizer = ResidualVQ(config.latent_dim, latent_stages, config.codebook_size)
        self.energies: EnergyCoder | None = None
        if config.energy_stages:
            self.energies = EnergyCoder(
                config.sample_rate,
                self.stft.n_bins,
                config.hop_length // 2,
                config.latent_dim,
                len(config.energy_stages),
                config.codebook_size,
                config.energy_channels,
            )
        self.decoder = Decoder(config, self.stft, self.energies)
        set_lapped_transform(self)

    # ---- facts --------------------------------------------------------------------------------

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    @property
    def hop_length(self) -> int:
        return self.config.hop_length

    @property
    def frame_rate(self) -> float:
        return self.config.frame_rate

    @property
    def n_codebooks(self) -> int:
        return self.config.n_codebooks

    @property
    def codebook_size(self) -> int:
        return self.config.codebook_size

    @property
    def look_ahead(self) -> int:
        """Samples after its own that an output sample can depend on, at most."""
        # sample n of block b = n // hop needs spectrum frames to b + 1, these latents to
        # b + 1 + decoder, these STFT frames to + encoder, and frame t ends with block t
        frames = 1 + self.decoder.look_ahead + self.encoder.look_ahead
        return (frames + 1) * self.hop_length - 1

    @property
    def receptive_field(self) -> int:
        """Samples of input that an output sample can depend on, at most."""
        back = 1 + self.decoder.look_back + self.encoder.look_back
        return self.look_ahead + (back + 1) * self.hop_length

    @property
    def latency_s(self) -> float:
        """Algorithmic latency in seconds: look-ahead including the framing."""
        return (self.look_ahead + 1) / self.sample_rate

    @property
    def look_ahead_ms(self) -> float:
        return 1000 * self.look_ahead / self.sample_rate

    @property
    def receptive_field_ms(self) -> float:
        return 1000 * self.receptive_field / self.sample_rate

    @property
    def latency_ms(self) -> float:
        return 1000 * self.latency_s

    def n_frames(self, n_samples: int) -> int:
        """Latent frames for that many samples: ceil(N / hop_length) + 1, 0 for 0."""
        return self.stft.n_frames(n_samples)

    # ---- coding -------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(
        self, wav: Tensor, n_codebooks: int | None = None, beam: int = DEFAULT_BEAM
    ) -> Tensor:
        """Waveform ``[B, 1, N]`` at sample_rate -> codes int64 ``[B, K, T]``, T = n_frames(N).

        Args:
            n_codebooks: stages K (each 11 bit per frame); all by default.
            beam: paths of the residual search; more is slower and a little better.
        """
        spec = self.stft.analysis(wav[:, 0])
        if spec.shape[-1] == 0:
            z = spec.new_zeros(len(spec), 2 * self.config.latent_dim, 0)
        else:
            z = self.encoder(spec)
        return self.search(z, self.measure(spec), n_codebooks, beam)

    @torch.no_grad()
    def decode(self, codes: Tensor, n_samples: int) -> Tensor:
        """Codes int64 ``[B, K, T]`` (K from 1 to n_codebooks) -> waveform ``[B, 1, n_samples]``."""
        # a stream that was cut has no last, half empty frame
        short = max(0, self.n_frames(n_samples) - codes.shape[-1])
        latents = self.look_up(F.pad(codes, (0, short), value=-1))
        stages = torch.full((len(codes),), codes.shape[1], device=codes.device)
        spec = self.decoder(latents.z, self.band_energies(latents), stages)
        return self.stft.synthesis(spec, n_samples)[:, None]

    def measure(self, spec: Tensor) -> Tensor | None:
        """Log energies ``[B, bands, T]`` of a planar STFT; None without energy stages."""
        return None if self.energies is None else self.energies.measure(spec)

    def latent_stages(self, n_codebooks: int) -> int:
        """How many of the first ``n_codebooks`` stages code latents."""
        return n_codebooks - sum(k < n_codebooks for k in self.config.energy_stages)

    def _check_stages(self, stages: int) -> None:
        if not 1 <= stages <= self.n_codebooks:
            raise ValueError(
                f"n_codebooks={stages} but this model has {self.n_codebooks}; "
                f"allowed: 1..{self.n_codebooks}"
            )

    @torch.no_grad()
    def search(
        self,
        z: Tensor,
        target: Tensor | None,
        n_codebooks: int | None = None,
        beam: int = DEFAULT_BEAM,
        norms: Tensor | None = None,
        state: EnergyState | None = None,
    ) -> Tensor:
        """Latents ``[B, 2D, T]`` and measured energies ``[B, bands, T]`` -> codes ``[B, K, T]``.

        Args:
            n_codebooks, beam: as for :meth:`encode`.
            norms: the quantiser's, if they are at hand.
            state: of the energies, for the next block of a stream.
        """
        stages = self.n_codebooks if n_codebooks is None else n_codebooks
        self._check_stages(stages)
        latent = self.quantizer.encode(z, self.latent_stages(stages), beam, norms)
        if self.energies is None or z.shape[-1] == 0:
            return F.pad(latent, (0, 0, 0, stages - latent.shape[1]))
        assert target is not None
        codes, known = latent, None
        for k, position in enumerate(self.config.energy_stages):
            if position >= stages:
                break
            before = self.quantizer.decode(latent[:, : position - k])
            foretold = self.energies.foretell(k, before, self.pairs(before), known, state)
            code, correction = self.energies.search(k, target, foretold, state)
            known = foretold + correction
            codes = torch.cat([codes[:, :position], code[:, None], codes[:, position:]], 1)
        return codes

    def pairs(self, z: Tensor) -> Tensor:
        """Planar latents ``[B, 2D, T]`` -> lapped coefficients ``[B, 2P, T]``, float32."""
        with torch.autocast(z.device.type, enabled=False):
            return expand(self.decoder.expand(z.float()), self.config.latent_exponent)

    def look_up(self, codes: Tensor) -> Latents:
        """Codes int64 ``[B, K, T]`` -> what they stand for; -1 (missing) adds nothing."""
        stages = codes.shape[1]
        self._check_stages(stages)
        there = [k for k in self.config.energy_stages if k < stages]
        latent = codes[:, [k for k in range(stages) if k not in there]] if there else codes
        z = self.quantizer.decode(latent)
        before = [self.quantizer.decode(latent[:, : p - k]) for k, p in enumerate(there)]
        assert self.energies is not None or not there
        vectors = [self.energies.vectors(k, codes[:, p]) for k, p in enumerate(there)]  # type: ignore[union-attr]
        return Latents(z, before or [z], vectors)

    def band_energies(self, latents: Latents, state: EnergyState | None = None) -> Tensor | None:
        """Log energies ``[B, bands, T]`` that the decoder works with; None without such stages.

        ``state``: for the next block of a stream.
        """
        if self.energies is None or latents.z.shape[-1] == 0:
            return None
        known: Tensor | None = None
        for k, before in enumerate(latents.before):
            known = self.energies.foretell(k, before, self.pairs(before), known, state)
            if k < len(latents.vectors):
                known = known + self.energies.carry(k, latents.vectors[k], state)
        return known

    def perplexity(self) -> Tensor:
        """exp(entropy) of each stage's code use in training, ``[n_codebooks]``."""
        use = list(self.quantizer.perplexity())
        if self.energies is not None:
            own = self.energies.perplexity()
            for k, position in enumerate(self.config.energy_stages):
                use.insert(position, own[k])
        return torch.stack(use)

    def code_vectors(self) -> Tensor:
        """What all codes stand for, ``[K, size, N]``, as vectors whose sum describes a frame.

        Latents first, then the corrections of each energy stage, at a tenth of the latents' power.
        """
        books = list(self.quantizer.codebooks)
        if self.energies is None:
            return torch.stack(books)
        power = self.quantizer.codebooks[0].square().sum(-1).mean()
        wide = len(self.energies.codebooks) * self.energies.n_bands
        books = [F.pad(book, (0, wide)) for book in books]
        for k, position in enumerate(self.config.energy_stages):
            book = self.energies.codebooks[k]
            book = book * (0.1 * power / book.square().sum(-1).mean()).sqrt()
            left = books[0].shape[1] - wide + k * self.energies.n_bands
            books.insert(position, F.pad(book, (left, books[0].shape[1] - left - book.shape[1])))
        return torch.stack(books).detach()

    # ---- training -----------------------------------------------------------------------------

    def forward(
        self, wav: Tensor, *, n_codebooks: Tensor | None = None, quantize: bool = True
    ) -> ModelOutput:
        """Waveform ``[B, 1, N]`` through the whole codec, with gradients.

        Args:
            n_codebooks: int ``[B]``, stages for each item; all by default.
            quantize: False passes the latents unquantised (an upper bound).
        """
        spec = self.stft.analysis(wav[:, 0])
        transformed, shift = self.encoder.paths(spec)
        z = transformed + shift
        bands = self.measure(spec)
        codes, stats = None, {}
        commitment = shift_loss = z.new_zeros(())
        if quantize:
            if n_codebooks is None:
                n_codebooks = torch.full((len(wav),), self.n_codebooks, device=wav.device)
            positions = torch.tensor(self.config.energy_stages, device=wav.device)
            latent_stages = n_codebooks - (n_codebooks[:, None] > positions).sum(1)
            out = self.quantizer(z, latent_stages)
            error = (out.quantized - z).detach().square().mean().clamp_min(1e-12)
            shift_loss = shift.square().mean() / error
            z, codes, commitment, stats = (
                out.quantized, out.codes, out.commitment_loss, out.stats,
            )  # fmt: skip
            if bands is not None:
                codes, bands = self._energy_codes(codes, bands, n_codebooks)
        else:
            n_codebooks = torch.zeros(len(wav), dtype=torch.int64, device=wav.device)
        spec = self.decoder(z, bands, n_codebooks)
        audio = self.stft.synthesis(spec, wav.shape[-1])[:, None]
        return ModelOutput(audio, spec, codes, commitment, shift_loss, stats)

    @torch.no_grad()
    def _energy_codes(
        self, latent: Tensor, target: Tensor, n_codebooks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All codes, and the energies that each item's decoder knows; as search() and after."""
        assert self.energies is not None
        codes, known, bands = latent, None, None
        for k, position in enumerate(self.config.energy_stages):
            before = self.quantizer.decode(latent[:, : position - k])
            foretold = self.energies.foretell(k, before, self.pairs(before), known)
            code, correction = self.energies.search(k, target, foretold)
            known = foretold + correction
            there = (n_codebooks > position)[:, None, None]
            bands = torch.where(there, known, foretold if bands is None else bands)
            code = torch.where(there[:, 0], code, -1)
            codes = torch.cat([codes[:, :position], code[:, None], codes[:, position:]], 1)
        assert bands is not None
        return codes, bands

    @torch.no_grad()
    def initialize(self, wavs: Tensor) -> None:
        """Sets the transform path and the codebooks from audio ``[n, 1, N]``, before training.

        Karhunen-Loeve basis of the compressed lapped transform, k-means codebooks on its latents,
        and the typical levels by which the network path's inputs and outputs are scaled.
        """
        config = self.config
        right = self.encoder.right
        specs = [self.stft.analysis(w[:, 0]) for w in wavs.split(16)]
        scatter = torch.zeros(config.hop_length, config.hop_length, dtype=torch.float64)
        for spec in specs:
            pairs = compress(self.encoder.transform(spec), config.latent_exponent)
            flat = pairs.transpose(1, 2).reshape(-1, pairs.shape[1]).double()
            scatter += (flat.t() @ flat).cpu()
        _, basis = torch.linalg.eigh(scatter)
        basis = basis.flip(-1)[:, : 2 * config.latent_dim]  # strongest first
        # components 2j and 2j + 1 become re and im of latent j
        basis = torch.cat([basis[:, 0::2], basis[:, 1::2]], 1).float()
        _set_planar_matrix(self.encoder.select, basis.t())
        _set_planar_matrix(self.decoder.expand, basis)

        z = torch.cat([self.encoder.transform_path(spec) for spec in specs])
        self.quantizer.fit(z)
        seen = (compress(spec, config.feature_exponent) for spec in specs)
        tilt = typical(x / local_level(x, right) for x in seen)
        scale = typical([z / local_level(z, right)])
        for module in (self.encoder, self.decoder):
            module.tilt.copy_(tilt)
            module.latent_scale.copy_(scale)
        self.fit_energies(wavs[:: max(1, len(wavs) // _ENERGY_CROPS)])

    @torch.no_grad()
    def fit_energies(self, wavs: Tensor, steps: int = 900) -> None:
        """Sets predictors and codebooks of the energy stages from audio ``[n, 1, N]``.

        The latents and their codebooks must be what they will be.
        """
        if self.energies is None:
            return
        latents, targets = [], []
        for wav in wavs.split(16):
            spec = self.stft.analysis(wav[:, 0])
            latents.append(self.quantizer.encode(self.encoder(spec)))
            targets.append(self.energies.measure(spec))
        target = torch.cat(targets)
        rest = target - torch.cat([_level(self.pairs(self.quantizer.decode(c))) for c in latents])
        self.energies.typical.copy_(rest.mean((0, 2)))
        known = None
        for k, position in enumerate(self.config.energy_stages):
            inputs = []
            for stages in [position - k, *([1, 3, 4] if k == 0 else [])]:
                z = torch.cat([self.quantizer.decode(c[:, :stages]) for c in latents])
                inputs.append((z, torch.cat([self.pairs(part) for part in z.split(64)]), known))
            known = self.energies.fit(k, inputs, target, steps)


def typical(parts: Iterable[Tensor]) -> Tensor:
    """Root mean square modulus of each channel of planar ``[B, 2C, T]``, bounded below."""
    powers = [2.0 * x.unflatten(1, (2, -1)).square().mean((0, 1, 3)) for x in parts]
    rms = torch.stack(powers).mean(0).sqrt()
    return rms.clamp_min(0.02 * float(rms.max()))


def _level(pairs: Tensor) -> Tensor:
    """log10 of the mean power of planar ``[B, 2C, T]``, ``[B, 1, T]``."""
    return (2.0 * pairs.square().mean(1, keepdim=True) + 1e-9).log10()


_ENERGY_CROPS = 2400  # 1 s each, of those that initialize() is given


def _set_planar_matrix(layer: WidelyLinearConv1d, matrix: Tensor) -> None:
    """Sets a 1x1 widely linear map from its real matrix ``[2*out, 2*in]`` over planar channels."""
    rr, ri, ir, ii = (
        q for half in matrix.chunk(2, 0) for q in half.chunk(2, 1)
    )  # [[rr, ri], [ir, ii]]
    a = torch.stack([rr + ii, ir - ri], -1) / 2
    b = torch.stack([rr - ii, ir + ri], -1) / 2
    with torch.no_grad():
        layer.weight.copy_(a[:, :, None])
        layer.weight_conj.copy_(b[:, :, None])


def set_lapped_transform(model: EuleroDec) -> None:
    """MDCT as a widely linear map of one STFT frame, and back; identity-like band selection.

    MDCT (Princen, Johnson & Bradley 1987): y_k = sqrt(2/h) sum_n w_n x_n cos(pi/h (n + 1/2 + h/2)
    (k + 1/2)) over a window of 2h samples.  y is linear in the windowed frame, which is linear in
    (re, im) of its STFT.  Coefficients 2j and 2j + 1 become re and im of pair j.
    """
    hop, stft = model.hop_length, model.stft
    bins = stft.n_bins
    n = torch.arange(2 * hop, dtype=torch.float64) + 0.5 + hop / 2
    k = torch.arange(hop, dtype=torch.float64) + 0.5
    mdct = math.sqrt(2.0 / hop) * torch.cos(math.pi / hop * torch.outer(k, n))  # [h, 2h]
    mdct = torch.cat([mdct[0::2], mdct[1::2]])
    unit = torch.eye(bins, dtype=torch.float64)
    # columns: the windowed frame for a unit real or imaginary part of each bin
    frame = torch.cat([
        torch.fft.irfft(unit.to(torch.complex128), n=2 * hop),
        torch.fft.irfft(1j * unit, n=2 * hop),
    ])  # fmt: skip
    forward = mdct @ frame.t()  # [h, 2 bins]
    back = torch.fft.rfft(mdct).t()  # [bins, h]
    _set_planar_matrix(model.encoder.transform, forward.float())
    _set_planar_matrix(model.decoder.transform, torch.cat([back.real, back.imag]).float())
    # until initialize(): the lowest pairs, as they are
    keep = torch.eye(2 * model.config.latent_dim, dtype=torch.float32)
    pairs, dim = hop // 2, model.config.latent_dim
    matrix = torch.zeros(2 * dim, hop)
    matrix[:dim, :dim] = keep[:dim, :dim]
    matrix[dim:, pairs : pairs + dim] = keep[dim:, dim:]
    _set_planar_matrix(model.encoder.select, matrix)
    _set_planar_matrix(model.decoder.expand, matrix.t())
