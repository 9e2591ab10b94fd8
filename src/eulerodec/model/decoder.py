"""The decoder: latents and band energies to STFT, by a transform path and a network path."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ..nn import (
    STFT,
    Clock,
    ComplexConv1d,
    History,
    WidelyLinearConv1d,
    clip,
    compress,
    context,
    delay,
    expand,
    magnitude,
    scale_planar,
)
from .config import ModelConfig
from .energies import EnergyCoder, EnergyState
from .pitch import PitchMixer
from .trunk import LEVEL_LEFT, LayerState, Trunk, cat_planar, local_level, scale_channels

__all__ = ["Decoder", "DecoderState"]


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
    limit: History | None = None
    missing: History | None = None
    noise: History | None = None
    pitch: History | None = None
    energies: EnergyState | None = None


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
        self.pitch: PitchMixer | None = None
        if energies is not None and config.pitch_channels:
            self.pitch = PitchMixer(
                stft,
                config.sample_rate,
                energies.bin_bands,
                energies.spread,
                config.decoder_look_ahead > 0,
                config.pitch_channels,
                config.n_codebooks,
            )
        self.register_buffer("tilt", torch.ones(bins))
        self.register_buffer("latent_scale", torch.ones(config.latent_dim))
        self.right = min(1, config.decoder_look_ahead)
        # one more frame each way for the overlap-add and analysis of the transform path
        self.late = 1 + (self.pitch.right if self.pitch else 0)
        self.look_ahead = self.late + self.right + self.trunk.look_ahead
        left = 1 + LEVEL_LEFT + (self.pitch.left if self.pitch else 0)
        self.look_back = max(left, energies.look_back if energies else 0) + self.trunk.look_back

    def start(self, clock: Clock) -> DecoderState:
        """State for a stream."""
        energies = self._energies[0]
        return DecoderState(
            clock,
            self.trunk.start(clock, self.late + self.right),
            *(History() for _ in range(14)),
            energies=energies.start(clock, 0) if energies else None,
        )

    def pairs(self, z: Tensor) -> Tensor:
        """Planar latents ``[B, 2D, T]`` -> lapped coefficients ``[B, 2P, T]``, float32."""
        with torch.autocast(z.device.type, enabled=False):
            return expand(self.expand(z.float()), self.config.latent_exponent)

    def transform_path(
        self, z: Tensor, n_codebooks: Tensor, state: DecoderState | None = None
    ) -> tuple[Tensor, Tensor]:
        """The lapped transform codec's spectrum with periods of the pitch averaged, and without.

        Both planar ``[B, 2F, T]``, float32. Overlap-added and analysed again, so that the network
        sees the STFT of a real signal with the time-domain aliasing of single frames cancelled.
        """
        stft, s = self._stft[0], state or DecoderState()
        with torch.autocast(z.device.type, enabled=False):
            pairs = self.pairs(z)
            if self.pitch is None:
                plain = stft.reanalysis(self.transform(pairs), s.transform)
                return plain, plain
            wav = stft.complete(context(self.transform(pairs), 1, 1, s.transform))
            return self.pitch(wav, n_codebooks, s.pitch)

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
        spectrum, plain = self.transform_path(z, n_codebooks, state)
        spectrum = clip(spectrum, self.late, s.clock)
        base = compress(spectrum, self.config.feature_exponent)
        level = local_level(base, right, s.base_level)
        base = delay(base, right, s.base)
        z_level = delay(local_level(z, right, s.level), self.late, s.level_skip)
        latents = delay(z, self.late + right, s.latents) / z_level
        latents = scale_channels(latents, 1.0 / self.latent_scale)
        features = cat_planar(scale_channels(base / level, 1.0 / self.tilt), latents)
        gain = self.stage_gain(n_codebooks)[:, :, None]
        limit = None
        if self.repair is not None:
            assert bands is not None
            bands = delay(bands, self.late, s.bands)
            limit = delay(self.repair.limit(plain, bands), right + depth, s.limit)
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
        assert bands is not None and limit is not None
        noise = delay(torch.cat([latents, bands], 1), depth, s.noise)
        latents, bands = noise.split([latents.shape[1], bands.shape[1]], 1)
        corrected = corrected + self.repair.noise(latents, bands, moduli)
        corrected = self.repair(expand(corrected, self.config.feature_exponent), bands, moduli)
        return bounded(corrected, limit)


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

    def limit(self, plain: Tensor, bands: Tensor) -> Tensor:
        """The most power that frames may have, ``[B, 1, T]``: in each band that of the latents'
        own spectrum or what is coded as its energy, whichever is more.

        The network was trained on speech at the usual rates. Elsewhere its gains, exp(3) at most
        on a compressed modulus, may not fit what they are applied to, and 50 dB more than anybody
        coded come out: a sine sweep at 1 kbps showed it.
        """
        energies = self._energies[0]
        most = torch.pow(10.0, torch.maximum(bands, energies.measure(plain)))
        return torch.matmul(energies.spread.sum(0), most)[:, None]

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


def bounded(spectrum: Tensor, limit: Tensor) -> Tensor:
    """Planar ``[B, 2F, T]``, each frame no more powerful than ``limit [B, 1, T]``."""
    power = spectrum.square().sum(1, keepdim=True)
    return spectrum * (limit / power.clamp_min(1e-12)).clamp_max(1.0).sqrt()
