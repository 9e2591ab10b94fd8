"""Audio files and sample rates: read, write, resample.

Samples are float32 arrays [C, N] (channels, samples), full scale is -1 to 1, nothing is
normalised. What is wrong with a recording and does not stop it is an :class:`AudioWarning`.
"""

from ..errors import AudioWarning
from .checks import (
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    ClipCounter,
    check_finite,
    check_level,
    check_sample_rate,
    check_samples,
)
from .formats import AUDIO_SUFFIXES, check_eul_name
from .reader import AudioReader, open_reader, read
from .resample import Resampler, resample, resampled_length, sample_range
from .tags import Tags
from .writer import AudioWriter, open_writer, write

__all__ = [
    "AUDIO_SUFFIXES",
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "AudioReader",
    "AudioWarning",
    "AudioWriter",
    "ClipCounter",
    "Resampler",
    "Tags",
    "check_eul_name",
    "check_finite",
    "check_level",
    "check_sample_rate",
    "check_samples",
    "open_reader",
    "open_writer",
    "read",
    "resample",
    "resampled_length",
    "sample_range",
    "write",
]
