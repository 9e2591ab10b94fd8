"""Band energies: what a squared error gives away first, coded by stages of their own.

Residual quantisation of a waveform leaves weak bands out: with the code vector that is nearest,
little or nothing of them comes back, though the ear needs their energy far more than their phase.
So a few of the codec's stages do not code latents but the energies of the input in bands, of the
same frame:

1. A small causal network predicts them from what the latent stages before have coded.
2. What it missed, r_t = E_t - predicted_t, is mostly missed again in the next frame, so the codes
   of the frames before are fed back: the sum over k = 1..M of rho^k c_(t-k).
3. The code c_t is the vector of the stage's codebook nearest to the rest.

The decoder does the same without 3. All of it sees moduli alone. Energies are log10 of power per
bin.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import Clock, History, StreamState, context, mask_frames
from ..quantize import perplexity
from .bands import Bands, planar_power
from .trunk import LEVEL_LEFT

__all__ = ["MAX_CORRECTION", "RHO", "EnergyCoder", "EnergyState", "energy_look_back"]

Array = NDArray[np.float32]

_KERNEL, _LAYERS = 3, 3
_MEMORY = 12  # M, frames
RHO = 0.6
MAX_CORRECTION = 2.0  # what a code may correct, +-20 dB


@dataclass
class StageState(StreamState):
    """One energy stage in a stream."""

    layers: list[History] | None = field(
        default_factory=lambda: [History() for _ in range(_LAYERS)]
    )
    level: History | None = field(default_factory=History)
    latent_level: History | None = field(default_factory=History)
    codes: History | None = field(default_factory=History)
    feedback: Tensor | None = None


@dataclass
class EnergyState:
    """The coder in a stream; ``delayed``: frames that its input is delayed by."""

    clock: Clock
    delayed: int
    stages: list[StageState]


def energy_look_back(n_stages: int) -> int:
    """Frames before its own that an energy depends on, given the codes."""
    if n_stages == 0:
        return 0
    return max(LEVEL_LEFT + n_stages * _LAYERS * (_KERNEL - 1), _MEMORY)


class _Layer(nn.Module):
    """``x + mix(gelu(conv(rms norm(x))))`` over this frame and the ones before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, _KERNEL)
        self.mix = nn.Conv1d(channels, channels, 1)
        with torch.no_grad():
            self.mix.weight.mul_(0.3)

    def forward(self, x: Tensor, delayed: int, clock: Clock | None, past: History | None) -> Tensor:
        h = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4)
        h = context(mask_frames(h, delayed, clock), _KERNEL - 1, 0, past)
        return x + self.mix(F.gelu(self.conv(h)))


class _Predictor(nn.Module):
    def __init__(self, inputs: int, bands: int, channels: int) -> None:
        super().__init__()
        self.in_proj = nn.Conv1d(inputs, channels, 1)
        self.layers = nn.ModuleList(_Layer(channels) for _ in range(_LAYERS))
        self.out_proj = nn.Conv1d(channels, bands, 1)
        nn.init.zeros_(self.out_proj.weight)

    def forward(
        self, x: Tensor, delayed: int, clock: Clock | None, pasts: list[History] | None
    ) -> Tensor:
        x = self.in_proj(x)
        for k, layer in enumerate(self.layers):
            x = layer(x, delayed, clock, pasts[k] if pasts else None)
        return self.out_proj(x)


