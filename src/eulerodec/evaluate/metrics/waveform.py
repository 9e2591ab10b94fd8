"""Measures of the waveform. All take (reference, estimate), aligned signals [N] of one length."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ...metrics import si_sdr

__all__ = ["segmental_snr", "si_sdr"]


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
