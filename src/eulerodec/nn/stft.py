"""Short-time Fourier transform with exact, frame-local reconstruction; magnitude compression."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .history import History, context
from .planar import to_complex, to_planar, widen

__all__ = ["STFT", "power_compress", "power_expand"]


class STFT(nn.Module):
    """STFT with sine (root-Hann) windows and overlap m = n_fft / hop_length.

    The window is w_n = sqrt(2/m) sin(pi (n + 1/2) / n_fft), in analysis and synthesis. Shifts of
    sin^2 by hop sum to m/2, so the products w^2 sum to one: overlap-add is the exact inverse, with
    no division by a window envelope. Sampled at half steps it is symmetric, as the time-domain
    alias cancellation of lapped transforms asks for. FFT is unnormalised, as in ``torch.stft``.

    Frame t covers samples (t - m + 1) * hop .. (t + 1) * hop - 1: the signal is preceded by
    n_fft - hop zeros, and frame t needs no sample after (t + 1) * hop - 1.

    Args:
        n_fft: window length, a multiple (>= 2) of ``hop_length``, in samples.
        hop_length: step between frames, in samples.
    """

    window: Tensor
    imag_mask: Tensor

    def __init__(self, n_fft: int, hop_length: int) -> None:
        super().__init__()
        if hop_length < 1 or n_fft % hop_length or n_fft < 2 * hop_length:
            raise ValueError(
                f"n_fft={n_fft} must be a multiple (2 or more) of hop_length={hop_length}"
            )
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.overlap = n_fft // hop_length
        self.n_bins = n_fft // 2 + 1
        phase = torch.pi * (torch.arange(n_fft, dtype=torch.float64) + 0.5) / n_fft
        window = (torch.sin(phase) * math.sqrt(2.0 / self.overlap)).float()
        self.register_buffer("window", window, persistent=False)
        # A real signal has real bins at 0 and Nyquist; FFT libraries differ on what they do with
        # an imaginary part there, so it is removed.
        mask = torch.ones(self.n_bins, 1)
        mask[0] = 0.0
        if n_fft % 2 == 0:
            mask[-1] = 0.0
        self.register_buffer("imag_mask", mask, persistent=False)

    def n_frames(self, n_samples: int) -> int:
        """Frames of :meth:`analysis` for that many samples: ceil(N / hop) + m - 1, 0 for 0."""
        return -(-n_samples // self.hop_length) + self.overlap - 1 if n_samples else 0

    def analysis(self, wav: Tensor) -> Tensor:
        """Real ``[B, N]`` -> planar ``[B, 2F, T]`` with F = n_fft//2 + 1, T = n_frames(N)."""
        n_samples = wav.shape[-1]
        frames = self.n_frames(n_samples)
        if frames == 0:
            return widen(wav).new_zeros(wav.shape[0], 2 * self.n_bins, 0)
        left = self.n_fft - self.hop_length
        right = (frames + self.overlap - 1) * self.hop_length - left - n_samples
        return self.transform(F.pad(wav, (left, right)))

    def transform(self, padded: Tensor) -> Tensor:
        """Frames without padding: ``[B, (T + m - 1) * hop]`` -> planar ``[B, 2F, T]``."""
        return self.spectra(widen(padded).unfold(-1, self.n_fft, self.hop_length))

    def spectra(self, frames: Tensor) -> Tensor:
        """Windowed spectra of frames: ``[B, T, n_fft]`` -> planar ``[B, 2F, T]``."""
        return to_planar(torch.fft.rfft(frames * self.window).transpose(1, 2))

    def frames(self, spec: Tensor) -> Tensor:
        """Windowed frames of spectra: planar ``[B, 2F, T]`` -> ``[B, T, n_fft]``."""
        re, im = widen(spec).chunk(2, 1)
        z = torch.complex(re, im * self.imag_mask).transpose(1, 2)
        return torch.fft.irfft(z, n=self.n_fft) * self.window

    def synthesis(self, spec: Tensor, n_samples: int) -> Tensor:
        """Planar ``[B, 2F, T]`` (or complex ``[B, F, T]``) -> ``[B, n_samples]``, exact inverse.

        Raises:
            ValueError: if the frames do not reach ``n_samples``.
        """
        needed = self.n_frames(n_samples)
        if spec.shape[-1] < needed:
            raise ValueError(
                f"{n_samples} samples need {needed} frames, the spectrogram has {spec.shape[-1]}"
            )
        if n_samples == 0:
            return self.window.new_zeros(spec.shape[0], 0)
        start = self.n_fft - self.hop_length
        return self.overlap_add(spec)[:, start : start + n_samples]

    def overlap_add(self, spec: Tensor) -> Tensor:
        """Windowed sum of T >= 1 frames ``[B, 2F, T]`` -> ``[B, (T + m - 1) * hop]``.

        The first and last n_fft - hop samples are partial sums (a stream adds them up).
        """
        frames = self.frames(to_planar(spec) if spec.is_complex() else spec)
        parts = frames.unflatten(-1, (self.overlap, self.hop_length)).unbind(2)  # each B T hop
        late = self.overlap - 1
        out = F.pad(parts[0], (0, 0, 0, late))
        for k, part in enumerate(parts[1:], 1):
            out = out + F.pad(part, (0, 0, k, late - k))
        return out.flatten(1)

    def reanalysis(self, spec: Tensor, past: History | None = None) -> Tensor:
        """The STFT, ``[B, 2F, T]``, of the signal that T frames add up to.

        With ``past`` for the next block of a stream, delayed by m - 1 frames.
        """
        reach = self.overlap - 1
        return self.transform(self.complete(context(spec, reach, reach, past)))

    def stream_synthesis(self, spec: Tensor, past: History) -> Tensor:
        """Next block of a stream, T frames -> T * hop samples, delayed by n_fft - hop.

        Starting with the block that precedes the signal by n_fft - hop zeros, as analysis does.
        """
        return self.complete(past.extend(spec, self.overlap - 1))

    def complete(self, spec: Tensor) -> Tensor:
        """Overlap-add without the partial sums, ``[B, 2F, T]`` -> ``[B, (T - m + 1) * hop]``."""
        edge = self.n_fft - self.hop_length
        return self.overlap_add(spec)[:, edge:-edge]

    def forward(self, wav: Tensor) -> Tensor:
        """Same as :meth:`analysis`."""
        return self.analysis(wav)

    def extra_repr(self) -> str:
        return f"n_fft={self.n_fft}, hop_length={self.hop_length}"


