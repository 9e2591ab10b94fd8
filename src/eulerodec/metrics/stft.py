"""Spectrograms and mel filters in numpy, as the measures define them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["mel_filters", "spectrogram", "stft"]


def stft(
    x: ArrayLike, n_fft: int, hop: int, window: int | None = None, pad_mode: Any = "reflect"
) -> NDArray[np.complex128]:
    """Complex spectrogram [n_fft // 2 + 1, frames] of a signal [N].

    Frame t is centred on sample t * hop; periodic Hann window of ``window`` samples (by default
    n_fft) in the middle of the frame; the ends are padded by ``pad_mode`` (as ``torch.stft``).
    """
    window = n_fft if window is None else window
    samples = np.pad(np.asarray(x, dtype=np.float64), n_fft // 2, mode=pad_mode)
    left = (n_fft - window) // 2
    shape = np.zeros(n_fft)
    shape[left : left + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = np.lib.stride_tricks.sliding_window_view(samples, n_fft)[::hop]
    return np.fft.rfft(frames * shape, axis=1).T


def spectrogram(x: ArrayLike, n_fft: int = 528, hop: int = 132) -> NDArray[np.complex128]:
    """:func:`stft` of a signal [N] that is zero outside, to the frame that holds its end."""
    samples = np.pad(np.asarray(x, dtype=np.float64), (0, hop))
    return stft(samples, n_fft, hop, pad_mode="constant")


@cache
def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> NDArray[np.float64]:
    """Slaney's mel filter bank [n_mels, n_fft // 2 + 1] from 0 Hz to half the sample rate.

    Triangles between neighbouring centres, evenly spaced on Slaney's scale (3 mel per 200 Hz up
    to 1 kHz, then 27 per factor 6.4), each of unit area in Hz. The default of ``librosa`` and the
    one in DAC (Slaney, Auditory Toolbox, 1998).
    """
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(sample_rate / 2), n_mels + 2))
    bins = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    return np.maximum(0.0, np.minimum(rise, fall)) * area[:, None]


_LOG_STEP = np.log(6.4) / 27.0
_BREAK_HZ = 1000.0
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return _BREAK_MEL + float(np.log(hz / _BREAK_HZ)) / _LOG_STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, above)
