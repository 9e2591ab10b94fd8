"""Audio files and sample rates: read, write, resample.

Samples are float32 arrays [C, N] (channels, samples), full scale is -1 to 1, nothing is
normalised.
"""

from .io import (
    AUDIO_SUFFIXES,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    AudioReader,
    check_finite,
    check_level,
    check_sample_rate,
    open_output,
    read,
    write,
)
from .resample import Resampler, resample, resampled_length, sample_range

__all__ = [
    "AUDIO_SUFFIXES",
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "AudioReader",
    "Resampler",
    "check_finite",
    "check_level",
    "check_sample_rate",
    "open_output",
    "read",
    "resample",
    "resampled_length",
    "sample_range",
    "write",
]
