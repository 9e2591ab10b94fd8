"""The decoder: latents and band energies to STFT, by a transform path and a network path."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from ..nn import (
    STFT,
    Clock,
    ComplexConv1d,
    History,
    StreamState,
    WidelyLinearConv1d,
    context,
    delay,
    magnitude,
    mask_frames,
    power_compress,
    power_expand,
    scale_planar,
)
from ..quantize import Coded
from .bands import Bands
from .config import ModelConfig
from .pitch import PitchMixer
from .trunk import LEVEL_LEFT, LayerState, Trunk, cat_planar, local_level, scale_channels

__all__ = ["Decoder", "DecoderState"]

# 2 dB: frames of independent phases lose 3 dB when they are added, those of a tone nothing
_OVERLAP_LOSS = 0.2
# 3 and 4 dB: less costs speech more than it brings to tones (docs/experiments.md)
_MAY_LOSE, _MAY_MISS = 0.3, 0.4


@dataclass
class DecoderState(StreamState):
    """The decoder in a stream. ``*_skip``: what waits for the layers beside it."""

    clock: Clock | None
    trunk: list[LayerState] | None
    transform: History | None = field(default_factory=History)
    pitch: History | None = field(default_factory=History)
    base: History | None = field(default_factory=History)
    base_skip: History | None = field(default_factory=History)
    level: History | None = field(default_factory=History)
    level_skip: History | None = field(default_factory=History)
    latents: History | None = field(default_factory=History)
    latent_level: History | None = field(default_factory=History)
    latent_level_skip: History | None = field(default_factory=History)
    bands: History | None = field(default_factory=History)
    bands_skip: History | None = field(default_factory=History)
    missing: History | None = field(default_factory=History)
    plain: History | None = field(default_factory=History)
    stages: History | None = field(default_factory=History)
    stage_gain: History | None = field(default_factory=History)
    noise: History | None = field(default_factory=History)


class Decoder(nn.Module):
    """Latents ``[B, 2P, T]``, band energies, and how well they are known -> STFT ``[B, 2F, T]``.

    Args:
        config: of the model.
        stft, bands: of the model, which shares them.
        n_stages: most stages of latents.
        n_energies: most energy codes of a block.
    """

    tilt: Tensor
    latent_scale: Tensor

    def __init__(
        self, config: ModelConfig, stft: STFT, bands: Bands, n_stages: int, n_energies: int
    ) -> None:
        super().__init__()
        self.config = config
        self.stft = stft
        bins, coefficients = config.n_fft // 2 + 1, config.hop_length // 2
        width = config.decoder_channels
        self.transform = WidelyLinearConv1d(coefficients, bins, 1, bias=False)
        self.select = WidelyLinearConv1d(coefficients, config.latent_dim, 1, bias=False)
        self.trunk = Trunk(
            config, bins + config.latent_dim, width, config.decoder_blocks,
            config.decoder_look_ahead,
        )  # fmt: skip
        # real gains per trunk channel, by what is known of a frame: U(1)-equivariant conditioning
        self.stage_gain = nn.Embedding(n_stages + 1, width)
        self.energy_gain = nn.Embedding(n_energies + 1, width)
        self.out_proj = ComplexConv1d(width, bins, 1, bias=False)
        self.gain_proj = nn.Conv1d(width, bins, 1)
        for layer in (self.stage_gain, self.energy_gain, self.out_proj, self.gain_proj):
            nn.init.zeros_(cast(Tensor, layer.weight))
        nn.init.zeros_(cast(Tensor, self.gain_proj.bias))
        self.repair = EnergyRepair(config, bands, width)
        self.pitch = PitchMixer(
            stft,
            bands,
            config.sample_rate,
            look_ahead=config.decoder_look_ahead > 0,
            channels=config.pitch_channels,
        )
        # root mean square per bin and per latent, relative to the frame's level
        self.register_buffer("tilt", torch.ones(bins))
        self.register_buffer("latent_scale", torch.ones(config.latent_dim))
        self.right = min(1, config.decoder_look_ahead)
        # one more frame each way for the overlap-add and analysis of the transform path
        self.transform_delay = 1 + self.pitch.right
        self.look_ahead = self.transform_delay + self.right + self.trunk.look_ahead
        self.look_back = 1 + LEVEL_LEFT + self.pitch.left + self.trunk.look_back

    def start(self, clock: Clock) -> DecoderState:
        """State for a stream."""
        delayed = self.transform_delay + self.right
        return DecoderState(clock, self.trunk.start(clock, delayed))

    def transform_path(
        self, z: Tensor, n_stages: Tensor, state: DecoderState | None = None
    ) -> tuple[Tensor, Tensor]:
        """The lapped transform codec's spectrum with periods of the pitch averaged, and without.

        Both planar ``[B, 2F, T]``, float32, delayed by ``transform_delay`` in a stream, as
        ``n_stages [B, T]`` is already. Overlap-added and analysed again, so that the network sees
        the STFT of a real signal with the time-domain aliasing of single frames cancelled.
        """
        s = state or DecoderState.whole()
        with torch.autocast(z.device.type, enabled=False):
            frames = self.transform(power_expand(z.float(), self.config.latent_exponent))
            wav = self.stft.complete(context(frames, 1, 1, s.transform))
            return self.pitch(wav, n_stages, s.pitch)

    def forward(self, coded: Coded, state: DecoderState | None = None) -> Tensor:
        """The spectrum that is heard, planar ``[B, 2F, T]``.

        In a stream it is delayed by ``look_ahead`` frames.

        Args:
            coded: of a whole recording, or of a stream's next block.
            state: for the next block of a stream; None for a whole recording.
        """
        z, bands = coded.z, coded.bands
        if z.shape[-1] == 0:
            return z.new_zeros(z.shape[0], 2 * self.stft.n_bins, 0)
        s, right, depth = state or DecoderState.whole(), self.right, self.trunk.look_ahead
        exponent = self.config.feature_exponent
        z = mask_frames(z, 0, s.clock)  # a block may be filled up beyond the end
        n_stages = delay(coded.n_stages.to(z), self.transform_delay, s.stages)
        spectrum, plain = self.transform_path(z, n_stages, s)
        spectrum = mask_frames(spectrum, self.transform_delay, s.clock)
        base = power_compress(spectrum, exponent)
        level = local_level(base, right, s.level)
        base = delay(base, right, s.base)
        with torch.autocast(z.device.type, enabled=False):
            latents = self.select(z.float())
        latent_level = local_level(latents, right, s.latent_level)
        latent_level = delay(latent_level, self.transform_delay, s.latent_level_skip)
        latents = delay(latents, self.transform_delay + right, s.latents) / latent_level
        latents = scale_channels(latents, 1.0 / self.latent_scale)
        features = cat_planar(scale_channels(base / level, 1.0 / self.tilt), latents)
        known = self.stage_gain(coded.n_stages) + self.energy_gain(coded.n_energies)
        gain = delay(known.transpose(1, 2), self.transform_delay + right, s.stage_gain)
        bands = delay(bands, self.transform_delay, s.bands)
        plain = delay(plain, right + depth, s.plain)
        missing = delay(self.repair.missing(spectrum, bands), right, s.missing)
        bands = delay(bands, right, s.bands_skip)
        gain = gain + self.repair.condition(missing, bands, level)
        h = self.trunk(features, gain, s.trunk)
        base = delay(base, depth, s.base_skip)
        level = delay(level, depth, s.level_skip)
        residual = scale_channels(self.out_proj(h).float(), self.tilt) * level
        # modulus gate on the output: restores (or lowers) energy without touching the phase
        moduli = magnitude(h).to(h.dtype)
        gain = torch.exp(self.gain_proj(moduli).float().clamp(-3.0, 3.0))
        corrected = scale_planar(base, gain) + residual
        noise = delay(torch.cat([latents, bands], 1), depth, s.noise)
        latents, bands = noise.split([latents.shape[1], bands.shape[1]], 1)
        corrected = corrected + self.repair.noise(latents, bands, moduli)
        repaired = self.repair(power_expand(corrected, exponent), bands, moduli)
        kept = self.repair.kept(repaired, plain, bands)
        return bounded(kept, self.repair.limit(plain, bands))


class EnergyRepair(nn.Module):
    """What the decoder does with the band energies; every gain is real, so phases turn along."""

    carrier: Tensor

    def __init__(self, config: ModelConfig, bands: Bands, width: int) -> None:
        super().__init__()
        self.bands = bands
        self._exponent = config.feature_exponent
        bins, n = config.n_fft // 2 + 1, bands.count
        self.condition_proj = nn.Conv1d(2 * n, width, 1)
        nn.init.zeros_(self.condition_proj.weight)
        nn.init.zeros_(cast(Tensor, self.condition_proj.bias))
        self.noise_proj = nn.Conv1d(width, bins, 1)
        self.trust_proj = nn.Conv1d(width, 2 * n, 1)
        zero = torch.zeros(n)
        high = torch.linspace(0.0, config.sample_rate / 2, bins) > 6500.0
        for layer, bias in (
            (self.noise_proj, torch.where(high, -0.7, -3.0)),
            (self.trust_proj, torch.cat([3.0 * bands.to_bands(high.float()) - 0.5, zero])),
        ):
            nn.init.zeros_(layer.weight)
            with torch.no_grad():
                cast(Tensor, layer.bias).copy_(bias)
        # a fixed random mix of the latents: noise that needs no generator
        self.register_buffer("carrier", torch.randn(bins, config.latent_dim, 2))

    def missing(self, spectrum: Tensor, bands: Tensor) -> Tensor:
        """Energies against those of a spectrum, log10 of the ratio within +-30 dB."""
        return (bands - self.bands.energies(spectrum)).clamp(-3.0, 3.0)

    def limit(self, plain: Tensor, bands: Tensor) -> Tensor:
        """The most power that frames may have, ``[B, 1, T]``.

        In each band that of the latents' own spectrum or what is coded as its energy, whichever is
        more. The network was trained on speech at the usual rates. Elsewhere its gains, up to
        exp(3) on a compressed modulus, may not fit what they are applied to: of a sine sweep at
        1 kbps they make 50 dB more than was coded, and the repair takes only 20 dB of it back.

        Args:
            plain: what the latents decode to, planar ``[B, 2F, T]``, periods not mixed.
            bands: log10 energies ``[B, bands, T]``.
        """
        return self.bands.total(torch.maximum(bands + _OVERLAP_LOSS, self.bands.energies(plain)))

    def kept(self, spectrum: Tensor, plain: Tensor, bands: Tensor) -> Tensor:
        """A spectrum that keeps what was coded, planar ``[B, 2F, T]``.

        Where the latents and the coded energies agree that a band is stronger than in ``spectrum``,
        by more than :data:`_MAY_LOSE`, it is led back to the latents; what is then still weaker
        than its energy by more than :data:`_MAY_MISS` is made louder. The network was trained on
        speech, and takes a high tone for noise.

        Args:
            spectrum: what the network made, planar ``[B, 2F, T]``.
            plain, bands: as for :meth:`limit`.
        """
        told = torch.minimum(bands, self.bands.energies(plain))
        lost = told - self.bands.energies(spectrum) - _MAY_LOSE
        share = self.bands.to_bins(1.0 - torch.pow(10.0, -lost.clamp_min(0.0)))
        spectrum = spectrum + scale_planar(plain - spectrum, share)
        weak = (bands - self.bands.energies(spectrum) - _MAY_MISS).clamp(0.0, 2.0)
        return scale_planar(spectrum, torch.pow(10.0, 0.5 * self.bands.to_bins(weak)))

    def condition(self, missing: Tensor, bands: Tensor, level: Tensor) -> Tensor:
        """Gains ``[B, width, T]`` for the trunk's input, relative to 1."""
        relative = bands - level.log10() * (2.0 / self._exponent)
        return self.condition_proj(torch.cat([missing, relative.clamp(-4.0, 4.0)], 1))

    def noise(self, latents: Tensor, bands: Tensor, moduli: Tensor) -> Tensor:
        """Compressed noise, planar ``[B, 2F, T]``, of the bands' energies times learnt gains."""
        re, im = self.carrier.unbind(-1)
        weight = torch.cat([torch.cat([re, -im], 1), torch.cat([im, re], 1)])
        with torch.autocast(latents.device.type, enabled=False):
            mix = torch.matmul(weight, power_compress(latents.float(), 0.3))
            unit = scale_planar(mix, 1.0 / magnitude(mix, eps=1e-6))
        log_gain = self.noise_proj(moduli).float().clamp(-8.0, 1.5)
        log_level = self.bands.to_bins(bands) * (0.5 * self._exponent * math.log(10.0))
        return scale_planar(unit, torch.exp(log_gain + log_level))

    def forward(self, spectrum: Tensor, bands: Tensor, moduli: Tensor) -> Tensor:
        """A spectrum brought near to the energies, as far as they are trusted in each band.

        The frames overlap, and what does not fit together in them is lost when they are added
        (of noise up to half): ``extra`` can make up for it.
        """
        trust, extra = self.trust_proj(moduli).float().chunk(2, 1)
        log_gain = torch.sigmoid(trust) * self.missing(spectrum, bands) + extra
        log_gain = log_gain.clamp(-2.0, 2.0)
        return scale_planar(spectrum, torch.pow(10.0, 0.5 * self.bands.to_bins(log_gain)))


def bounded(spectrum: Tensor, limit: Tensor) -> Tensor:
    """Planar ``[B, 2F, T]``, each frame no more powerful than ``limit [B, 1, T]``."""
    power = spectrum.square().sum(1, keepdim=True)
    return spectrum * (limit / power.clamp_min(1e-12)).clamp_max(1.0).sqrt()
