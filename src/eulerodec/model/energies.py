"""Band energies: what a squared error gives away first, coded by stages of their own.

Residual quantisation of a waveform leaves weak bands out: with the code vector that is nearest,
little or nothing of them comes back, though the ear needs their energy far more than their phase.
So a few of the codec's stages do not code latents but the energies of the input in bands, of the
same frame:

1. A small causal network foretells them from what the latent stages before have coded.
2. What it missed carries over: r_t = E_t - foretold_t is foretold in turn by the codes of the
   frames before, sum over k = 1..M of rho^k c_(t-k).
3. The code c_t is the vector of the stage's codebook nearest to the rest.

The decoder does the same without 3.  All of it sees moduli alone.  Energies are log10 of power per
bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import Clock, History, band_centres, clip, context, triangles
from ..quantize import perplexity

__all__ = ["MAX_CORRECTION", "RHO", "EnergyCoder", "EnergyState"]

Array = NDArray[np.float32]

_LEVEL_LEFT = 8  # frames of the past that set the local level
_KERNEL, _LAYERS = 3, 3
_MEMORY = 12  # M, frames
RHO = 0.6
MAX_CORRECTION = 2.0  # what a code may correct, +-20 dB
_FLOOR = 1e-8  # power per bin below which nothing is heard (-104 dB of full scale)


@dataclass
class EnergyState:
    """The coder in a stream; see :class:`eulerodec.nn.Clock`.  A new one is a reset."""

    clock: Clock
    late: int
    level: list[History]
    z_level: list[History]
    layers: list[list[History]]
    codes: list[History]
    carried: list[Tensor | None]


class _Layer(nn.Module):
    """``x + mix(gelu(conv(rms norm(x))))`` over this frame and the ones before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, _KERNEL)
        self.mix = nn.Conv1d(channels, channels, 1)
        with torch.no_grad():
            self.mix.weight.mul_(0.3)

    def forward(self, x: Tensor, late: int, clock: Clock | None, past: History | None) -> Tensor:
        h = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4)
        h = context(clip(h, late, clock), _KERNEL - 1, 0, past)
        return x + self.mix(F.gelu(self.conv(h)))


class _Predictor(nn.Module):
    def __init__(self, inputs: int, bands: int, channels: int) -> None:
        super().__init__()
        self.in_proj = nn.Conv1d(inputs, channels, 1)
        self.layers = nn.ModuleList(_Layer(channels) for _ in range(_LAYERS))
        self.out_proj = nn.Conv1d(channels, bands, 1)
        nn.init.zeros_(self.out_proj.weight)

    def forward(
        self, x: Tensor, late: int, clock: Clock | None, pasts: list[History] | None
    ) -> Tensor:
        x = self.in_proj(x)
        for k, layer in enumerate(self.layers):
            x = layer(x, late, clock, pasts[k] if pasts else None)
        return self.out_proj(x)