class EnergyCoder(nn.Module):
    """Codes of band energies, given the latents that are coded already.

    Args:
        bands: of the model, which shares them.
        latent_dim: complex dimensions D.
        n_stages: stages of codes.
        codebook_size: codes in each.
        channels: width of the predictors.
    """

    codebooks: Tensor
    ema_count: Tensor
    typical: Tensor
    weight: Tensor

    def __init__(
        self,
        bands: Bands,
        latent_dim: int,
        n_stages: int,
        codebook_size: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.bands = bands
        self.n_bands = bands.count
        self.n_stages = n_stages
        # above 7 kHz the ear resolves levels worse
        weight = torch.where(bands.centres < 7000.0, 1.0, 0.6)
        self.register_buffer("weight", weight.float(), persistent=False)
        inputs = latent_dim + self.n_bands
        self.predictors = nn.ModuleList(
            _Predictor(inputs + (self.n_bands if k else 0), self.n_bands, channels)
            for k in range(n_stages)
        )
        # mean of the bands, relative to the latents' level
        self.register_buffer("typical", torch.zeros(self.n_bands))
        start = 0.3 * torch.randn(n_stages, codebook_size, self.n_bands)
        self.register_buffer("codebooks", start)
        self.register_buffer("ema_count", torch.ones(n_stages, codebook_size))

    def start(self, clock: Clock, delayed: int) -> EnergyState:
        """State for a stream whose frames are delayed by ``delayed``."""
        return EnergyState(clock, delayed, [StageState() for _ in range(self.n_stages)])

    def predict(
        self,
        stage: int,
        z: Tensor,
        mdct: Tensor,
        known: Tensor | None = None,
        state: EnergyState | None = None,
    ) -> Tensor:
        """Energies as the predictor of a stage expects them, ``[B, bands, T]``.

        Args:
            stage: 0 to n_stages - 1.
            z: planar latents that are coded, ``[B, 2D, T]``.
            mdct: their planar MDCT coefficients, ``[B, 2P, T]``.
            known: energies from the stages before, ``[B, bands, T]``; None for stage 0.
            state: for the next block of a stream.
        """
        clock, delayed = (state.clock, state.delayed) if state else (None, 0)
        s = state.stages[stage] if state else StageState.whole()
        with torch.autocast(z.device.type, enabled=False):
            bands = torch.matmul(self.bands.mdct_means, planar_power(mdct.float()))
            power = mask_frames(bands.mean(1, keepdim=True), delayed, clock)
            level = _causal_mean(power, s.level) + 1e-9
            moduli = planar_power(z.float())
            power = mask_frames(moduli.mean(1, keepdim=True), delayed, clock)
            latent_level = _causal_mean(power, s.latent_level) + 1e-9
            features = [(moduli / latent_level + 1e-4).log10(), (bands / level + 1e-5).log10()]
            base = level.log10() + self.typical[:, None]
            if known is not None:
                features.append(known - base)
            x = torch.cat(features, 1)
            return base + self.predictors[stage](x, delayed, clock, s.layers)

    def search(
        self, stage: int, target: Tensor, predicted: Tensor, state: EnergyState | None = None
    ) -> tuple[Tensor, Tensor]:
        """Codes for energies ``target`` that were ``predicted``, frame by frame.

        Args:
            stage: 0 to n_stages - 1.
            target, predicted: ``[B, bands, T]``.
            state: for the next block of a stream.

        Returns:
            codes int64 ``[B, T]``, and the corrections ``[B, bands, T]`` that they make.
        """
        weight = self.weight
        rest = ((target - predicted) * weight[:, None]).float()
        s = state.stages[stage] if state else StageState()
        assert s.codes is not None
        if s.feedback is None:
            s.feedback = rest.new_zeros(rest.shape[:2])
        if s.codes.frames is None:
            s.codes.frames = rest.new_zeros(*rest.shape[:2], _MEMORY)
        first = state.clock.start - state.delayed if state else 0
        book, limit, now, past, feedback = (
            x.cpu().numpy()
            for x in (
                self.codebooks[stage] * weight, MAX_CORRECTION * weight, rest.permute(2, 0, 1),
                s.codes.frames.permute(2, 0, 1), s.feedback,
            )
        )  # fmt: skip
        codes, corrections, past, feedback = _feedback_loop(
            book, limit, now, past, feedback, -first
        )
        s.codes.frames = torch.from_numpy(past).to(rest).permute(1, 2, 0)
        s.feedback = torch.from_numpy(feedback).to(rest)
        out = torch.from_numpy(corrections).to(rest).permute(1, 2, 0)
        return torch.from_numpy(codes.T.copy()).to(rest.device), out / weight[:, None]

    def vectors(self, stage: int, codes: Tensor) -> Tensor:
        """Codes int64 ``[B, T]`` -> their vectors ``[B, bands, T]``, 0 for -1 (missing)."""
        vectors = self.codebooks[stage][codes.clamp_min(0)] * (codes >= 0)[..., None]
        return vectors.transpose(1, 2)

    def corrections(self, stage: int, vectors: Tensor, state: EnergyState | None = None) -> Tensor:
        """Code vectors ``[B, bands, T]`` -> corrections: the sum over k = 0..M of rho^k c_(t-k)."""
        past = None
        if state:
            vectors = mask_frames(vectors, state.delayed, state.clock)
            past = state.stages[stage].codes
        wide = context(vectors, _MEMORY, 0, past)
        powers = RHO ** torch.arange(_MEMORY, -1, -1, dtype=wide.dtype, device=wide.device)
        return F.conv1d(wide.flatten(0, 1)[:, None], powers[None, None])[:, 0].view_as(vectors)

    def perplexity(self) -> Tensor:
        """exp(entropy) of each stage's code use, ``[n_stages]``."""
        return perplexity(self.ema_count)


def _feedback_loop(
    book: Array, limit: Array, rest: Array, past: Array, feedback: Array, before: int
) -> tuple[NDArray[np.int64], Array, Array, Array]:
    """The loop over frames, in numpy: its steps are small, and torch takes three times as long.

    Args:
        book: code vectors ``[size, bands]``.
        limit: the most that a code corrects ``[bands]``.
        rest: what is to be corrected ``[T, B, bands]``.
        past: the code vectors of the last M frames ``[M, B, bands]``.
        feedback: what they add to the first frame ``[B, bands]``.
        before: this many frames are before the start and have no code.

    Returns:
        codes ``[T, B]``, corrections ``[T, B, bands]``, and the next ``past`` and ``feedback``.
    """
    products, norms = np.ascontiguousarray(-2.0 * book.T), np.square(book).sum(1)
    vectors = np.concatenate([past, np.zeros_like(rest)])
    codes = np.empty(rest.shape[:2], np.int64)
    corrections = np.empty_like(rest)
    rho, last = np.float32(RHO), np.float32(RHO ** (_MEMORY + 1))
    for t, now in enumerate(rest):
        wanted = np.minimum(np.maximum(now - feedback, -limit), limit)
        # nearest code, first index on a tie, as in eulerodec.quantize.nearest
        codes[t] = (wanted @ products + norms).argmin(-1)
        if t >= before:
            vectors[_MEMORY + t] = book[codes[t]]
        corrections[t] = feedback + vectors[_MEMORY + t]
        # the sum over k = 1..M of rho^k c_(t-k), moved on by one frame
        feedback = rho * corrections[t] - last * vectors[t]
    return codes, corrections, vectors[len(rest) :], feedback


def _causal_mean(power: Tensor, past: History | None) -> Tensor:
    return F.avg_pool1d(context(power, LEVEL_LEFT, 0, past), LEVEL_LEFT + 1, 1)
