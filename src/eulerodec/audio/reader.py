"""Audio files, standard input and binary file objects, read block by block."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from ..files import Source, is_pipe
from . import wav
from .checks import ClipCounter, check_sample_rate, check_samples
from .foreign import open_foreign
from .formats import FOREIGN_SUFFIXES, HEAD_BYTES, RAW_SUFFIXES, sniff
from .report import Report
from .sndfile import SoundReader, UnreadableError, survey
from .tags import Tags

__all__ = ["AudioReader", "open_reader", "read"]

_BLOCK_VALUES = 1 << 22  # values per read: 16 MiB, whatever length the header claims


class _Decoder(Protocol):
    sample_rate: int
    n_channels: int
    tags: Tags

    @property
    def n_samples(self) -> int | None: ...

    def blocks(self, size: int, start: int = 0) -> Iterator[NDArray[np.float32]]: ...


class AudioReader:
    """An open recording; :func:`open_reader` makes one. A context manager.

    Attributes:
        name: What messages call it.
        sample_rate: In Hz.
        n_channels: At least 1.
        n_samples: Per channel, or None if a pipe does not say (a live one).
        tags: Title and comment.
        n_clipped: Clipped samples of all channels so far, see :class:`ClipCounter`.
    """

    def __init__(self, decoder: _Decoder, report: Report, close: contextlib.ExitStack) -> None:
        self.name = report.name
        self.sample_rate = check_sample_rate(decoder.sample_rate, report.name)
        self.n_channels, self.n_samples = decoder.n_channels, decoder.n_samples
        self.tags = decoder.tags
        self.n_clipped = 0
        self._decoder, self._report, self._close = decoder, report, close

    @property
    def warnings(self) -> list[str]:
        """Every :class:`AudioWarning` so far, one line each."""
        return list(self._report.warnings)

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, unless it is a file object that was given."""
        self._close.close()

    def blocks(self, size: int | None = None, start: int = 0) -> Iterator[NDArray[np.float32]]:
        """All samples from ``start`` on, once.

        Args:
            size: Largest number of samples per channel of a block; about a second by default.
            start: The first sample. Files that state their length are not decoded before it.

        Yields:
            Samples float32 [C, n], 1 <= n <= ``size``, full scale 1.

        Raises:
            AudioError: for samples that are NaN, infinite or above 1000, and for a recording that
                ends too early.
        """
        size = self.sample_rate if size is None else size
        size = max(1, min(size, _BLOCK_VALUES // self.n_channels))
        clips = ClipCounter(self.n_channels)
        done = start
        for x in self._decoder.blocks(size, start):
            peak = check_samples(x, self.name, done)
            clips.add(x, peak)
            self.n_clipped = clips.n_clipped
            done += x.shape[1]
            yield x
        if clips.n_clipped:
            share = 100 * clips.n_clipped / clips.n_values
            self._report.note(
                f"the input is clipped: {clips.n_clipped} samples ({share:.3g} %) at full scale"
            )


def open_reader(source: Source, *, recover: bool = False) -> AudioReader:
    """Open a recording of any format that can be read here.

    WAV in a pipe is read as it arrives; other formats in a pipe go through a temporary file. Files
    that were joined end to end are read whole.

    Args:
        source: Path, ``-`` for standard input, or a binary file object.
        recover: Read what is there of a damaged or cut file, with an :class:`AudioWarning`.

    Raises:
        AudioError: for what is missing, empty, no audio, or cut short and not to be recovered.
        OSError: for a file that may not be read.
    """
    report = Report(_name(source), recover)
    with contextlib.ExitStack() as close:
        file, path, seekable = _open(source, report.name)
        if path is not None:
            close.callback(file.close)
        decoder = None
        if not seekable:
            taken = bytearray()
            header = wav.parse_header(file, taken)
            if header is not None and header.is_plain:
                decoder = wav.WavReader(file, header, None, report)
            else:
                file, path = close.enter_context(_spooled(taken, file)), None
        decoder = decoder or _decoder(file, path, report)
        opened = contextlib.ExitStack()
        reader = AudioReader(decoder, report, opened)
        opened.push(close.pop_all())
        return reader


def read(source: Source, *, recover: bool = False) -> tuple[NDArray[np.float32], int]:
    """Read all of a recording.

    Args:
        source: Path, ``-`` for standard input, or a binary file object.
        recover: Read what is there of a damaged or cut file, with an :class:`AudioWarning`.

    Returns:
        Samples float32 [C, N], full scale 1, and the sample rate in Hz.

    Raises:
        AudioError: as :func:`open_reader` and :meth:`AudioReader.blocks`.
        OSError: for a file that may not be read.
    """
    with open_reader(source, recover=recover) as reader:
        none = np.zeros((reader.n_channels, 0), np.float32)
        parts = list(reader.blocks(_BLOCK_VALUES))
        return np.concatenate([none, *parts], 1), reader.sample_rate


def _name(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return "standard input" if is_pipe(source) else os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "audio"


def _open(source: Source, name: str) -> tuple[BinaryIO, str | None, bool]:
    """A binary file, its path if it was opened here, and whether it can seek."""
    if not isinstance(source, str | os.PathLike):
        return source, None, source.seekable()
    if is_pipe(source):
        return sys.stdin.buffer, None, False
    try:
        mode = os.stat(source).st_mode
    except FileNotFoundError as error:
        raise AudioError(f"{name}: no such file") from error
    if stat.S_ISDIR(mode):
        raise AudioError(f"{name}: it is a directory, an audio file is needed")
    return open(source, "rb"), os.fspath(source), stat.S_ISREG(mode)


@contextlib.contextmanager
def _spooled(start: bytearray, source: BinaryIO) -> Iterator[BinaryIO]:
    """``start`` and the rest of a pipe as a temporary file."""
    with tempfile.TemporaryFile() as file:
        file.write(start)
        shutil.copyfileobj(source, file)
        yield file


def _decoder(file: BinaryIO, path: str | None, report: Report) -> _Decoder:
    """What reads a file that can seek."""
    if file.seek(0, io.SEEK_END) == 0:
        raise AudioError(f"{report.name}: the file is empty")
    file.seek(0)
    kind = sniff(file.read(HEAD_BYTES))
    suffix = os.path.splitext(report.name)[1].lower()
    if kind == "foreign":
        return open_foreign(file, path, report)
    if kind == "wav":
        parts = wav.find_parts(file, report)
        first = parts[0].header
        shape = first.sample_rate, first.n_channels
        if all(
            part.header.is_plain and (part.header.sample_rate, part.header.n_channels) == shape
            for part in parts
        ):
            return wav.WavReader(file, first, parts, report)
    try:
        return SoundReader(file, survey(file, kind, report), report)
    except UnreadableError:
        if kind in ("ogg", "wav", "caf") or suffix in FOREIGN_SUFFIXES:
            return open_foreign(file, path, report)
        if suffix in RAW_SUFFIXES:
            raise AudioError(
                f"{report.name}: raw samples have no header; say what they are:"
                f" ffmpeg -f s16le -ar 24000 -ac 1 -i {report.name} -f wav - |"
                " eulerodec encode - -o OUT.eul"
            ) from None
        raise
