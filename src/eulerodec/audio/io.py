"""Audio files, read and written block by block, and what samples and rates may be.

Reading uses libsndfile (package ``soundfile``: WAV, FLAC, Ogg, MP3, AIFF and more), which loads on
first use.
"""

from __future__ import annotations

import contextlib
import io
import operator
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from ..files import PathLike, atomic_output, is_pipe
from . import wav

__all__ = [
    "AUDIO_SUFFIXES",
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "AudioReader",
    "check_finite",
    "check_level",
    "check_sample_rate",
    "open_output",
    "read",
    "write",
]

# 60 dB over full scale. Recordings in floats may go some 10 dB beyond it; what is that loud has
# another full scale: 16-bit integers that were only converted to floats, most of the time.
MAX_LEVEL = 1000.0

# A header may claim any rate; outside this range resampling it to the model's rate would only
# turn a damaged header into a huge array.
MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 768_000

#: File name endings taken as audio when a folder is searched.
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")
)

_BLOCK_VALUES = 1 << 22  # values per read: 16 MiB, whatever length the header claims
_EXACT = ("WAV", "WAVEX", "FLAC", "AIFF", "W64")  # formats that state their true length
_UNKNOWN_FRAMES = 1 << 36  # FLAC's own limit; libsndfile says 2^63 - 1 where none is stated


