"""Audio files, standard output and binary file objects, written block by block."""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError, AudioWarning
from ..files import Sink, atomic_output, is_pipe
from .checks import check_finite, count_samples
from .formats import AUDIO_SUFFIXES
from .tags import Tags
from .wav import WavWriter, to_int16

__all__ = ["AudioWriter", "open_writer", "write"]


class AudioWriter(Protocol):
    """Takes samples.

    Attributes:
        n_samples: Per channel, written so far.
        n_clipped: Samples of all channels that were beyond full scale, and were clipped.
    """

    n_samples: int
    n_clipped: int

    def write(self, x: NDArray[np.float32]) -> None:
        """The next samples, [C, n]."""
        ...

    def flush(self) -> None:
        """Hand on what is buffered, so that a pipe does not wait."""
        ...

    def close(self) -> None:
        """Complete the header; the file itself stays open."""
        ...


@contextlib.contextmanager
def open_writer(
    target: Sink,
    sample_rate: int,
    n_channels: int,
    *,
    subtype: str = "PCM_16",
    n_samples: int | None = None,
    tags: Tags | None = None,
    make_folder: bool = False,
) -> Iterator[AudioWriter]:
    """Write a recording block by block: FLAC to a path that ends in ``.flac``, WAV to all else.

    A file appears when it is complete. A WAV over 4 GiB becomes an RF64. Samples that were clipped
    are told of at the end by an :class:`AudioWarning`.

    Args:
        target: Path, ``-`` for standard output, or a binary file object.
        sample_rate: In Hz.
        n_channels: At least 1.
        subtype: ``"PCM_16"`` (values beyond full scale are clipped; what was read from a 16-bit
            file is written back unchanged) or ``"FLOAT"`` (32 bit, nothing is changed; not FLAC).
        n_samples: Per channel, if that is known: a pipe's header cannot be corrected afterwards.
        tags: Title and comment.
        make_folder: The folder of the target may be made.

    Raises:
        AudioError: for a name or format that cannot be written.
        OSError: for the disk.
    """
    named = isinstance(target, str | os.PathLike)
    name = os.fspath(target) if named else getattr(target, "name", "audio")
    suffix = os.path.splitext(name)[1].lower() if named else ""
    if suffix in AUDIO_SUFFIXES - {".wav", ".flac"} | {".eul"}:
        raise AudioError(
            f"{name}: WAV and FLAC are written, so the name must end in .wav or .flac, not {suffix}"
        )
    if suffix == ".flac" and subtype != "PCM_16":
        raise AudioError(f"{name}: FLAC holds integers; 32-bit floats need a name in .wav")
    with atomic_output(target, make_folder=make_folder) as sink:
        if suffix == ".flac":
            writer: AudioWriter = _FlacWriter(sink, name, sample_rate, n_channels, tags or Tags())
        else:
            writer = WavWriter(
                sink,
                sample_rate,
                n_channels,
                subtype=subtype,
                n_samples=n_samples,
                rewind=n_samples is None and _can_seek(target, sink),
                tags=tags,
            )
        yield writer
        writer.close()
    if writer.n_clipped:
        share = 100 * writer.n_clipped / (writer.n_samples * n_channels)
        shown = "standard output" if named and is_pipe(name) else name
        text = f"{shown}: {count_samples(writer.n_clipped)} clipped ({share:.3g} %)"
        warnings.warn(text, AudioWarning, stacklevel=3)


def write(
    target: Sink,
    x: Any,
    sample_rate: int,
    *,
    subtype: str = "PCM_16",
    tags: Tags | None = None,
) -> None:
    """Write a recording.

    Args:
        target: Path, ``-`` for standard output, or a binary file object.
        x: Samples [C, N] or [N], full scale 1.
        sample_rate: In Hz.
        subtype: As for :func:`open_writer`.
        tags: Title and comment.

    Raises:
        AudioError: as for :func:`open_writer`, and for samples that are NaN or infinite.
        OSError: for the disk.
    """
    x = np.atleast_2d(np.asarray(x, dtype=np.float32))
    name = os.fspath(target) if isinstance(target, str | os.PathLike) else "audio"
    check_finite(x, name)
    channels, n_samples = x.shape
    with open_writer(
        target, sample_rate, channels, subtype=subtype, n_samples=n_samples, tags=tags
    ) as out:
        out.write(x)


def _can_seek(target: Sink, sink: Any) -> bool:
    """Whether the header can be written again; standard output is never rewound."""
    if not isinstance(target, str | os.PathLike):
        return sink.seekable()
    return not is_pipe(target) and stat.S_ISREG(os.fstat(sink.fileno()).st_mode)


class _FlacWriter:
    """16-bit FLAC by libsndfile, with the same integers as a WAV would have."""

    def __init__(self, sink: Any, name: str, sample_rate: int, n_channels: int, tags: Tags) -> None:
        import soundfile

        self.n_samples = self.n_clipped = 0
        self._name, self._sink = name, _SoundSink(sink)
        file: Any = self._sink  # an object of ours, which soundfile's types do not foresee
        try:
            self._sound = soundfile.SoundFile(
                file, "w", sample_rate, n_channels, "PCM_16", format="FLAC"
            )
        except (soundfile.LibsndfileError, ValueError) as error:
            self._sink.check()
            raise AudioError(
                f"{name}: FLAC cannot hold {n_channels} channels at {sample_rate} Hz"
            ) from error
        # libsndfile writes them with the first samples
        if tags.title:
            self._sound.title = tags.title
        if tags.comment:
            self._sound.comment = tags.comment

    def write(self, x: NDArray[np.float32]) -> None:
        data, n_clipped = to_int16(x)
        try:
            self._sound.write(np.ascontiguousarray(data.T))
        except AssertionError:  # fewer samples than there are were written
            self._sink.check()
            raise
        self.n_samples += x.shape[1]
        self.n_clipped += n_clipped

    def flush(self) -> None:
        """FLAC goes to files, where nobody waits."""

    def close(self) -> None:
        self._sound.close()
        self._sink.check()
        if self.n_samples == 0:  # libsndfile then writes nothing
            raise AudioError(f"{self._name}: a FLAC without samples cannot be written, a WAV can")


class _SoundSink:
    """A file for libsndfile, through which errors of the disk cannot go: :meth:`check` raises."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._error: OSError | None = None
        self.seek, self.tell = sink.seek, sink.tell

    def write(self, data: Any) -> int:
        try:
            return self._sink.write(data)
        except OSError as error:
            self._error = error
            return 0

    def check(self) -> None:
        if self._error is not None:
            raise self._error
