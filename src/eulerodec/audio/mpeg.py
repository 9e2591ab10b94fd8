"""MP3: the frames of a file, its parts, and what of it is missing (ISO/IEC 11172-3, 13818-3).

Files that were joined end to end have headers (ID3 tags, Xing frames) in the middle; decoders stop
at the length that the first one states.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from .report import Report

__all__ = ["Mp3Part", "find_parts"]

_KBPS = {  # (MPEG 1, layer): by index
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)  # of MPEG 1; 2 has half of it, 2.5 a quarter
_CHUNK = 1 << 20
_LOOK = 64  # bytes that hold a header and what tells a frame without sound


@dataclass
class Mp3Part:
    """Frames that were made together.

    Attributes:
        start: First byte, tags included.
        stop: Byte behind the last.
        first: Byte where the first frame begins.
        header: Of the first frame.
        n_frames: Frames with sound.
        frame_samples: Samples per channel of a frame.
        stated: Frames that the part says it has, or None.
    """

    start: int
    stop: int
    n_frames: int = 0
    frame_samples: int = 1152
    stated: int | None = None
    first: int = 0
    header: bytes = b""

    def length_frame(self) -> bytes:
        """A frame without sound that states the length, if no frame of the part does.

        Decoders estimate the length of what has none by the size of the first frames, and leave
        out the rest.
        """
        if self.stated is not None:
            return b""
        # no checksum, no padding, and the first bit rate of which a frame is long enough
        for index in range(1, 15):
            head = bytes((0xFF, self.header[1] | 1, (index << 4) | (self.header[2] & 0x0C)))
            head += self.header[3:4]
            frame = _frame(head)
            if frame is not None and frame.size >= frame.tag_at + 12:
                body = head + bytes(frame.tag_at - 4) + b"Xing\0\0\0\x01"
                return (body + self.n_frames.to_bytes(4, "big")).ljust(frame.size, b"\0")
        return b""


@dataclass(frozen=True)
class _Frame:
    size: int
    kind: tuple[int, int, int]  # version, layer, sample rate: of one part all the same
    samples: int
    tag_at: int  # where a Xing frame says so


def find_parts(source: BinaryIO, report: Report) -> list[Mp3Part]:
    """The parts of an MP3 file: one, or several that were joined.

    Args:
        source: A file that can seek.
        report: Learns of frames that are missing and of bytes that are none.

    Returns:
        The parts; none if there is no frame that this module understands.

    Raises:
        AudioError: for frames that are missing, unless that may be.
    """
    view = _View(source)
    parts: list[Mp3Part] = []
    part, kind, at, skipped = Mp3Part(0, 0), None, 0, 0
    while at < view.size:
        head = view.at(at, _LOOK)
        tag = _tag_size(head, view.size - at)
        frame = None if tag else _frame(head)
        if frame is not None and kind is None and not _continues(view, at, frame):
            frame = None
        if frame is not None and kind not in (None, frame.kind):
            # another stream, or a few bytes in between that look like a frame
            frame = frame if _continues(view, at, frame) else None
        stated = None if frame is None else _stated_frames(head, frame)
        full = part.stated is not None and part.n_frames >= part.stated
        if part.n_frames and (
            head[:3] == b"ID3"
            or (frame is not None and (stated is not None or full or frame.kind != kind))
        ):
            parts.append(part)
            part, kind = Mp3Part(at, at), None
        if tag:
            at += tag
            continue
        if frame is None:
            skipped += 1 if part.n_frames else 0
            at = view.find_sync(at + 1)
            continue
        if at + frame.size > view.size:
            report.missing(f"cut short: its last frame, at byte {at} of {view.size}, is not whole")
            break
        if skipped:
            report.note(f"bytes before byte {at} are no MP3 frames and were skipped")
            skipped = 0
        if kind is None:
            part.first, part.header = at, head[:4]
        kind = frame.kind
        part.frame_samples = frame.samples
        if stated is None:
            part.n_frames += 1
        else:
            part.stated = stated or None
        at = part.stop = at + frame.size
    parts += [part] if part.n_frames else []
    for part in parts:
        if part.stated is not None and part.n_frames < part.stated:
            report.missing(f"cut short: it states {part.stated} frames, {part.n_frames} are there")
    return parts


class _View:
    """Bytes of a file by position, read in large pieces."""

    def __init__(self, source: BinaryIO) -> None:
        self.size = source.seek(0, io.SEEK_END)
        self._source, self._start, self._data = source, 0, b""

    def at(self, start: int, size: int) -> bytes:
        offset = start - self._start
        if offset < 0 or offset + size > len(self._data):
            self._source.seek(start)
            self._start, self._data, offset = start, self._source.read(_CHUNK), 0
        return self._data[offset : offset + size]

    def find_sync(self, start: int) -> int:
        """Where the next frame or tag may begin, the end of the file if there is none."""
        while start < self.size:
            data = self.at(start, min(4096, self.size - start))
            found = [i for i in map(data.find, (b"\xff", b"ID3", b"TAG", b"APETAGEX")) if i >= 0]
            if found:
                return start + min(found)
            start += max(len(data) - 7, 1)
        return self.size


def _tag_size(head: bytes, left: int) -> int:
    """Bytes of the tag that ``head`` begins with, 0 if it is none."""
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = (head[6] << 21) | (head[7] << 14) | (head[8] << 7) | head[9]
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:3] == b"TAG" and left >= 128:
        return 128
    if head[:8] == b"APETAGEX" and len(head) >= 32:
        is_header = head[23] & 0x20  # bit 29 of the flags; a footer ends what has no header
        return 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    return 0


def _frame(head: bytes) -> _Frame | None:
    """The frame that ``head`` begins with, None for anything else and for free bit rates."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = (head[1] >> 3) & 3, 4 - ((head[1] >> 1) & 3)
    index, rate_index = head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or layer == 4 or index in (0, 15) or rate_index == 3:
        return None
    is_1 = version == 3
    rate = _RATES[rate_index] // (1 if is_1 else 2 if version == 2 else 4)
    bps, padding = 1000 * _KBPS[is_1, layer][index], (head[2] >> 1) & 1
    samples = 384 if layer == 1 else 1152 if layer == 2 or is_1 else 576
    slot = 4 if layer == 1 else 1  # bytes
    size = (samples // (8 * slot) * bps // rate + padding) * slot
    mono = head[3] >> 6 == 3
    side = (17 if mono else 32) if is_1 else (9 if mono else 17)
    return _Frame(size, (version, layer, rate), samples, 4 + side)


def _continues(view: _View, at: int, frame: _Frame) -> bool:
    """Whether another frame of the same kind, a tag or the end follows."""
    behind = view.at(at + frame.size, _LOOK)
    following = _frame(behind)
    if following is not None:
        return following.kind == frame.kind
    return not behind or _tag_size(behind, view.size - at - frame.size) > 0


def _stated_frames(head: bytes, frame: _Frame) -> int | None:
    """Frames that a Xing or VBRI frame states, 0 if it does not, None for a frame with sound."""
    xing = head[frame.tag_at : frame.tag_at + 12]
    if xing[:4] in (b"Xing", b"Info"):
        return int.from_bytes(xing[8:12], "big") if xing[7] & 1 else 0
    if head[36:40] == b"VBRI":
        return int.from_bytes(head[50:54], "big")
    return None
