"""The network's decoder with what planes tell it: stages and energy codes of every frame.

The network is the package's; what differs is around it. Latents are all lapped coefficients (no
basis is chosen), so the network sees their projection on its own basis; the gain of a frame's trunk
input follows the frame's number of stages, not the file's; energies come from the packet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eulerodec.model import EuleroDec, cat_planar, local_level, scale_channels
from eulerodec.nn import magnitude, power_compress, power_expand, scale_planar, to_planar

__all__ = ["PlanesDecoder"]


class PlanesDecoder(nn.Module):
    """Compressed lapped coefficients and energies to audio.

    Args:
        model: whose decoder and STFT are used, and trained on.
        n_stages: most stages of latents.
        n_energies: most energy codes of a block.
    """

    def __init__(self, model: EuleroDec, n_stages: int, n_energies: int) -> None:
        super().__init__()
        if model.decoder.repair is None or model.decoder.pitch is None:
            raise ValueError("the model must have energies and a pitch mixer")
        self.decoder, self.select, self.stft = model.decoder, model.encoder.select, model.stft
        table = model.decoder.stage_gain.weight.detach()
        self.stage_gain = nn.Embedding(n_stages + 1, table.shape[1])
        self.energy_gain = nn.Embedding(n_energies + 1, table.shape[1])
        with torch.no_grad():
            # k stages of latents were stage k + 1 of the file, with the energies
            known = torch.arange(1, n_stages + 2).clamp(1, len(table) - 1)
            self.stage_gain.weight.copy_(table[known])
            self.energy_gain.weight.zero_()

    def forward(self, z: Tensor, bands: Tensor, stages: Tensor, energies: Tensor) -> Tensor:
        """Spectrum, planar ``[B, 2F, T]``.

        Args:
            z: compressed lapped coefficients, planar ``[B, 2P, T]``.
            bands: log10 energies ``[B, N, T]``.
            stages: stages of latents in each frame, int ``[B, T]``.
            energies: energy codes known of each frame, int ``[B, T]``.
        """
        d = self.decoder
        assert d.repair is not None
        exponent = d.config.feature_exponent
        latents = self.select(z)
        pairs = power_expand(z, d.config.latent_exponent)
        wav = self.stft.complete(F.pad(d.transform(pairs), (1, 1)))
        spectrum = self._pitch(wav, stages)
        base = power_compress(spectrum, exponent)
        level = local_level(base, d.right)
        latents = scale_channels(latents / local_level(latents, d.right), 1.0 / d.latent_scale)
        features = cat_planar(scale_channels(base / level, 1.0 / d.tilt), latents)
        gain = (self.stage_gain(stages) + self.energy_gain(energies)).transpose(1, 2)
        gain = gain + d.repair.condition(d.repair.missing(spectrum, bands), bands, level)
        h = d.trunk(features, gain)
        moduli = magnitude(h).to(h.dtype)
        residual = scale_channels(d.out_proj(h).float(), d.tilt) * level
        modulus = torch.exp(d.gain_proj(moduli).float().clamp(-3.0, 3.0))
        corrected = scale_planar(base, modulus) + residual
        corrected = corrected + d.repair.noise(latents, bands, moduli)
        return d.repair(power_expand(corrected, exponent), bands, moduli)

    def _pitch(self, wav: Tensor, stages: Tensor) -> Tensor:
        """As :class:`eulerodec.model.pitch.PitchMixer`, with a number of stages for each frame."""
        mixer, stft = self.decoder.pitch, self.stft
        assert mixer is not None
        hop, size = stft.hop_length, stft.n_fft
        left, right = mixer.left * hop, mixer.right * hop
        segments = F.pad(wav, (left, right)).unfold(-1, left + size + right, hop)
        frames, periodic = [segments[..., left : left + size]], []
        with torch.no_grad():
            for copy, strength in mixer._copies(segments, left, size):
                frames.append(copy)
                periodic.append(strength)
        spectra = [to_planar(torch.fft.rfft(x * stft.window).transpose(1, 2)) for x in frames]
        parts = [x.unflatten(1, (2, -1)) for x in spectra]
        energy = [torch.matmul(mixer.bands.bin_means, x.square().sum(1)) + 1e-8 for x in parts]
        features = [(energy[0] / energy[0].mean(1, keepdim=True)).log10()]
        for x, e in zip(parts[1:], energy[1:], strict=True):
            cross = torch.matmul(mixer.bands.bin_means, (parts[0] * x).sum(1))
            features.append(cross * (energy[0] * e).rsqrt())
        features += [x[:, None] for x in periodic]
        features.append(((stages + 1) / mixer._most)[:, None].to(wav.dtype))
        gains = mixer.net(torch.cat(features, 1)).chunk(len(spectra), 1)
        gains = [torch.matmul(mixer.bands.spread, gain) for gain in gains]
        mixed = scale_planar(spectra[0], 1.0 + gains[0])
        for spectrum, gain in zip(spectra[1:], gains[1:], strict=True):
            mixed = mixed + scale_planar(spectrum, gain)
        return mixed