def _power_gain(x: Tensor, floor: float, exponent: float) -> Tensor:
    """``x * max(|x|, floor)^exponent`` for planar or complex x; no root of zero anywhere."""
    if x.is_complex():
        return to_complex(_power_gain(to_planar(x), floor, exponent))
    wide = widen(x)
    pair = wide.unflatten(1, (2, -1))
    gain = pair.square().sum(1, keepdim=True).clamp_min(floor * floor).pow(0.5 * exponent)
    return (pair * gain).flatten(1, 2).to(x.dtype)


def _check_exponent(exponent: float, floor: float) -> None:
    if not (exponent > 0 and floor > 0):
        raise ValueError(f"exponent={exponent} and floor={floor} must be > 0")


def power_compress(x: Tensor, exponent: float, floor: float = 1e-4) -> Tensor:
    """Power-law compression that keeps the phase: ``X |X|^(a-1)`` for ``|X| >= floor``.

    Below the floor it is linear with the gain at the floor, floor^(a-1), so values are continuous,
    the inverse :func:`power_expand` is exact everywhere, and gradients are finite at zero.

    Args:
        x: planar ``[B, 2F, *]`` or complex ``[B, F, *]``.
        exponent: a > 0 (1 is the identity).
        floor: modulus below which the map is linear.
    """
    _check_exponent(exponent, floor)
    return _power_gain(x, floor, exponent - 1.0)


def power_expand(x: Tensor, exponent: float, floor: float = 1e-4) -> Tensor:
    """Inverse of :func:`power_compress` for the same ``exponent`` and ``floor`` (of its input)."""
    _check_exponent(exponent, floor)
    return _power_gain(x, floor**exponent, 1.0 / exponent - 1.0)
