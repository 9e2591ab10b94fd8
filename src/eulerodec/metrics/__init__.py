"""Measures of what a codec kept, in numpy.

Add one by adding a :class:`Measure` to :data:`MEASURES` in :mod:`.registry`.
"""

from .phase import phase_error
from .registry import MEASURES, METRICS, Measure, Metric, measure, missing, select, versions
from .spectral import log_mel
from .stft import spectrogram
from .waveform import si_sdr

__all__ = [
    "MEASURES",
    "METRICS",
    "Measure",
    "Metric",
    "log_mel",
    "measure",
    "missing",
    "phase_error",
    "select",
    "si_sdr",
    "spectrogram",
    "versions",
]
