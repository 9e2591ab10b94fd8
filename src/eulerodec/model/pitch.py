"""One period earlier, one period later: what a voiced sound repeats, the decoder may average.

The quantisation error of a frame has nothing to do with that of the next, but a voiced sound
repeats itself with its pitch. For every frame the windows one period before and after it are taken
from what the latents alone decode to, and mixed in, band by band, as far as they agree with it.
That costs no bits. (A long-term postfilter, as in speech codecs since Chen & Gersho 1995, IEEE
Trans. Speech and Audio Processing 3(1), with gains that are learnt and may look ahead.)

The period is not chosen but weighted, by a softmax over all lags of

    SHARPNESS (c(l) - BIAS l),    c(l) = <x_n, x_(n -+ l)> / (|x_n| |x_(n -+ l)|),

so that the result is continuous: where two lags are equally good, a rounding changes nothing. (The
denominator has a floor, 60 dB below the energy around.)
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import STFT, Correlation, History, scale_planar
from .bands import Bands

__all__ = ["PitchMixer"]

_LONGEST_S, _SHORTEST_S = 0.02, 0.0025  # periods: 50 to 400 Hz
_SHARPNESS = 400.0
_USUAL_STAGES = 12  # scales what the network is told
_BIAS = 2.4  # per second: of nearly equal lags the shortest


class PitchMixer(nn.Module):
    """Waveform ``[B, n]`` -> its STFT with periods mixed, and without.

    Args:
        stft, bands: of the model, which shares them.
        sample_rate: Hz.
        look_ahead: whether the period after a frame may be used.
        channels: width of the network that gives the gains.
    """

    _penalty: Tensor

    def __init__(
        self,
        stft: STFT,
        bands: Bands,
        sample_rate: int,
        *,
        look_ahead: bool,
        channels: int,
    ) -> None:
        super().__init__()
        self.stft = stft
        self.bands = bands
        self._longest = round(_LONGEST_S * sample_rate)
        self._shortest = round(_SHORTEST_S * sample_rate)
        hop = stft.hop_length
        self.left = -(-self._longest // hop)  # frames
        self.right = self.left if look_ahead else 0
        self.correlation = Correlation((self.left + self.right) * hop + stft.n_fft)
        lags = torch.arange(self._shortest, self._longest + 1)
        self.register_buffer("_penalty", _BIAS * lags / sample_rate, persistent=False)
        n_copies = 2 if look_ahead else 1
        n_bands = bands.count
        self.net = nn.Sequential(
            nn.Conv1d((1 + n_copies) * n_bands + n_copies + 1, channels, 1),
            nn.GELU(),
            nn.Conv1d(channels, channels, 1),
            nn.GELU(),
            nn.Conv1d(channels, (1 + n_copies) * n_bands, 1),
        )
        last = cast(nn.Conv1d, self.net[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))

    def forward(
        self, wav: Tensor, n_stages: Tensor, past: History | None = None
    ) -> tuple[Tensor, Tensor]:
        """The mixed spectrum, and that of ``wav`` itself, both planar ``[B, 2F, T]``.

        Args:
            wav: whole recording, T + 1 hops that make T frames; with ``past`` the next block of a
                stream, whose result is delayed by ``right`` frames.
            n_stages: stages of codes of each frame ``[B, T]``, delayed like the result.
        """
        stft = self.stft
        hop, size = stft.hop_length, stft.n_fft
        left, right = self.left * hop, self.right * hop
        if past is None:
            wav = F.pad(wav, (left, right))
        else:
            # the first hop was the last of the block before
            wav = past.extend(wav[:, hop:], left + right + size - hop)
        segments = wav.unfold(-1, left + size + right, hop)  # [B, T, left + size + right]
        frames = [segments[..., left : left + size]]
        periodic = []
        with torch.no_grad():
            for copy, strength in self._copies(segments, left, size):
                frames.append(copy)
                periodic.append(strength)
        spectra = [stft.spectra(x) for x in frames]
        gains = self._gains(spectra, periodic, n_stages)
        mixed = scale_planar(spectra[0], 1.0 + gains[0])
        for spectrum, gain in zip(spectra[1:], gains[1:], strict=True):
            mixed = mixed + scale_planar(spectrum, gain)
        return mixed, spectra[0]

    def _copies(self, segments: Tensor, left: int, size: int) -> list[tuple[Tensor, Tensor]]:
        """Frames ``[B, T, size]`` one period earlier (and later), and how alike they are, 0..1."""
        n = segments.shape[-1]
        spectrum = self.correlation.spectrum(segments)
        now = self.correlation.spectrum(segments[..., left : left + size])
        product = self.correlation.correlate(spectrum, now)[..., : n - size + 1]
        # differences of sums: a quiet stretch after a loud one needs the digits
        total = F.pad(segments.double().square().cumsum(-1), (1, 0))
        energy = (total[..., size:] - total[..., : n - size + 1]).clamp_min(0.0)
        # what is 60 dB below the rest of the segment is lost in roundings, not alike
        norm = (energy * energy[..., left : left + 1]).sqrt() + 1e-6 * total[..., -1:] + 1e-8
        # by the place in the segment where the other frame starts
        alike = (product / norm.to(product.dtype)).clamp(-1.0, 1.0)
        longest, shortest = self._longest, self._shortest
        places = [slice(left - longest, left - shortest + 1)]
        if self.right:
            places.append(slice(left + shortest, left + longest + 1))
        found = []
        for k, place in enumerate(places):
            penalty = self._penalty.flip(0) if k == 0 else self._penalty
            weight = torch.softmax(_SHARPNESS * (alike[..., place] - penalty), -1)
            strength = (weight * alike[..., place]).sum(-1)
            # sum over p of weight_p segment[n + p]
            placed = self.correlation.spectrum(F.pad(weight, (place.start, 0)))
            found.append((self.correlation.correlate(spectrum, placed)[..., :size], strength))
        return found

    def _gains(
        self, spectra: list[Tensor], periodic: list[Tensor], n_stages: Tensor
    ) -> list[Tensor]:
        """Real gains ``[B, F, T]`` for each spectrum, from moduli and phase differences."""
        parts = [x.unflatten(1, (2, -1)) for x in spectra]
        energy = [self.bands.to_bands(x.square().sum(1)) + 1e-8 for x in parts]
        total = energy[0].mean(1, keepdim=True)
        features = [(energy[0] / total).log10()]
        for x, e in zip(parts[1:], energy[1:], strict=True):
            cross = self.bands.to_bands((parts[0] * x).sum(1))
            features.append(cross * (energy[0] * e).rsqrt())
        features += [x[:, None] for x in periodic]
        features.append(((n_stages + 1.0) / _USUAL_STAGES)[:, None].to(total.dtype))
        gains = self.net(torch.cat(features, 1)).chunk(len(spectra), 1)
        return [self.bands.to_bins(gain) for gain in gains]
