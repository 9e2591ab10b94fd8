"""WAV: headers and chunks, samples as they arrive, and a writer for files and pipes.

The plain kinds (PCM of 8 to 32 bits, IEEE float) are read here, front to back, from files and pipes
alike; libsndfile reads the others. A program that writes WAV into a pipe cannot know the length:
then the size of the data is 0 or close to 2^31 or 2^32, and samples follow until the pipe ends. A
recorder that died leaves the same behind. Files over 4 GiB are RF64 (ITU-R BS.2088).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from .report import Report
from .skip import without_first
from .tags import Tags

__all__ = ["WavHeader", "WavPart", "WavReader", "WavWriter", "find_parts", "parse_header"]

_LIMIT = 0xFFFFFFFF - 4096  # bytes of samples a RIFF file can hold
_MOST_HEADER = 1 << 20  # bytes of chunks before the samples of a pipe
_MOST_TAGS = 1 << 16  # bytes of a chunk with tags
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_RIFF = (b"RIFF", b"RF64", b"BW64")
_DS64_SIZE = 28
_ID3V1_SIZE = 128


@dataclass(frozen=True)
class WavHeader:
    """What stands before the samples.

    Attributes:
        sample_rate: In Hz.
        n_channels: At least 1.
        kind: The format tag: 1 for integers, 3 for floats, others are not plain.
        bits: Of one sample.
        n_bytes: Of the samples that follow, or None if the header does not say.
        says_empty: The header says 0 bytes: true, or never filled in.
        tags: Title and comment.
    """

    sample_rate: int
    n_channels: int
    kind: int
    bits: int
    n_bytes: int | None
    says_empty: bool
    tags: Tags

    @property
    def is_plain(self) -> bool:
        """Whether the samples are integers or floats that this module reads."""
        return (self.kind == _PCM and self.bits in (8, 16, 24, 32)) or (
            self.kind == _FLOAT and self.bits in (32, 64)
        )

    @property
    def frame_size(self) -> int:
        """Bytes of one sample of all channels."""
        return self.n_channels * self.bits // 8

    @property
    def n_samples(self) -> int | None:
        """Samples per channel, or None if that is not known."""
        return None if self.n_bytes is None else self.n_bytes // self.frame_size


@dataclass(frozen=True)
class WavPart:
    """One WAV in a file.

    Attributes:
        header: What it says, tags that follow the samples included.
        start: Byte of the file where it begins.
        stop: Byte of the file where it ends.
        data: Byte of the file where its samples begin.
        n_bytes: Of its samples.
    """

    header: WavHeader
    start: int
    stop: int
    data: int
    n_bytes: int


def parse_header(source: BinaryIO, taken: bytearray | None) -> WavHeader | None:
    """Read up to the first sample.

    Args:
        source: Where the next byte is the first of the header.
        taken: For a pipe: gets every byte that was read, so that another reader can start over.
            None for a file, where chunks are skipped without reading them.

    Returns:
        The header, or None if there is none up to the samples.
    """
    n_read = 0

    def take(size: int) -> bytes:
        nonlocal n_read
        data = source.read(size) or b""
        n_read += len(data)
        if taken is not None:
            taken.extend(data)
        return data

    head = take(12)
    if head[:4] not in _RIFF or head[8:] != b"WAVE":
        return None
    form: tuple[int, int, int, int] | None = None
    long_size: int | None = None
    tags = Tags()
    while True:
        chunk = take(8)
        if len(chunk) < 8:
            return None
        kind, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if kind == b"data":
            break
        padded = size + (size & 1)
        if taken is None and padded > _MOST_TAGS:
            source.seek(padded, io.SEEK_CUR)
            continue
        if taken is not None and n_read + size > _MOST_HEADER:
            return None
        body = take(padded)
        if kind == b"fmt " and len(body) >= 16:
            tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
            if tag == _EXTENSIBLE and len(body) >= 26:
                tag = int.from_bytes(body[24:26], "little")
            form = tag, channels, rate, bits
        elif kind == b"ds64" and len(body) >= 16:
            long_size = int.from_bytes(body[8:16], "little")
        elif kind == b"LIST":
            tags = _info_tags(body) or tags
    if form is None or form[1] == 0:
        return None
    tag, channels, rate, bits = form
    if size == 0xFFFFFFFF and long_size:
        n_bytes: int | None = long_size
    else:
        n_bytes = None if size == 0 or _is_unknown(size) else size
    return WavHeader(rate, channels, tag, bits, n_bytes, size == 0, tags)


def _is_unknown(size: int) -> bool:
    """Sizes that programs write which cannot seek back (SoX: 0x7ffff000, ffmpeg: 0xffffffff)."""
    return 0x7FFF0000 <= size <= 0x80000000 or size >= 0xFFFF0000


def _info_tags(body: bytes) -> Tags | None:
    """Title and comment of a LIST chunk, None for a list of other things."""
    if body[:4] != b"INFO":
        return None
    found: dict[bytes, str] = {}
    at = 4
    while at + 8 <= len(body):
        size = int.from_bytes(body[at + 4 : at + 8], "little")
        raw = body[at + 8 : at + 8 + size].split(b"\0")[0]
        try:
            found[body[at : at + 4]] = raw.decode()
        except UnicodeDecodeError:
            found[body[at : at + 4]] = raw.decode("latin-1")
        at += 8 + size + (size & 1)
    return Tags(found.get(b"INAM", ""), found.get(b"ICMT", ""))


def find_parts(source: BinaryIO, report: Report) -> list[WavPart]:
    """All WAVs of a file that can seek: one, or several that were joined end to end.

    Args:
        source: The file.
        report: Learns of samples that are missing, and of bytes that are no part of a WAV.

    Raises:
        AudioError: for a file without samples, or one cut short, unless that may be.
    """
    end = source.seek(0, io.SEEK_END)
    parts: list[WavPart] = []
    start = 0
    while start < end:
        source.seek(start)
        header = parse_header(source, None)
        if header is None:
            if not parts:
                raise AudioError(f"{report.name}: cut short: a WAV header without samples")
            report.missing(f"cut short: another WAV begins at byte {start}, without samples")
            break
        parts.append(_part(source, header, start, end, report))
        start = parts[-1].stop
    return parts


def _part(source: BinaryIO, header: WavHeader, start: int, end: int, report: Report) -> WavPart:
    """The WAV of ``header``, behind which ``source`` stands, in a file of ``end`` bytes."""
    data = source.tell()
    there = end - data
    n_bytes, stop, tags = there, end, None
    if header.n_bytes is None:
        if header.says_empty:
            behind, other, tags = _chunks_behind(source, data, end)
            if not other:
                n_bytes, stop = 0, behind
            else:
                report.note("its header says 0 bytes of samples; all bytes up to the end are read")
    elif header.n_bytes > there:
        report.missing(
            f"cut short: its samples take {header.n_bytes} bytes, {there} of them are there"
        )
    else:
        behind, other, tags = _chunks_behind(source, data + header.n_bytes, end)
        if not other:
            n_bytes, stop = header.n_bytes, behind
        elif report.recover:
            report.note(f"its header says {header.n_bytes} bytes of samples, {there} are read")
        else:
            n_bytes = header.n_bytes
            report.note(
                f"{other} bytes behind the samples are not read: the header does not count them",
                recoverable=True,
            )
    return WavPart(replace(header, tags=tags or header.tags), start, stop, data, n_bytes)


def _chunks_behind(source: BinaryIO, at: int, end: int) -> tuple[int, int, Tags | None]:
    """Where the chunks from ``at`` on end, how many bytes follow that are none, and tags.

    They end where the file does or another WAV begins.
    """
    tags = None
    source.seek(at)
    if source.read(1) == b"\0" and at & 1:  # chunks begin at even bytes, in most files
        at += 1
    while at + 8 <= end:
        source.seek(at)
        chunk = source.read(8)
        kind, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if kind in _RIFF:
            return at, 0, tags
        if not (kind.isascii() and kind.decode().isprintable()) or at + 8 + size > end:
            is_id3 = kind[:3] == b"TAG" and end - at == _ID3V1_SIZE
            return end, 0 if is_id3 else end - at, tags
        if kind == b"LIST" and size <= _MOST_TAGS:
            tags = _info_tags(source.read(size)) or tags
        at += 8 + size + (size & 1)
    return end, 0, tags


class WavReader:
    """The samples of plain WAVs.

    Attributes:
        sample_rate: In Hz.
        n_channels: At least 1.
        n_samples: Per channel, or None if a pipe does not say.
        tags: Title and comment.
    """

    def __init__(
        self,
        source: BinaryIO,
        header: WavHeader,
        parts: list[WavPart] | None,
        report: Report,
    ) -> None:
        """``parts`` of a file that can seek, or None for a pipe that stands behind ``header``."""
        self.sample_rate, self.n_channels = header.sample_rate, header.n_channels
        self.tags = header.tags
        if parts is not None:
            self.n_samples = sum(part.n_bytes // part.header.frame_size for part in parts)
        else:  # a pipe that may be cut short promises nothing
            self.n_samples = None if report.recover else header.n_samples
        self._source, self._header, self._parts = source, header, parts
        self._report = report

    def blocks(self, size: int, start: int = 0) -> Iterator[NDArray[np.float32]]:
        """Samples [C, n], 1 <= n <= ``size``, from ``start`` on; from a pipe as they arrive."""
        if self._parts is None:
            return without_first(self._pipe_blocks(size), start)
        return self._file_blocks(size, start)

    def _file_blocks(self, size: int, start: int) -> Iterator[NDArray[np.float32]]:
        for part in self._parts or ():
            frame = part.header.frame_size
            n_samples = part.n_bytes // frame
            skipped = min(start, n_samples)
            start -= skipped
            at, left = part.data + skipped * frame, (n_samples - skipped) * frame
            while left:
                self._source.seek(at)
                data = self._source.read(min(size * frame, left))
                if len(data) % frame or not data:
                    raise AudioError(f"{self._report.name}: it became shorter while it was read")
                at, left = at + len(data), left - len(data)
                yield _samples(data, part.header)

    def _pipe_blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        read = getattr(self._source, "read1", self._source.read)  # what is there, without waiting
        frame, done, rest = self._header.frame_size, 0, b""
        n_bytes = self._header.n_bytes
        while True:
            want = size * frame - len(rest)
            if n_bytes is not None:
                want = min(want, n_bytes - done)
            data = read(want) if want else b""
            if not data:
                break
            done += len(data)
            data = rest + data
            whole = len(data) // frame * frame
            rest = data[whole:]
            if whole:
                yield _samples(data[:whole], self._header)
        if n_bytes is None:
            return
        if done < n_bytes:
            self._report.missing(
                f"cut short: its samples take {n_bytes} bytes, {done} of them are there"
            )
        elif self._riff_follows(n_bytes & 1):
            self._report.missing("another WAV follows in the pipe, which is not read")

    def _riff_follows(self, odd: int) -> bool:
        """Read the chunks behind the samples of a pipe; whether another WAV is among them."""
        head = self._source.read(8 + odd)[odd:]
        while len(head) == 8 and head[:4] not in _RIFF:
            size = int.from_bytes(head[4:], "little")
            left = size + (size & 1)
            while left and (data := self._source.read(min(left, 1 << 16))):
                left -= len(data)
            head = self._source.read(8)
        return head[:4] in _RIFF


def _samples(data: bytes, header: WavHeader) -> NDArray[np.float32]:
    """Bytes as float32 [C, n], full scale 1, as libsndfile scales them."""
    if header.kind == _FLOAT:
        flat = np.frombuffer(bytearray(data), f"<f{header.bits // 8}")  # may be written to
    elif header.bits == 8:  # unsigned
        flat = np.frombuffer(data, np.uint8) / 128.0 - 1.0
    elif header.bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        flat = wide.view("<i4")[:, 0] / 2.0**31
    else:
        flat = np.frombuffer(data, f"<i{header.bits // 8}") / 2.0 ** (header.bits - 1)
    return np.ascontiguousarray(flat.reshape(-1, header.n_channels).T, dtype=np.float32)


class WavWriter:
    """Writes a WAV front to back: the header at once, then samples as they come.

    What does not fit into a WAV of 4 GiB becomes an RF64, if the length is known or the sink can
    seek; in a pipe of unknown length the header gives no length.

    Attributes:
        n_samples: Per channel, written so far.
        n_clipped: Samples of all channels that were beyond full scale, and were clipped.
    """

    def __init__(
        self,
        sink: Any,
        sample_rate: int,
        n_channels: int,
        *,
        subtype: str = "PCM_16",
        n_samples: int | None = None,
        rewind: bool = False,
        tags: Tags | None = None,
    ) -> None:
        """Write the header.

        Args:
            sink: Binary file.
            sample_rate: In Hz.
            n_channels: At least 1.
            subtype: ``"PCM_16"`` (clipped to full scale) or ``"FLOAT"`` (32 bit, unchanged).
            n_samples: Per channel, or None if it is not known: the header then says so.
            rewind: The sink can seek, and :meth:`close` writes the true length into the header.
            tags: Title and comment.

        Raises:
            AudioError: for another ``subtype``.
        """
        if subtype not in ("PCM_16", "FLOAT"):
            raise AudioError(f"sample format {subtype!r} is not supported: PCM_16 or FLOAT")
        self.n_samples = self.n_clipped = 0
        self._sink, self._rewind = sink, rewind
        self._shape = sample_rate, n_channels, subtype == "FLOAT"
        self._width = n_channels * (4 if subtype == "FLOAT" else 2)
        self._info = _pack_info(tags or Tags())
        self._start = sink.tell() if rewind else 0
        sink.write(self._pack_header(n_samples))

    def write(self, x: NDArray[np.float32]) -> None:
        """The next samples, [C, n]."""
        self.n_samples += x.shape[1]
        if self._shape[2]:
            data = x.astype("<f4")
        else:
            data, n_clipped = to_int16(x)
            self.n_clipped += n_clipped
        self._sink.write(np.ascontiguousarray(data.T).tobytes())

    def flush(self) -> None:
        """Hand on what is buffered, so that a pipe does not wait."""
        self._sink.flush()

    def close(self) -> None:
        """With ``rewind`` the length goes into the header; the sink itself stays open."""
        if self._rewind:
            self._sink.seek(self._start)
            self._sink.write(self._pack_header(self.n_samples))
            self._sink.seek(0, io.SEEK_END)

    def _pack_header(self, n_samples: int | None) -> bytes:
        rate, channels, is_float = self._shape
        size = 0xFFFFFFFF if n_samples is None else n_samples * self._width
        large = n_samples is not None and size > _LIMIT
        form = (channels, rate, rate * self._width, self._width, self._width * 8 // channels)
        if is_float:  # formats other than PCM have an extension size and a fact chunk
            body = b"fmt " + struct.pack("<IHHIIHHH", 18, _FLOAT, *form, 0)
            body += b"fact" + struct.pack("<II", 4, min(n_samples or 0, 0xFFFFFFFF))
        else:
            body = b"fmt " + struct.pack("<IHHIIHH", 16, _PCM, *form)
        body += self._info
        whole = 4 + (8 + _DS64_SIZE) * (large or self._rewind) + len(body) + 8 + size
        body += b"data" + struct.pack("<I", 0xFFFFFFFF if large else size)
        if large:
            long = struct.pack("<IQQQI", _DS64_SIZE, whole, size, n_samples, 0)
            return b"RF64\xff\xff\xff\xffWAVEds64" + long + body
        if self._rewind:  # room for the sizes of an RF64 (EBU Tech 3306)
            body = b"JUNK" + struct.pack("<I", _DS64_SIZE) + bytes(_DS64_SIZE) + body
        return b"RIFF" + struct.pack("<I", min(whole, 0xFFFFFFFF)) + b"WAVE" + body


def to_int16(x: NDArray[np.float32]) -> tuple[NDArray[np.int16], int]:
    """Samples as 16-bit integers, clipped to full scale, and how many were beyond it."""
    scaled = np.rint(x * np.float32(32768))
    # +1 becomes 32767, the largest there is: that is rounding
    n_clipped = int(np.count_nonzero(np.abs(scaled) > 32768))
    return np.clip(scaled, -32768, 32767).astype("<i2"), n_clipped


def _pack_info(tags: Tags) -> bytes:
    """A LIST chunk with the tags, empty if there are none."""
    body = b""
    for kind, text in ((b"INAM", tags.title), (b"ICMT", tags.comment)):
        if text:
            data = text.encode() + b"\0"
            body += kind + struct.pack("<I", len(data)) + data + bytes(len(data) & 1)
    return b"LIST" + struct.pack("<I", 4 + len(body)) + b"INFO" + body if body else b""