class AudioReader:
    """An audio file, or standard input for ``-``, read block after block.

    WAV in a pipe is read as it arrives; other formats in a pipe go through a temporary file.

    - ``sample_rate`` in Hz, ``n_channels``
    - ``n_samples`` per channel, None if the pipe does not say (a live one)

    Errors, here and in :meth:`blocks`: :class:`AudioError` for a file that is missing, empty, no
    audio, cut short, or holds samples that are NaN, infinite or above 1000;
    ``OSError`` for one that may not be read.
    """

    def __init__(self, path: PathLike) -> None:
        self.name = "standard input" if is_pipe(path) else os.fspath(path)
        self._header: wav.WavHeader | None = None
        self._close = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            on_error.push(self._close.__exit__)
            self._open(path)
            on_error.pop_all()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._close.close()

    def blocks(self, size: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Samples float32 [C, n], 1 <= n <= ``size`` (by default about a second), to the end."""
        size = self.sample_rate if size is None else size
        size = max(1, min(size, _BLOCK_VALUES // self.n_channels))
        done = 0
        for x in self._live_blocks(size) if self._header else self._file_blocks(size):
            check_finite(x, self.name, done)
            check_level(x, self.name)
            done += x.shape[1]
            yield x

    def _open(self, path: PathLike) -> None:
        self._source, seekable = _open(path, self.name)
        if self._source is not sys.stdin.buffer:
            self._close.callback(self._source.close)
        if not seekable:
            taken = bytearray()
            self._header = wav.parse_header(self._source, taken)
            if self._header is not None:
                self.sample_rate = check_sample_rate(self._header.sample_rate, self.name)
                self.n_channels = self._header.n_channels
                self.n_samples = self._header.n_samples
                return
            self._source = self._close.enter_context(_spooled(taken, self._source))
        if self._source.seek(0, io.SEEK_END) == 0:
            raise AudioError(f"{self.name}: the file is empty")
        self._source.seek(0)
        self._open_file()

    def _open_file(self) -> None:
        import soundfile

        with self._readable():
            _check_wav_complete(self._source, self.name)
            self._sound = self._close.enter_context(soundfile.SoundFile(self._source))
            self.sample_rate = check_sample_rate(self._sound.samplerate, self.name)
            self.n_channels = self._sound.channels
            claimed = self._sound.frames
            if claimed >= _UNKNOWN_FRAMES:
                raise AudioError(f"{self.name}: the file states no length; convert it to WAV")
            if self._sound.format not in _EXACT:  # MP3 and Ogg lengths are estimates
                claimed = sum(x.shape[1] for x in self._sound_blocks(_BLOCK_VALUES // 32))
                self._sound.seek(0)
            self.n_samples = claimed

    def _live_blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        assert self._header is not None
        return wav.read_blocks(self._source, self._header, size, self.name)

    def _file_blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        done = 0
        with self._readable():
            for x in self._sound_blocks(size):
                done += x.shape[1]
                yield x
        if self._sound.format in _EXACT and done < (self.n_samples or 0):
            raise AudioError(
                f"{self.name}: cut short: the header promises {self.n_samples} samples,"
                f" the file has {done}"
            )

    def _sound_blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        # the length in the header is only a claim: no more than that is allocated
        size = min(size, max(self._sound.frames, 1))
        while len(x := self._sound.read(size, dtype="float32", always_2d=True)):
            yield np.ascontiguousarray(x.T, dtype=np.float32)

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """What libsndfile says, as an error of ours."""
        import soundfile

        try:
            yield
        except soundfile.LibsndfileError as error:
            reason = str(error.error_string).strip().removeprefix("Error : ").rstrip(".")
            raise AudioError(
                f"{self.name}: cannot be read as audio: {reason} (WAV, FLAC, Ogg, MP3 and AIFF can)"
            ) from error


def read(path: PathLike) -> tuple[NDArray[np.float32], int]:
    """Read all of an audio file, or of standard input for ``-``.

    Returns the samples [C, N], float32, and the sample rate in Hz. Errors: as for
    :class:`AudioReader`.
    """
    with AudioReader(path) as source:
        none = np.zeros((source.n_channels, 0), np.float32)
        parts = list(source.blocks(_BLOCK_VALUES))
        return np.concatenate([none, *parts], 1), source.sample_rate


@contextlib.contextmanager
def open_output(
    path: PathLike,
    sample_rate: int,
    n_channels: int,
    *,
    subtype: str = "PCM_16",
    n_samples: int | None = None,
) -> Iterator[wav.WavWriter]:
    """A WAV file to write block by block, or WAV bytes to standard output for ``-``.

    ``subtype``: ``"PCM_16"`` (values beyond full scale are clipped; what :func:`read` gave for a
    16-bit file is written back unchanged) or ``"FLOAT"`` (32 bit, nothing is changed).
    ``n_samples`` if it is known: a pipe's header cannot be corrected afterwards. The file appears
    when it is complete. Errors: :class:`AudioError` for a name that cannot be written, ``OSError``
    for the disk.
    """
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix in AUDIO_SUFFIXES - {".wav"}:
        raise AudioError(f"{name}: only WAV is written, so the name must end in .wav, not {suffix}")
    with atomic_output(path) as sink:
        regular = not is_pipe(path) and stat.S_ISREG(os.fstat(sink.fileno()).st_mode)
        writer = wav.WavWriter(
            sink,
            sample_rate,
            n_channels,
            subtype=subtype,
            n_samples=n_samples,
            rewind=regular and n_samples is None,
            name=name,
        )
        yield writer
        writer.close()


def write(path: PathLike, x: Any, sample_rate: int, *, subtype: str = "PCM_16") -> None:
    """Write samples [C, N] or [N], full scale -1 to 1, see :func:`open_output`.

    Errors: as there, and :class:`AudioError` for samples that are NaN or infinite.
    """
    x = np.atleast_2d(np.asarray(x, dtype=np.float32))
    check_finite(x, os.fspath(path))
    channels, n_samples = x.shape
    with open_output(path, sample_rate, channels, subtype=subtype, n_samples=n_samples) as out:
        out.write(x)


def check_finite(x: NDArray[Any], name: str, start: int = 0) -> None:
    """Raise :class:`AudioError` that names the first sample of ``x`` [C, N] that is NaN or inf.

    ``start``: the number of the first sample of ``x``.
    """
    finite = np.isfinite(x)
    if not finite.all():
        # The first in time, whichever channel.
        sample, channel = (int(i) for i in np.argwhere(~finite.T)[0])
        raise AudioError(
            f"{name}: {int((~finite).sum())} samples are NaN or infinite,"
            f" the first is sample {start + sample} of channel {channel}"
        )


def check_level(x: NDArray[Any], name: str) -> None:
    """Raise :class:`AudioError` for finite samples that cannot have full scale 1."""
    largest = max(float(x.max()), -float(x.min())) if x.size else 0.0
    if largest > MAX_LEVEL:
        raise AudioError(
            f"{name}: the largest sample is {largest:g}, but full scale is 1"
            " (divide 16-bit integers by 32768)"
        )


def check_sample_rate(sample_rate: object, name: str = "audio") -> int:
    """``sample_rate`` as an int in Hz, or :class:`AudioError`."""
    try:
        rate = operator.index(sample_rate)  # type: ignore[arg-type]
    except TypeError:
        if not (isinstance(sample_rate, float) and sample_rate.is_integer()):
            raise AudioError(f"{name}: sample rate {sample_rate!r} is no whole number") from None
        rate = int(sample_rate)
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {rate} Hz is outside {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        )
    return rate


def _open(path: PathLike, name: str) -> tuple[BinaryIO, bool]:
    """A binary file, and whether it is a regular one, which can seek."""
    if is_pipe(path):
        return sys.stdin.buffer, False
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise AudioError(f"{name}: no such file") from error
    if stat.S_ISDIR(mode):
        raise AudioError(f"{name}: it is a directory, an audio file is needed")
    return open(path, "rb"), stat.S_ISREG(mode)


@contextlib.contextmanager
def _spooled(start: bytearray, source: BinaryIO) -> Iterator[BinaryIO]:
    """``start`` and the rest of a pipe as a temporary file."""
    with tempfile.TemporaryFile() as file:
        file.write(start)
        shutil.copyfileobj(source, file)
        yield file


def _check_wav_complete(source: BinaryIO, name: str) -> None:
    """Raise :class:`AudioError` for a WAV whose data chunk claims more bytes than there are.

    libsndfile reads such a file without a word, as if the shorter length had been meant.
    """
    size = source.seek(0, io.SEEK_END)
    source.seek(0)
    head = source.read(12)
    try:
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return
        position = 12
        while position + 8 <= size:
            source.seek(position)
            chunk = source.read(8)
            length = int.from_bytes(chunk[4:8], "little")
            position += 8
            if chunk[:4] == b"data":
                if position + length > size and length < wav.UNKNOWN_LENGTH:
                    raise AudioError(
                        f"{name}: cut short: its samples take {length} bytes,"
                        f" {size - position} of them are there"
                    )
                return
            position += length + (length & 1)
        raise AudioError(f"{name}: cut short: a WAV header without samples")
    finally:
        source.seek(0)