class EnergyCoder(nn.Module):
    """Codes of band energies, given the latents that are coded already.

    Args:
        sample_rate: Hz.
        n_bins: STFT bins F.
        n_pairs: complex coefficients of the lapped transform.
        latent_dim: complex dimensions D.
        n_stages: stages of codes.
        codebook_size: codes in each.
        channels: width of the predictors.
    """

    codebooks: Tensor
    ema_count: Tensor
    typical: Tensor
    bin_bands: Tensor
    pair_bands: Tensor
    spread: Tensor
    weight: Tensor

    def __init__(
        self,
        sample_rate: int,
        n_bins: int,
        n_pairs: int,
        latent_dim: int,
        n_stages: int,
        codebook_size: int,
        channels: int,
    ) -> None:
        super().__init__()
        nyquist = sample_rate / 2
        centres = band_centres(sample_rate, nyquist / n_pairs)
        bins = triangles(centres, torch.linspace(0.0, nyquist, n_bins, dtype=torch.float64))
        at = (torch.arange(n_pairs, dtype=torch.float64) + 0.5) * nyquist / n_pairs
        pairs = triangles(centres, at)
        self.n_bands = len(centres)
        self.n_stages = n_stages
        # frames before its own that an energy depends on, given the codes
        self.look_back = _LEVEL_LEFT + n_stages * _LAYERS * (_KERNEL - 1)
        assert self.look_back >= _MEMORY

        def fixed(name: str, value: Tensor) -> None:
            self.register_buffer(name, value.float(), persistent=False)

        fixed("bin_bands", bins / bins.sum(1, keepdim=True))
        fixed("pair_bands", pairs / pairs.sum(1, keepdim=True).clamp_min(1e-3))
        fixed("spread", bins.t().contiguous())  # band values to bins
        # above 7 kHz the ear resolves levels worse
        fixed("weight", torch.where(centres < 7000.0, 1.0, 0.6))
        inputs = latent_dim + self.n_bands
        self.predictors = nn.ModuleList(
            _Predictor(inputs + (self.n_bands if k else 0), self.n_bands, channels)
            for k in range(n_stages)
        )
        self.register_buffer("typical", torch.zeros(self.n_bands))
        start = 0.3 * torch.randn(n_stages, codebook_size, self.n_bands)
        self.register_buffer("codebooks", start)
        self.register_buffer("ema_count", torch.ones(n_stages, codebook_size))

    def measure(self, spec: Tensor) -> Tensor:
        """Planar STFT ``[B, 2F, T]`` -> log10 energies ``[B, bands, T]``, float32."""
        with torch.autocast(spec.device.type, enabled=False):
            return (torch.matmul(self.bin_bands, _power(spec)) + _FLOOR).log10()

    def to_bins(self, bands: Tensor) -> Tensor:
        """Values of bands ``[B, bands, T]`` -> of STFT bins ``[B, F, T]``, interpolated."""
        return torch.matmul(self.spread, bands)

    def to_bands(self, bins: Tensor) -> Tensor:
        """Values of STFT bins ``[F]`` or ``[B, F, T]`` -> their means in bands."""
        return torch.matmul(self.bin_bands, bins)

    def start(self, clock: Clock, late: int) -> EnergyState:
        """State for a stream whose frames are late by ``late``."""
        n = self.n_stages
        return EnergyState(
            clock, late,
            [History() for _ in range(n)],
            [History() for _ in range(n)],
            [[History() for _ in range(_LAYERS)] for _ in range(n)],
            [History() for _ in range(n)],
            [None] * n,
        )  # fmt: skip

    def foretell(
        self,
        stage: int,
        z: Tensor,
        pairs: Tensor,
        known: Tensor | None = None,
        state: EnergyState | None = None,
    ) -> Tensor:
        """Energies as the predictor of a stage expects them, ``[B, bands, T]``.

        Args:
            stage: 0 to n_stages - 1.
            z, pairs: planar latents ``[B, 2D, T]`` and lapped coefficients ``[B, 2P, T]`` that are
                coded.
            known: from the stages before, ``[B, bands, T]``; None for stage 0.
        """
        clock, late = (state.clock, state.late) if state else (None, 0)
        with torch.autocast(z.device.type, enabled=False):
            bands = torch.matmul(self.pair_bands, _power(pairs.float()))
            power = clip(bands.mean(1, keepdim=True), late, clock)
            level = _causal_mean(power, state.level[stage] if state else None) + 1e-9
            moduli = _power(z.float())
            power = clip(moduli.mean(1, keepdim=True), late, clock)
            z_level = _causal_mean(power, state.z_level[stage] if state else None) + 1e-9
            features = [(moduli / z_level + 1e-4).log10(), (bands / level + 1e-5).log10()]
            base = level.log10() + self.typical[:, None]
            if known is not None:
                features.append(known - base)
            pasts = state.layers[stage] if state else None
            return base + self.predictors[stage](torch.cat(features, 1), late, clock, pasts)

    def search(
        self, stage: int, target: Tensor, foretold: Tensor, state: EnergyState | None = None
    ) -> tuple[Tensor, Tensor]:
        """Codes int64 ``[B, T]`` for energies ``target`` that were ``foretold``, frame by frame,
        and the corrections ``[B, bands, T]`` that they make."""
        weight = self.weight
        rest = ((target - foretold) * weight[:, None]).float()
        history = state.codes[stage] if state else History()
        carried = state.carried[stage] if state else None
        if carried is None:
            carried = rest.new_zeros(rest.shape[:2])
            history.frames = rest.new_zeros(*rest.shape[:2], _MEMORY)
        assert history.frames is not None
        first = state.clock.start - state.late if state else 0
        book, limit, now, past, carry = (
            x.cpu().numpy()
            for x in (
                self.codebooks[stage] * weight, MAX_CORRECTION * weight, rest.permute(2, 0, 1),
                history.frames.permute(2, 0, 1), carried,
            )
        )  # fmt: skip
        codes, corrections, past, carry = _follow(book, limit, now, past, carry, -first)
        if state:
            history.frames = torch.from_numpy(past).to(rest).permute(1, 2, 0)
            state.carried[stage] = torch.from_numpy(carry).to(rest)
        out = torch.from_numpy(corrections).to(rest).permute(1, 2, 0)
        return torch.from_numpy(codes.T.copy()).to(rest.device), out / weight[:, None]

    def vectors(self, stage: int, codes: Tensor) -> Tensor:
        """Codes int64 ``[B, T]`` -> their vectors ``[B, bands, T]``, 0 for -1 (missing)."""
        vectors = self.codebooks[stage][codes.clamp_min(0)] * (codes >= 0)[..., None]
        return vectors.transpose(1, 2)

    def carry(self, stage: int, vectors: Tensor, state: EnergyState | None = None) -> Tensor:
        """Code vectors ``[B, bands, T]`` -> corrections: the sum over k = 0..M of rho^k c_(t-k)."""
        if state:
            vectors = clip(vectors, state.late, state.clock)
        wide = context(vectors, _MEMORY, 0, state.codes[stage] if state else None)
        powers = RHO ** torch.arange(_MEMORY, -1, -1, dtype=wide.dtype, device=wide.device)
        return F.conv1d(wide.flatten(0, 1)[:, None], powers[None, None])[:, 0].view_as(vectors)

    def perplexity(self) -> Tensor:
        """exp(entropy) of each stage's code use, ``[n_stages]``."""
        return perplexity(self.ema_count)


