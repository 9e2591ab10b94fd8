"""Setting a network from audio before it is trained: its transform path, its levels, its codebooks.

:func:`initialize` does all of it; :func:`fit_energies` the energy stages alone, once the latents
and their codebooks are final.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..nn import power_compress
from ..quantize import cluster_means, nearest
from .energies import MAX_CORRECTION, RHO, EnergyCoder
from .network import EuleroDec
from .transform import channel_rms, set_planar_matrix
from .trunk import local_level

__all__ = ["code_vectors", "fit_energies", "fit_energy_stage", "initialize"]

# Fitting the energies: crops of those that initialize() is given, steps, lower numbers of stages
_ENERGY_CROPS, _ENERGY_STEPS, _LOWER_STAGES = 2400, 900, (1, 3, 4)


@torch.no_grad()
def initialize(model: EuleroDec, wavs: Tensor) -> None:
    """Sets the transform path and the codebooks from audio ``[n, 1, N]``, before training.

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
    fit_energies(model, wavs[:: max(1, len(wavs) // _ENERGY_CROPS)])


@torch.no_grad()
def fit_energies(model: EuleroDec, wavs: Tensor) -> None:
    """Sets predictors and codebooks of the energy stages from audio ``[n, 1, N]``.

    Call this after the latents and their codebooks are final.
    """
    energies, quantizer = model.energies, model.quantizer
    if energies is None:
        return
    codes, targets = [], []
    for wav in wavs.split(16):
        spec = model.stft.analysis(wav[:, 0])
        # One path: the shipped predictors were fitted so, three times as fast, on latents a little
        # worse than those of the search that they meet in use (DEFAULT_BEAM).
        codes.append(quantizer.encode(model.encoder(spec), beam=1))
        targets.append(model.bands.energies(spec))
    target = torch.cat(targets)

    def coded(stages: int) -> tuple[Tensor, Tensor]:
        z = [quantizer.decode(c[:, :stages]) for c in codes]
        return torch.cat(z), torch.cat([model.decoder.mdct(part) for part in z])

    level = _level(coded(quantizer.n_codebooks)[1])
    energies.typical.copy_((target - level).mean((0, 2)))
    known = None
    for k, position in enumerate(model.config.energy_stages):
        # the first also has to predict at lower rates
        lower = _LOWER_STAGES if k == 0 else ()
        inputs = [(*coded(n), known) for n in (position - k, *lower)]
        known = fit_energy_stage(energies, k, inputs, target, _ENERGY_STEPS)


@torch.no_grad()
def fit_energy_stage(
    energies: EnergyCoder,
    stage: int,
    inputs: Sequence[tuple[Tensor, Tensor, Tensor | None]],
    target: Tensor,
    steps: int,
) -> Tensor:
    """Predictor and codebook of a stage from examples; returns the energies it then gives.

    Args:
        inputs: alternatives (z, mdct, known) for the same n crops; the first is the one that
            is coded, a quarter of the training sees the others (fewer stages).
        target: measured energies ``[n, bands, T]``.
        steps: of training (AdamW, L1 loss on what a frame's error has that rho times the one
            before has not, rate falling linearly from 2e-3).
    """
    net = energies.predictors[stage]
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
    draw = torch.Generator().manual_seed(stage)
    with torch.enable_grad():
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * min(1.0, (step + 1) / 50) * (1.0 - step / steps)
            pick = torch.randint(len(target), (32,), generator=draw)
            other = step % 4 == 3 and len(inputs) > 1
            which = 1 + step // 4 % (len(inputs) - 1) if other else 0
            z, mdct, known = (None if x is None else x[pick] for x in inputs[which])
            assert z is not None and mdct is not None
            error = target[pick] - energies.predict(stage, z, mdct, known)
            # what the codes of the frames before cannot make good counts most
            new = error[..., 1:] - RHO * error[..., :-1]
            weight = energies.weight[:, None]
            loss = (new.abs().clamp_max(3.0) * weight).mean()
            loss = loss + 0.2 * (error.abs().clamp_max(3.0) * weight).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    z, mdct, known = inputs[0]
    rows = [slice(k, k + 128) for k in range(0, len(target), 128)]
    predicted = torch.cat([
        energies.predict(stage, z[r], mdct[r], None if known is None else known[r]) for r in rows
    ]).detach()  # fmt: skip
    _fit_codebook(energies, stage, target - predicted)
    codes, correction = energies.search(stage, target, predicted)
    energies.ema_count[stage] = torch.bincount(
        codes.flatten(), minlength=energies.codebooks.shape[1]
    ).clamp_min(0.1) / codes.numel() * energies.codebooks.shape[1]  # fmt: skip
    return predicted + correction


@torch.no_grad()
def _fit_codebook(energies: EnergyCoder, stage: int, rest: Tensor) -> None:
    """k-means, first without, then with the loop over the frames."""
    size, w = energies.codebooks.shape[1], energies.weight

    def vectors(x: Tensor) -> Tensor:
        return x.clamp(-MAX_CORRECTION, MAX_CORRECTION).transpose(1, 2).flatten(0, 1)

    x = vectors(rest - RHO * F.pad(rest, (1, 0))[..., :-1])
    spread = torch.linspace(0, len(x) - 1, size, device=x.device).long()
    jitter = torch.Generator().manual_seed(stage)
    noise = torch.randn(size, energies.n_bands, generator=jitter).to(x.device)
    book = x[spread] + 1e-6 * noise
    for turn in range(10):
        if turn >= 4:
            # what the search really meets: the rest after its own codes
            energies.codebooks[stage] = book
            index, correction = energies.search(stage, rest, torch.zeros_like(rest))
            feedback = correction - energies.vectors(stage, index)
            x = vectors(rest - feedback)
            index = index.flatten()
        else:
            index = torch.cat([nearest(part * w, book * w) for part in x.split(8192)])
        book, _ = cluster_means(x, index, size)
    energies.codebooks[stage] = book


def _level(mdct: Tensor) -> Tensor:
    """log10 of the mean power of planar ``[B, 2C, T]``, ``[B, 1, T]``."""
    return (2.0 * mdct.square().mean(1, keepdim=True) + 1e-9).log10()


def code_vectors(model: EuleroDec) -> Tensor:
    """What all codes stand for, as vectors ``[K, size, N]`` whose sum describes a frame.

    Latents first, then the corrections of each energy stage, at a tenth of the latents' power.
    """
    energies, books = model.energies, list(model.quantizer.codebooks)
    if energies is None:
        return torch.stack(books)
    power = books[0].square().sum(-1).mean()
    wide = len(energies.codebooks) * energies.n_bands
    books = [F.pad(book, (0, wide)) for book in books]
    for k, position in enumerate(model.config.energy_stages):
        book = energies.codebooks[k]
        book = book * (0.1 * power / book.square().sum(-1).mean()).sqrt()
        left = books[0].shape[1] - wide + k * energies.n_bands
        books.insert(position, F.pad(book, (left, books[0].shape[1] - left - book.shape[1])))
    return torch.stack(books).detach()
