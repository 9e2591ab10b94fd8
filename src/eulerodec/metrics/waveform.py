"""Measures of the waveform. All take (reference, estimate), aligned signals [N] of one length."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["segmental_snr", "si_sdr"]


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


def segmental_snr(
    reference: ArrayLike,
    estimate: ArrayLike,
    sample_rate: int,
    *,
    frame_s: float = 0.02,
    low_db: float = -10.0,
    high_db: float = 35.0,
) -> float:
    """Segmental signal to noise ratio in dB.

    Mean over frames m of 10 log10(sum_m r^2 / sum_m (r - e)^2), each limited to [-10, 35] dB
    (Hansen & Pellom 1998; Loizou, Speech Enhancement, 2nd ed. 2013, section 11.1). Frames of 20 ms
    side by side; frames in which the reference is digital silence are left out. The estimate is
    not scaled, so a wrong level counts. NaN if no frame is left.
    """
    n = round(sample_rate * frame_s)
    r = np.asarray(reference, dtype=np.float64)
    e = np.asarray(estimate, dtype=np.float64)
    frames = len(r) // n
    r, e = r[: frames * n].reshape(frames, n), e[: frames * n].reshape(frames, n)
    signal, noise = (r**2).sum(1), ((r - e) ** 2).sum(1)
    heard = signal > 0
    if not heard.any():
        return float("nan")
    with np.errstate(divide="ignore"):
        ratio = 10 * np.log10(signal[heard] / noise[heard])
    return float(np.clip(ratio, low_db, high_db).mean())