def _follow(
    book: Array, limit: Array, rest: Array, past: Array, carried: Array, before: int
) -> tuple[NDArray[np.int64], Array, Array, Array]:
    """The loop over frames, in numpy: its steps are small, and torch would take thrice as long.

    Args:
        book: code vectors ``[size, bands]``.
        limit: the most that a code corrects ``[bands]``.
        rest: what is to be corrected ``[T, B, bands]``.
        past: the code vectors of the last M frames ``[M, B, bands]``.
        carried: what they carry into the first frame ``[B, bands]``.
        before: this many frames are before the start and have no code.

    Returns:
        codes ``[T, B]``, corrections ``[T, B, bands]``, and the next ``past`` and ``carried``.
    """
    products, norms = np.ascontiguousarray(-2.0 * book.T), np.square(book).sum(1)
    vectors = np.concatenate([past, np.zeros_like(rest)])
    codes = np.empty(rest.shape[:2], np.int64)
    corrections = np.empty_like(rest)
    rho, last = np.float32(RHO), np.float32(RHO ** (_MEMORY + 1))
    for t, now in enumerate(rest):
        wanted = np.minimum(np.maximum(now - carried, -limit), limit)
        # nearest code, first index on a tie, as in eulerodec.quantize.nearest
        codes[t] = (wanted @ products + norms).argmin(-1)
        if t >= before:
            vectors[_MEMORY + t] = book[codes[t]]
        corrections[t] = carried + vectors[_MEMORY + t]
        # the sum over k = 1..M of rho^k c_(t-k), moved on by one frame
        carried = rho * corrections[t] - last * vectors[t]
    return codes, corrections, vectors[len(rest) :], carried


def _power(x: Tensor) -> Tensor:
    """|x|^2 of planar ``[B, 2C, T]`` -> ``[B, C, T]``."""
    return x.unflatten(1, (2, -1)).square().sum(1)


def _causal_mean(power: Tensor, past: History | None) -> Tensor:
    return F.avg_pool1d(context(power, _LEVEL_LEFT, 0, past), _LEVEL_LEFT + 1, 1)
