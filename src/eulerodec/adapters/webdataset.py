"""Decoders for WebDataset: fields of a shard to samples or codes.

>>> dataset = webdataset.WebDataset("shards-{00..99}.tar").decode(samples)  # doctest: +SKIP
>>> for item in dataset:  # doctest: +SKIP
...     wav, sample_rate = item["eul"]
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import audio, read
from ..codec import Codec, Encoded

__all__ = ["codes", "samples"]

_EUL = ".eul"


def samples(key: str, data: bytes, *, codec: Codec | None = None) -> tuple[Tensor, int] | None:
    """The audio of an ``.eul`` field, or of one of an audio format (``.wav``, ``.flac``, ...).

    Args:
        key: name of the field with a dot before it; its last part tells the format.
        data: of the field.
        codec: decodes ``.eul`` fields; give another than the default with ``functools.partial``.

    Returns:
        Float32 ``[C, N]`` and the sample rate in Hz; None for other fields, which leaves them to
        other decoders.

    Raises:
        AudioError, BitstreamError, WeightsError: as for :func:`eulerodec.read`.
    """
    suffix = _suffix(key)
    if suffix != _EUL and suffix not in audio.AUDIO_SUFFIXES:
        return None
    wav, sample_rate = read(data, codec=codec)
    return torch.from_numpy(wav), sample_rate


def codes(key: str, data: bytes) -> Tensor | None:
    """The codes int64 ``[C, K, T]`` of an ``.eul`` field that was encoded with ``n_codebooks``.

    No weights are needed. Arguments as for :func:`samples`.

    Returns:
        The codes; None for other fields.

    Raises:
        BitstreamError: a damaged file.
        ConfigError: a file that was encoded with a bitrate.
    """
    return Encoded.from_bytes(data).codes if _suffix(key) == _EUL else None


def _suffix(key: str) -> str:
    """The last part of a name; the whole name may be one (``.eul``)."""
    return "." + key.rpartition(".")[2].lower()
