"""What is set from audio before a jointly trained network is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from eulerodec.model import channel_rms, set_planar_matrix
from eulerodec.model.trunk import local_level
from eulerodec.nn import power_compress

from .network import JointModel

__all__ = ["initialize"]


@torch.no_grad()
def initialize(model: JointModel, wavs: Tensor) -> None:
    """Sets transform path, codebooks and levels from audio ``[n, 1, N]``.

    Karhunen-Loeve basis of the compressed lapped transform, k-means codebooks on its latents,
    and the levels by which the network path's inputs and outputs are scaled.
    """
    config, encoder, decoder = model.config, model.encoder, model.decoder
    right = encoder.right
    specs = [model.stft.analysis(w[:, 0]) for w in wavs.split(16)]
    scatter = torch.zeros(config.hop_length, config.hop_length, dtype=torch.float64)
    for spec in specs:
        mdct = power_compress(encoder.transform(spec), config.latent_exponent)
        flat = mdct.transpose(1, 2).reshape(-1, mdct.shape[1]).double()
        scatter += (flat.t() @ flat).cpu()
    _, basis = torch.linalg.eigh(scatter)
    basis = basis.flip(-1)[:, : 2 * config.latent_dim]  # strongest first
    # components 2j and 2j + 1 become re and im of latent j
    basis = torch.cat([basis[:, 0::2], basis[:, 1::2]], 1).float()
    set_planar_matrix(encoder.select, basis.t())
    set_planar_matrix(decoder.expand, basis)

    z = torch.cat([encoder.transform_path(spec) for spec in specs])
    model.quantizer.fit(z)
    seen = (power_compress(spec, config.feature_exponent) for spec in specs)
    tilt = channel_rms(x / local_level(x, right) for x in seen)
    scale = channel_rms([z / local_level(z, right)])
    for module in (encoder, decoder):
        module.tilt.copy_(tilt)
        module.latent_scale.copy_(scale)
