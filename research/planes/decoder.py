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
from eulerodec.nn import magnitude, power_compress, power_expand, scale_planar

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
        assert d.repair is not None and d.pitch is not None
        exponent = d.config.feature_exponent
        latents = self.select(z)
        pairs = power_expand(z, d.config.latent_exponent)
        wav = self.stft.complete(F.pad(d.transform(pairs), (1, 1)))
        # what the mixer learnt as stages of a file, with one of energies
        spectrum, _ = d.pitch(wav, stages + 1)
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
