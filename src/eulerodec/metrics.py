"""Measures of what a codec kept, in numpy: SI-SDR and the phase error of the spectrogram."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["phase_error", "si_sdr", "spectrogram"]


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Scale-invariant signal to distortion ratio in dB, of two signals of equal length.

    10 log10(|a s|^2 / |a s - e|^2) with a = <e, s> / |s|^2, both signals freed of their mean
    (Le Roux et al. 2019, arXiv 1811.02508). Channels are taken as one long signal. NaN if a
    signal is empty or the reference is silent, inf if the estimate is exact.
    """
    s = np.asarray(reference, dtype=np.float64).ravel()
    e = np.asarray(estimate, dtype=np.float64).ravel()
    if s.shape != e.shape:
        raise ValueError(f"signals of equal length are needed, not {s.size} and {e.size}")
    if s.size == 0:
        return float("nan")
    s, e = s - s.mean(), e - e.mean()
    energy = float(s @ s)
    if energy == 0.0:
        return float("nan")
    target = (float(e @ s) / energy) * s
    noise = target - e
    with np.errstate(divide="ignore"):
        ratio = np.float64(target @ target) / np.float64(noise @ noise)
        return float(10 * np.log10(ratio))


def spectrogram(x: ArrayLike, n_fft: int = 528, hop: int = 132) -> NDArray[np.complex128]:
    """Complex spectrogram [n_fft // 2 + 1, frames] of a signal [N], periodic Hann window.

    Frame t is centred on sample t * hop; the signal is zero outside.
    """
    samples = np.pad(np.asarray(x, dtype=np.float64), (n_fft // 2, n_fft // 2 + hop))
    frames = np.lib.stride_tricks.sliding_window_view(samples, n_fft)[::hop]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    return np.fft.rfft(frames * window, axis=1).T


def phase_error(
    reference: NDArray[Any], estimate: NDArray[Any]
) -> tuple[NDArray[np.float64], float]:
    """Phase of ``estimate`` relative to ``reference``, two complex spectrograms of one shape.

    Returns the angle of E conj(R) for every bin, in radians in (-pi, pi], and the mean of its
    absolute value weighted by the magnitude of the reference: 0 for the same phase, pi/2 for a
    random one, NaN for silence.
    """
    angle = np.angle(estimate * np.conj(reference))
    weight = np.abs(reference)
    total = float(weight.sum())
    mean = float((weight * np.abs(angle)).sum() / total) if total > 0 else float("nan")
    return angle, mean
