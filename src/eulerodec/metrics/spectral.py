"""Distances of magnitude spectra of (reference, estimate), aligned signals [N]; 0 is best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .stft import mel_filters, stft

__all__ = ["dac_mel", "log_mel", "log_spectral_distance", "multi_resolution_stft"]

MRSTFT = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # n_fft, hop, window
DAC_SCALES = ((5, 32), (10, 64), (20, 128), (40, 256), (80, 512), (160, 1024), (320, 2048))
MEL_FLOOR = 1e-5


def multi_resolution_stft(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Multi-resolution STFT distance: mean over three resolutions of spectral convergence
    ||R| - |E||_F / |R|_F plus mean |ln |R| - ln |E||.

    Yamamoto et al., Parallel WaveGAN, arXiv 1910.11480, equations 3 to 6 and table 1: FFT 1024,
    2048, 512, hop 120, 240, 50, window 600, 1200, 240 samples. Powers are floored at 1e-7, as in
    the common implementations, so the log part depends on the level of both.
    """
    parts = []
    for n_fft, hop, window in MRSTFT:
        r, e = (
            np.sqrt(np.maximum(np.abs(stft(x, n_fft, hop, window)) ** 2, 1e-7))
            for x in (reference, estimate)
        )
        convergence = np.linalg.norm(r - e) / np.linalg.norm(r)
        parts.append(convergence + np.abs(np.log(r) - np.log(e)).mean())
    return float(np.mean(parts))


def dac_mel(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Multi-scale mel distance of DAC: sum over seven scales of mean |log10 M_r - log10 M_e|.

    Kumar et al., arXiv 2306.06546, section 3.4, in the configuration of the released 24 kHz
    model: windows 32 to 2048 with 5 to 320 Slaney mel bands of magnitudes, hop a quarter of the
    window, floor 1e-5.
    """
    return sum(
        _mel_distance(reference, estimate, sample_rate, n_mels, window)
        for n_mels, window in DAC_SCALES
    )


def log_mel(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Log-mel distance: mean |log10 M_r - log10 M_e| over 80 Slaney mel bands of magnitudes,
    window 1024 samples, hop 256, floor 1e-5 (the spectrogram usual for vocoders)."""
    return _mel_distance(reference, estimate, sample_rate, 80, 1024)


def log_spectral_distance(
    reference: ArrayLike, estimate: ArrayLike, *, range_db: float = 80.0
) -> float:
    """Log-spectral distance in dB: mean over frames of sqrt(mean over bins of
    (20 log10 |R| - 20 log10 |E|)^2).

    Gray & Markel 1976, "Distance measures for speech processing". Hann window 1024, hop 256.
    Magnitudes are floored ``range_db`` below the strongest bin of the reference; without a floor,
    bands that are empty in a band-limited clip would decide the value. NaN for a silent reference.
    """
    r, e = (np.abs(stft(x, 1024, 256)) for x in (reference, estimate))
    floor = r.max() * 10 ** (-range_db / 20)
    if floor == 0:
        return float("nan")
    difference = 20 * np.log10(np.maximum(r, floor) / np.maximum(e, floor))
    return float(np.sqrt((difference**2).mean(0)).mean())


def _mel_distance(
    reference: ArrayLike, estimate: ArrayLike, sample_rate: int, n_mels: int, window: int
) -> float:
    bank = mel_filters(sample_rate, window, n_mels)
    r, e = (
        np.log10(np.maximum(bank @ np.abs(stft(x, window, window // 4)), MEL_FLOOR))
        for x in (reference, estimate)
    )
    return float(np.abs(r - e).mean())
