"""Files that libsndfile reads (package ``soundfile``), part by part.

libsndfile reads the first stream of a file and leaves out others without a word, as it does what
lies behind the end of a file that was cut short. So the parts are found first, see :func:`survey`,
and each is read through a window on the file.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from . import mpeg, ogg, wav
from .report import Report
from .skip import without_first
from .tags import Tags
from .window import Part, Window

if TYPE_CHECKING:
    import soundfile

__all__ = ["SoundReader", "UnreadableError", "survey"]

_EXACT = ("WAV", "WAVEX", "RF64", "FLAC", "AIFF", "W64", "CAF", "AU")  # state their true length
_UNKNOWN_FRAMES = 1 << 36  # FLAC's own limit; libsndfile says 2^63 - 1 where none is stated
_COUNT_BLOCK = 1 << 17
_RECOVER_BLOCK = 1024  # what is read before an error is lost with its block
_MP3_EDGES = 4 * 1152  # samples that encoder and decoder may leave out at both ends
# A FLAC stream: its name, and a first block that is STREAMINFO, of 34 bytes, the last or not.
_FLAC_STARTS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")


class UnreadableError(AudioError):
    """A file that libsndfile does not know."""


def survey(source: BinaryIO, kind: str, report: Report) -> list[Part]:
    """The parts of a file, as a decoder has to read them one by one.

    Args:
        source: A file that can seek.
        kind: As :func:`eulerodec.audio.formats.sniff` gives it.
        report: Learns of what is missing.

    Raises:
        AudioError: for a file that was cut short or is damaged, unless that may be.
    """
    end = source.seek(0, io.SEEK_END)
    if kind == "wav":
        return [Part(part.start, part.stop) for part in wav.find_parts(source, report)]
    if kind == "ogg":
        parts = [Part(*link) for link in ogg.find_links(source, report)]
    elif kind == "mp3":
        parts = [
            Part(
                part.start,
                part.stop,
                max(0, part.n_frames * part.frame_samples - _MP3_EDGES),
                part.length_frame(),
                part.first,
            )
            for part in mpeg.find_parts(source, report)
        ]
    elif kind == "flac":
        starts = [0, *_find(source, _FLAC_STARTS, 1)]
        parts = [Part(a, b) for a, b in zip(starts, [*starts[1:], end], strict=True)]
    else:
        parts = _by_size(source, kind, end, report)
    return parts or [Part(0, end)]


def _find(source: BinaryIO, patterns: tuple[bytes, ...], start: int) -> list[int]:
    """Where any of some patterns of one length begins, from ``start`` on."""
    found: list[int] = []
    overlap = len(patterns[0]) - 1
    source.seek(start)
    at, data = start, b""
    while chunk := source.read(1 << 20):
        data += chunk
        for pattern in patterns:
            i = data.find(pattern)
            while i >= 0:
                found.append(at + i)
                i = data.find(pattern, i + 1)
        at += max(len(data) - overlap, 0)
        data = data[-overlap:]
    return sorted(found)


def _by_size(source: BinaryIO, kind: str, end: int, report: Report) -> list[Part]:
    """Parts of a kind whose header states its size."""
    magic = _read_at(source, 0, 4)
    parts: list[Part] = []
    at = 0
    while (stop := _stated_end(source, kind, at, end)) is not None and stop > at:
        if stop > end:
            report.missing(f"cut short: it should have {stop} bytes, {end} are there")
        parts.append(Part(at, min(stop, end)))
        if stop & 1 and stop < end and _read_at(source, stop, 4) != magic:
            stop += 1  # a byte that makes the size even
        if stop >= end:
            break
        if _read_at(source, stop, 4) != magic:
            report.note(f"{end - stop} bytes behind its end are not read")
            break
        at = stop
    return parts


def _stated_end(source: BinaryIO, kind: str, start: int, end: int) -> int | None:
    """Where a file that begins at ``start`` ends by its header, None if that says nothing."""
    head = _read_at(source, start, 32)
    if kind == "aiff" and len(head) >= 8:
        return start + 8 + int.from_bytes(head[4:8], "big")
    if kind == "w64" and len(head) >= 24:
        return start + int.from_bytes(head[16:24], "little")
    if kind == "au" and len(head) >= 12:
        size = int.from_bytes(head[8:12], "big")
        return None if size == 0xFFFFFFFF else start + int.from_bytes(head[4:8], "big") + size
    if kind == "caf":
        at = start + 8
        while at < end and len(chunk := _read_at(source, at, 12)) == 12:
            size = int.from_bytes(chunk[4:], "big", signed=True)
            if chunk[:4] == b"caff":
                break
            if size < 0:  # data of a length that was not known
                return None
            at += 12 + size
        return at
    return None


def _read_at(source: BinaryIO, at: int, size: int) -> bytes:
    source.seek(at)
    return source.read(size)


class SoundReader:
    """The samples of all parts of a file.

    Attributes:
        sample_rate: In Hz.
        n_channels: At least 1.
        n_samples: Per channel.
        tags: Title and comment of the first part.
    """

    def __init__(self, source: BinaryIO, parts: list[Part], report: Report) -> None:
        """Open the first part, and count the samples where the header does not say.

        Raises:
            UnreadableError: for a file that libsndfile does not know.
            AudioError: for parts of different kinds.
        """
        self._source, self._parts, self._report = source, parts, report
        with self._open(parts[0]) as sound:
            self.sample_rate, self.n_channels = sound.samplerate, sound.channels
            self.tags = Tags(sound.title, sound.comment)
            self._exact = sound.format in _EXACT and sound.frames < _UNKNOWN_FRAMES
            frames = sound.frames
        for part in parts[1:]:
            with self._open(part) as sound:
                if (sound.samplerate, sound.channels) != (self.sample_rate, self.n_channels):
                    raise AudioError(
                        f"{report.name}: it is joined from parts with {self.sample_rate} and"
                        f" {sound.samplerate} Hz, {self.n_channels} and {sound.channels} channels;"
                        " make them one: ffmpeg -i IN -ar 48000 -ac 1 OUT.wav"
                    )
        if self._exact and len(parts) == 1 and not report.recover:
            self.n_samples = frames
        else:  # lengths of MP3 and Ogg are estimates, those of damaged files are wrong
            self.n_samples = sum(x.shape[1] for x in self.blocks(_COUNT_BLOCK))

    def blocks(self, size: int, start: int = 0) -> Iterator[NDArray[np.float32]]:
        """Samples [C, n], 1 <= n <= ``size``, from ``start`` on."""
        if self._exact and len(self._parts) == 1 and not self._report.recover:
            with self._open(self._parts[0]) as sound:
                yield from self._part_blocks(sound, self._parts[0], 0, size, start)
        else:
            yield from without_first(self._all_blocks(size), start)

    def _all_blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        size = min(size, _RECOVER_BLOCK) if self._report.recover else size
        for number, part in enumerate(self._parts):
            with self._open(part) as sound:
                yield from self._part_blocks(sound, part, number, size)

    def _part_blocks(
        self, sound: soundfile.SoundFile, part: Part, number: int, size: int, start: int = 0
    ) -> Iterator[NDArray[np.float32]]:
        import soundfile

        where = f" in part {number + 1} of {len(self._parts)}" if len(self._parts) > 1 else ""
        # the length in the header is only a claim: no more than that is allocated
        size = min(size, max(sound.frames, 1))
        done = min(start, sound.frames)
        if done:
            sound.seek(done)
        while True:
            try:
                x = sound.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                self._report.missing(
                    f"cut short or damaged behind {done / self.sample_rate:.2f} s{where}"
                )
                return
            if not len(x):
                break
            done += len(x)
            yield np.ascontiguousarray(x.T, dtype=np.float32)
        promised = sound.frames if self._exact and sound.frames < _UNKNOWN_FRAMES else 0
        promised = max(promised, part.least_samples)
        if done < promised:
            self._report.missing(
                f"cut short: the header promises {promised} samples{where}, the file has {done}"
            )

    @contextlib.contextmanager
    def _open(self, part: Part) -> Iterator[soundfile.SoundFile]:
        import soundfile

        window: Any = Window(self._source, part)
        try:
            sound = _forward_sound_file()(window)
        except soundfile.LibsndfileError as error:
            window.check()
            reason = str(error.error_string).strip().removeprefix("Error : ").rstrip(".")
            raise UnreadableError(
                f"{self._report.name}: cannot be read as audio: {reason}"
                " (WAV, FLAC, Ogg, MP3 and AIFF can)"
            ) from error
        with sound:
            yield sound
            window.check()


@functools.cache
def _forward_sound_file() -> type[soundfile.SoundFile]:
    """A SoundFile that is read from its start to its end.

    The one of the package seeks after every block, to where it is. In MP3 that loses what the next
    frames need of the last ones: wrong samples at every block. In FLAC of unknown length it fails.
    """
    import soundfile

    class ForwardSoundFile(soundfile.SoundFile):
        def seekable(self) -> bool:
            return False

    return ForwardSoundFile
