"""Numbers of samples at the rate of the output."""

from __future__ import annotations

from .. import audio
from ..bitstream import StreamInfo

__all__ = ["output_length"]


def output_length(info: StreamInfo, sample_rate: int, n_samples: int, n_input_samples: int) -> int:
    """A number of samples at the rate of the output, from those at the file's two rates."""
    if sample_rate == info.input_sample_rate:
        return n_input_samples
    if sample_rate == info.sample_rate:
        return n_samples
    return audio.resampled_length(n_input_samples, info.input_sample_rate, sample_rate)
