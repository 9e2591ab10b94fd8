"""Audio of other formats (M4A, MP4, WebM, WMA, ...): by PyAV, or by the ffmpeg program.

Neither is needed otherwise. Samples come block by block; the length is found by decoding twice,
since what a container says of it is an estimate.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from . import wav
from .report import Report
from .skip import without_first
from .tags import Tags
from .window import Part, Window

__all__ = ["open_foreign"]

_TOLERANCE_S = 0.5  # what a container says of its length may be wrong by this
_BLOCK = 1 << 16
_HEAD = 1 << 16
_ASF = bytes.fromhex("3026b2758e66cf11")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# Raw streams state no length; ffmpeg guesses one from the bit rate.
_ESTIMATED = frozenset(("aac", "ac3", "amr", "amrnb", "amrwb", "mp3"))


def open_foreign(source: BinaryIO, path: str | None, report: Report) -> _PyAvReader | _FfmpegReader:
    """A reader by what is installed.

    Args:
        source: A file that can seek.
        path: Its name, if it has one.
        report: Learns of what is missing.

    Raises:
        AudioError: if it cannot be read as audio, or there is neither PyAV nor ffmpeg.
    """
    has_av = importlib.util.find_spec("av") is not None
    if has_av or shutil.which("ffmpeg"):
        _check_whole(source, report)
        return _PyAvReader(source, report) if has_av else _FfmpegReader(source, path, report)
    given = path or "IN"
    target = os.path.splitext(os.path.basename(given))[0] + ".eul"
    raise AudioError(
        f"{report.name}: cannot be read as audio without PyAV or ffmpeg:"
        f" pip install 'eulerodec[formats]', or where there is an ffmpeg:"
        f" ffmpeg -i {given} -f wav - | eulerodec encode - -o {target}"
    )


def _check_whole(source: BinaryIO, report: Report) -> None:
    """Tell ``report`` of an MPEG-4 or WMA file that is cut short, or of several in one."""
    end = source.seek(0, io.SEEK_END)
    source.seek(0)
    head = source.read(_HEAD)
    if head[4:8] == b"ftyp":
        stop, kinds = _atoms(source, end)
    elif head.startswith(_ASF) and (at := head.find(_ASF_PROPERTIES)) > 0:
        # the properties: a name of 16 bytes, their size in 8, an identity in 16, the file's size
        size = int.from_bytes(head[at + 40 : at + 48], "little")
        stop, kinds = size or end, []
    else:
        return
    if kinds and b"moov" not in kinds:
        reason = "cut short: its index is missing" if stop > end else "it has no index"
        raise AudioError(f"{report.name}: cannot be read as audio: {reason}")
    if stop > end:
        report.missing(f"cut short: it should have {stop} bytes, {end} are there")
    elif stop < end:
        source.seek(stop)
        follows = source.read(16)
        if follows[:8] == head[:8] or follows[4:8] == b"ftyp":
            raise AudioError(
                f"{report.name}: another recording follows, which would be left out. Part them:"
                f" head -c {stop} IN > FIRST; tail -c +{stop + 1} IN > SECOND"
            )
        report.note(f"{end - stop} bytes behind its end are not read")


def _atoms(source: BinaryIO, end: int) -> tuple[int, list[bytes]]:
    """Where an MPEG-4 file ends by its header, and the kinds of its outermost atoms."""
    at, kinds = 0, []
    while at < end:
        source.seek(at)
        head = source.read(16)
        kind, size = head[4:8], int.from_bytes(head[:4], "big")
        if kinds and (kind == b"ftyp" or not kind.isalnum()):
            break
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        kinds.append(kind)
        at = at + size if size >= 8 else end  # 0: up to the end of the file
    return at, kinds


class _ForeignReader:
    """What both have in common: see :class:`eulerodec.audio.sndfile.SoundReader`."""

    sample_rate: int
    n_channels: int
    tags: Tags

    def __init__(self, report: Report) -> None:
        self._report = report

    def _count(self, stated_s: float | None) -> int:
        n_samples = sum(x.shape[1] for x in self.blocks(_BLOCK))
        got_s = n_samples / self.sample_rate
        if stated_s is not None and got_s < stated_s - _TOLERANCE_S:
            self._report.missing(
                f"cut short: it states {stated_s:.2f} s, {got_s:.2f} s can be read"
            )
        return n_samples

    def blocks(self, size: int, start: int = 0) -> Iterator[NDArray[np.float32]]:
        return without_first(self._all_blocks(size), start)

    def _all_blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        raise NotImplementedError

    def _unreadable(self, reason: str) -> AudioError:
        return AudioError(f"{self._report.name}: cannot be read as audio: {reason}")


class _PyAvReader(_ForeignReader):
    def __init__(self, source: BinaryIO, report: Report) -> None:
        super().__init__(report)
        self._source = source
        with self._open() as (container, stream):
            tags = {key.lower(): text for key, text in container.metadata.items()}
            stated = _stated_s(container, stream)
        self.tags = Tags(tags.get("title", ""), tags.get("comment", ""))
        # what the container says of the rate may be half of it (HE-AAC)
        for frame in self._frames():
            self.sample_rate, self.n_channels = frame.sample_rate, frame.layout.nb_channels
            break
        else:
            raise self._unreadable("no sound could be decoded")
        self.n_samples = self._count(stated)

    def _all_blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        for frame in self._frames():
            x = frame.to_ndarray()
            if (frame.sample_rate, len(x)) != (self.sample_rate, self.n_channels):
                raise self._unreadable("its sample rate or channels change on the way")
            for start in range(0, x.shape[1], size):
                yield np.ascontiguousarray(x[:, start : start + size], dtype=np.float32)

    def _frames(self) -> Iterator[Any]:
        import av
        from av.error import FFmpegError

        done_s = 0.0
        with self._open() as (container, stream):
            resampler = av.AudioResampler(format="fltp")  # rate and channels stay
            try:
                for frame in container.decode(stream):
                    for out in resampler.resample(frame):
                        done_s += out.samples / out.sample_rate
                        yield out
                yield from resampler.resample(None)
            except (FFmpegError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                self._report.missing(f"damaged behind {done_s:.2f} s: {reason}")

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        import av
        from av.error import FFmpegError

        size = self._source.seek(0, io.SEEK_END)
        window: Any = Window(self._source, Part(0, size))
        try:
            container = av.open(window, metadata_errors="replace")
        except (FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise self._unreadable(reason) from error
        with container:
            if not container.streams.audio:
                raise self._unreadable("it has no sound")
            yield container, container.streams.audio[0]


def _stated_s(container: Any, stream: Any) -> float | None:
    """Seconds of sound that a container states, None if it does not."""
    if container.format.name in _ESTIMATED:
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if len(container.streams) == 1 and container.duration is not None:
        return container.duration / 1e6
    return None


class _FfmpegReader(_ForeignReader):
    def __init__(self, source: BinaryIO, path: str | None, report: Report) -> None:
        super().__init__(report)
        self._source, self._path = source, path
        with self._open() as header:
            self.sample_rate, self.n_channels = header.sample_rate, header.n_channels
            self.tags = header.tags
        self.n_samples = self._count(self._stated_s())

    def _all_blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        with self._open() as header:
            pipe = wav.WavReader(self._pipe, header, None, self._report)
            yield from pipe.blocks(size)

    def _stated_s(self) -> float | None:
        with self._named() as path:
            command = ["ffmpeg", "-hide_banner", "-nostdin", "-i", f"file:{path}"]
            done = subprocess.run(command, capture_output=True, check=False)
        said = done.stderr.decode(errors="replace")
        duration = re.search(r"Duration: (\d+):(\d\d):(\d\d\.\d+)", said)
        kind = re.search(r"Input #0, (\w+)", said)
        if duration is None or said.count("Stream #0:") != 1:
            return None
        if kind is not None and kind[1] in _ESTIMATED:
            return None
        hours, minutes, seconds = duration.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)

    @contextlib.contextmanager
    def _named(self) -> Iterator[str]:
        """A name of the file, which ffmpeg needs: it seeks."""
        if self._path is not None:
            yield self._path
            return
        with tempfile.NamedTemporaryFile() as file:
            self._source.seek(0)
            shutil.copyfileobj(self._source, file)
            file.flush()
            yield file.name

    @contextlib.contextmanager
    def _open(self) -> Iterator[wav.WavHeader]:
        """A process that decodes into ``self._pipe``, which stands at the first sample."""
        command = ["ffmpeg", "-nostdin", "-v", "error", "-i"]
        convert = ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "-"]
        with self._named() as path, tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [*command, f"file:{path}", *convert], stdout=subprocess.PIPE, stderr=said
            )
            assert process.stdout is not None
            self._pipe: Any = process.stdout
            stopped = True
            try:
                header = wav.parse_header(self._pipe, bytearray())
                if header is None:
                    process.wait()
                    raise self._unreadable(_last_line(said))
                yield header
                # whoever stops early is not told what ffmpeg says of that
                stopped = bool(self._pipe.read(1))
            finally:
                if stopped:
                    process.kill()
                process.stdout.close()
                process.wait()
            reason = _last_line(said)
            if not stopped and (process.returncode or reason):
                self._report.note(f"damaged: ffmpeg says: {reason}")


def _last_line(said: Any) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return re.sub(r"^\[[^]]*\] ", "", last)  # the part of ffmpeg that says it
