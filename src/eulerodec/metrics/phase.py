"""Measures of phase, on spectrograms with Hann windows of 32 ms every 8 ms.

d = angle(R) - angle(E) is the phase difference of reference and estimate. Bins more than 50 dB
below the clip's strongest bin are left out, the others weigh by the reference's magnitude |R|.
f_AW(x) = |x - 2 pi round(x / 2 pi)| removes the wrapping. The three errors are the anti-wrapping
losses of Ai & Ling (NSPP, arXiv 2211.15974 and 2403.17378; also APCodec, arXiv 2402.10533), used
as measures: 0 is perfect, pi / 2 is a random phase.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .stft import stft

__all__ = ["WINDOW_S", "phase_error", "phase_measures", "phase_measures_of_spectra", "unwrapped"]

WINDOW_S = 0.032
HOP_S = 0.008
RANGE_DB = 50.0


def unwrapped(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """f_AW(x) = |x - 2 pi round(x / 2 pi)|: the distance of an angle from 0, in [0, pi]."""
    return np.abs(x - 2 * np.pi * np.round(x / (2 * np.pi)))


def phase_measures(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> dict[str, float]:
    """All phase measures of two aligned signals [N]; see :func:`phase_measures_of_spectra`."""
    n_fft, hop = round(sample_rate * WINDOW_S), round(sample_rate * HOP_S)
    spectra = (stft(x, n_fft, hop, pad_mode="constant") for x in (reference, estimate))
    return phase_measures_of_spectra(*spectra, bin_hz=sample_rate / n_fft)


def phase_measures_of_spectra(
    reference: NDArray[Any], estimate: NDArray[Any], bin_hz: float
) -> dict[str, float]:
    """Phase measures of two complex spectrograms [bins, frames] with bins ``bin_hz`` apart.

    - ``ip_rad``: instantaneous phase error, mean of f_AW(d).
    - ``gd_rad``: group delay error, mean of f_AW of the step of d from one bin to the next.
    - ``iaf_rad``: instantaneous angular frequency error, mean of f_AW of the step of d from one
      frame to the next.
    - ``gdd_ms``: group delay distortion gd_rad / (2 pi bin_hz) in ms; a pure delay of t ms (less
      than half a window) scores t.
    - ``pc``: phase coherence sum |R||E| cos d / sum |R||E|; 1 is perfect, 0 is random.

    A step is used where both its bins are within the 50 dB, and weighs as the first of them.
    NaN if the reference is silent, or for ``pc`` if the estimate is.
    """
    magnitude = np.abs(reference)
    peak = magnitude.max(initial=0.0)
    heard = (magnitude >= peak * 10 ** (-RANGE_DB / 20)) & (magnitude > 0)
    d = np.angle(reference) - np.angle(estimate)
    gd = _mean(unwrapped(np.diff(d, axis=0)), magnitude[:-1], heard[:-1] & heard[1:])
    product = np.where(heard, magnitude * np.abs(estimate), 0.0)
    return {
        "ip_rad": _mean(unwrapped(d), magnitude, heard),
        "gd_rad": gd,
        "iaf_rad": _mean(
            unwrapped(np.diff(d, axis=1)), magnitude[:, :-1], heard[:, :-1] & heard[:, 1:]
        ),
        "gdd_ms": gd / (2 * np.pi * bin_hz) * 1000,
        "pc": float((product * np.cos(d)).sum() / product.sum()) if product.any() else float("nan"),
    }


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


def _mean(
    error: NDArray[np.float64], weight: NDArray[np.float64], keep: NDArray[np.bool_]
) -> float:
    total = float(weight[keep].sum())
    return float((error[keep] * weight[keep]).sum() / total) if total > 0 else float("nan")
