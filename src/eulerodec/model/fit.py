"""Setting a network from audio before it is trained: the components it looks at, its levels."""

from __future__ import annotations

import torch
from torch import Tensor

from ..nn import power_compress
from .network import EuleroDec
from .transform import channel_rms, set_planar_matrix
from .trunk import local_level

__all__ = ["initialize"]


@torch.no_grad()
def initialize(model: EuleroDec, wavs: Tensor) -> None:
    """Sets from audio ``[n, 1, N]`` what the decoder's network works relative to.

    The Karhunen-Loeve basis of the compressed lapped transform, whose strongest components the
    network sees, and the levels by which its inputs and outputs are scaled.
    """
    config, decoder = model.config, model.decoder
    specs = [model.stft.analysis(w[:, 0]) for w in wavs.split(16)]
    latents = [model.encoder(spec) for spec in specs]
    scatter = torch.zeros(config.hop_length, config.hop_length, dtype=torch.float64)
    for z in latents:
        flat = z.transpose(1, 2).reshape(-1, z.shape[1]).double()
        scatter += (flat.t() @ flat).cpu()
    _, basis = torch.linalg.eigh(scatter)
    basis = basis.flip(-1)[:, : 2 * config.latent_dim]  # strongest first
    # components 2j and 2j + 1 become re and im of latent j
    basis = torch.cat([basis[:, 0::2], basis[:, 1::2]], 1).float()
    set_planar_matrix(decoder.select, basis.t())
    seen = (power_compress(spec, config.feature_exponent) for spec in specs)
    decoder.tilt.copy_(channel_rms(x / local_level(x, decoder.right) for x in seen))
    chosen = (decoder.select(z) for z in latents)
    decoder.latent_scale.copy_(channel_rms(z / local_level(z, decoder.right) for z in chosen))
