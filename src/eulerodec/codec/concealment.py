"""Concealment of lost latent frames by repeating the last pitch period, with a fade to silence.

Works on what packets tell (:mod:`.frames`), before the decoder network, whose context smooths the
joins. At the first lost frame the signal of the last frames is made by the decoder's transform
path alone, and the period of L samples with the largest normalised correlation

    c(L) = <x_n, x_{n-L}> / (|x_n| |x_{n-L}|),   n over the last WINDOW_S seconds,

(of nearly equal ones the shortest) is repeated (waveform substitution: Goodman et al. 1986, IEEE
TASSP 34(6); ITU-T G.711 Appendix I), sqrt(c) times as loud: the less periodic the signal was, the
less a repetition is worth. It stays for HOLD_S, falls linearly to silence at FADE_S, and the
encoder turns it into latents and energies. Nothing that comes later is needed, so there is no
delay, and everything is counted in frames: a stream and a file give the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from ..model import EuleroDec
from ..nn import power_expand
from .frames import unstacked

__all__ = ["Concealer", "ConcealmentState"]

HOLD_S, FADE_S = 0.01, 0.12  # seconds of loss until the fade starts, and until silence
WINDOW_S = 0.02
PITCH_HZ = (50, 300)
SILENCE = -8.0  # log10 of the power of a bin


@dataclass
class ConcealmentState:
    """What the concealer knows of a stream; replace it to reset the stream.

    Attributes:
        past: the last frames, ``[C, M, n]``.
        plan: frames for the present gap, None outside of one.
        used: frames of the gap so far.
    """

    past: Tensor | None = None
    plan: Tensor | None = None
    used: int = 0


class Concealer:
    """Replaces lost frames; see the module for how."""

    def __init__(self, model: EuleroDec) -> None:
        self._model = model
        rate, hop = model.sample_rate, model.hop_length
        self._shortest, self._longest = (round(rate / hertz) for hertz in reversed(PITCH_HZ))
        self._window = round(WINDOW_S * rate)
        # n frames make n - 1 hops of signal: the first and the last lack their partner
        self._n_past = 1 + math.ceil((self._window + self._longest) / hop)
        self._n_plan = math.ceil(FADE_S * rate / hop)
        time = torch.arange((self._n_plan + 1) * hop, device=model.stft.window.device) / rate
        self._fade = ((FADE_S - time) / (FADE_S - HOLD_S)).clamp(0.0, 1.0)

    def __call__(self, x: Tensor, state: ConcealmentState) -> Tensor:
        """The next frames of a stream ``[C, M, t]``, none of them lost.

        Args:
            x: what arrived; a frame that is lost in one channel is lost in all.
            state: of the stream; it is moved on.
        """
        _, lost = unstacked(x, self._model.bands.count)
        past = x.new_zeros(*x.shape[:2], self._n_past) if state.past is None else state.past
        if any(lost):
            x = x.clone()
        at = 0
        for gone, run in groupby(lost):
            start, at = at, at + len(list(run))
            if gone:
                if state.plan is None:
                    state.plan, state.used = self._extrapolate(past), 0
                planned = state.plan[..., state.used : state.used + at - start]
                # after the fade all stays as its last frame is: silent
                short = at - start - planned.shape[-1]
                silent = state.plan[..., -1:].expand(-1, -1, short)
                x[..., start:at] = torch.cat([planned, silent], -1)
                state.used += at - start
            else:
                state.plan = None
            past = torch.cat([past, x[..., start:at]], -1)[..., -self._n_past :]
        state.past = past
        return x

    def _extrapolate(self, past: Tensor) -> Tensor:
        """Frames that go on after ``past`` and fade out, ``[C, M, n_plan + 1]``."""
        model, hop = self._model, self._model.hop_length
        coded, _ = unstacked(past, model.bands.count)
        pairs = power_expand(coded.z, model.config.latent_exponent)
        wav = model.stft.overlap_add(model.decoder.transform(pairs))[:, hop:-hop]
        lag, correlation = self._pitch(wav)
        n = len(self._fade)
        ahead = torch.arange(n, device=wav.device) % lag[:, None]  # [B, n], within the period
        wav = wav.gather(1, wav.shape[1] - lag[:, None] + ahead)
        wav = wav * self._fade * correlation.clamp_min(0.0).sqrt()[:, None]
        z, bands = model.describe(model.stft.transform(wav))
        # never louder than what was there, whatever the weights
        loudest = coded.z.square().sum(1).amax(-1).sqrt()
        norm = z.square().sum(1, keepdim=True).sqrt()
        gain = (loudest[:, None, None] / norm.clamp_min(1e-12)).clamp(1e-6, 1.0)
        bands = bands + (2.0 / model.config.latent_exponent) * gain.log10()
        rest = torch.zeros_like(past[:, -3:, -1:]).repeat(1, 1, z.shape[-1])
        rest[:, :2] = past[:, -3:-1, -1:]  # as well known as the last frame
        plan = torch.cat([z * gain, bands.clamp_min(SILENCE), rest], 1)
        end = plan[..., -1:].clone()
        end[:, : z.shape[1]], end[:, z.shape[1] : -3] = 0.0, SILENCE
        return torch.cat([plan, end], -1)

    def _pitch(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """Period in samples, int64 [B], at the end of ``wav`` [B, n], and its correlation [B]."""
        window, longest = self._window, self._longest
        wav = wav.double()
        now = wav[:, -window:]
        # earlier[:, j] starts longest - j samples before ``now``
        earlier = wav[:, -window - longest : -self._shortest].unfold(1, window, 1)
        product = (earlier * now[:, None]).sum(-1)
        power = earlier.square().sum(-1) * now.square().sum(-1, keepdim=True)
        correlation = product / (power.sqrt() + 1e-9)
        lags = torch.arange(longest, self._shortest - 1, -1, device=wav.device)
        # multiples of a period differ by rounding only: a small bias takes the shortest
        index = (correlation - 1e-3 * lags / longest).argmax(1, keepdim=True)
        return lags[index[:, 0]], correlation.gather(1, index)[:, 0].float()
