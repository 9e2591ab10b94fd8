"""Waveforms to padded batches."""

from __future__ import annotations

from transformers import EncodecFeatureExtractor

__all__ = ["EuleroDecFeatureExtractor"]


class EuleroDecFeatureExtractor(EncodecFeatureExtractor):
    """Waveforms to ``input_values [B, 1, N]`` and ``padding_mask [B, N]``, as EnCodec's does.

    The audio has to have the model's sample rate (``eulerodec.audio.resample``), one channel, and
    full scale 1; nothing is normalised.
    """
