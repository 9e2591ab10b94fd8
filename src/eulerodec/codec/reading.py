"""Audio and ``.eul`` files alike as samples: one function for loaders of data sets."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..bitstream import MAGIC, EulReader
from ..errors import AudioError, ConfigError
from ..files import Source, is_path, naming, open_input
from .api import Codec
from .encoded import Seconds, open_range
from .segments import FileDecoder
from .streaming import file_block_frames

__all__ = ["read"]

Samples = NDArray[np.float32]


def read(
    source: Source | bytes | bytearray | memoryview,
    *,
    offset_s: Seconds = 0,
    duration_s: Seconds | None = None,
    codec: Codec | None = None,
) -> tuple[Samples, int]:
    """Read a recording, or a part of it, from an audio file or an ``.eul`` file.

    Only what is asked for is decoded of ``.eul`` files and of audio whose header says its length
    (WAV, FLAC, AIFF, ...). Other audio (MP3, Ogg, M4A, ...) is decoded from its start.

    Args:
        source: a path, ``-`` for standard input, the bytes of a file, or a binary file object,
            which is read from its start.
        offset_s: where to begin, in seconds: at the nearest sample.
        duration_s: how much to read, in seconds: as many samples as are nearest to it, but none
            beyond the end. By default all that is left.
        codec: decodes ``.eul`` files; by default one with the bundled weights, loaded once.

    Returns:
        Samples float32 ``[C, N]``, full scale 1, and their rate in Hz; of ``.eul`` files that of
        the recording that was coded.

    Raises:
        AudioError: no such file, no audio, damaged audio, or a part that has nothing of it.
        BitstreamError: the same of an ``.eul`` file.
        ConfigError: times that are no numbers, or negative.
        WeightsError: an ``.eul`` file made with other codes than those of ``codec``.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    with open_input(source, "an audio or .eul file", AudioError, seek=True) as file:
        file.seek(0)
        is_eul = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        if is_eul:
            with naming(source):
                return _read_eul(file, codec or _bundled(), offset_s, duration_s)
        # a path says more than an open file: its ending counts, and programs can open it
        named = is_path(source) and os.path.isfile(source)
        return _read_audio(source if named else file, offset_s, duration_s)


def _read_eul(
    file: BinaryIO, codec: Codec, offset_s: Seconds, duration_s: Seconds | None
) -> tuple[Samples, int]:
    reader = EulReader(file)
    codec.check_stream(reader.info)
    rate = reader.info.input_sample_rate
    start, stop = _range(offset_s, duration_s, rate)
    whole = start == 0 and stop is None
    info, packets = reader.info, reader.packets()
    if not whole:
        end = None if stop is None else Fraction(stop, rate)
        info, packets = open_range(reader, Fraction(start, rate), end)
    decoder = FileDecoder(codec.model, info, rate, file_block_frames(info.n_channels))
    parts = [decoder.push([packet]).numpy() for packet in packets]
    if whole:
        info = reader.info  # its counts are known now
    parts.append(decoder.finish(info).numpy())
    return np.concatenate(parts, 1), rate


def _read_audio(
    source: Source, offset_s: Seconds, duration_s: Seconds | None
) -> tuple[Samples, int]:
    with audio.open_reader(source) as reader:
        rate, total = reader.sample_rate, reader.n_samples
        assert total is not None  # of a file that can seek
        start, stop = _range(offset_s, duration_s, rate)
        asked = max(start, total) if stop is None else stop
        stop = min(asked, total)
        if not (start < stop or start == asked == total == 0):
            raise AudioError(
                f"{reader.name}: {start / rate:.3f} s to {asked / rate:.3f} s has nothing of the"
                f" file, it is {total / rate:.3f} s long"
            )
        parts = [np.zeros((reader.n_channels, 0), np.float32)]
        blocks = reader.blocks(start=start)
        if stop < total:  # else the reader also looks at what is behind the last sample
            blocks = _first(blocks, stop - start)
        parts += blocks
        return np.concatenate(parts, 1), rate


def _first(blocks: Iterator[Samples], n_samples: int) -> Iterator[Samples]:
    """The first samples of blocks [C, n], no more than so many."""
    for x in blocks:
        yield x[:, :n_samples]
        n_samples -= x.shape[1]
        if n_samples <= 0:
            return


def _range(
    offset_s: Seconds, duration_s: Seconds | None, sample_rate: int
) -> tuple[int, int | None]:
    """First sample and end; the length depends on the duration alone."""
    start, n_samples = audio.sample_range(offset_s, duration_s, sample_rate)
    if start < 0 or (n_samples or 0) < 0:
        raise ConfigError(f"times must not be negative: {offset_s} s, for {duration_s} s")
    return start, None if n_samples is None else start + n_samples


@functools.cache
def _bundled() -> Codec:
    return Codec.from_pretrained()
