"""Optional fields at the end of the header: metadata, decoder context, segments."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import BitstreamError
from .constants import FIELD, UNKNOWN

__all__ = ["Metadata", "Segment"]

TITLE = 1
COMMENT = 2
GAIN = 3
CONTEXT = 4
TABLES = 0x81  # of the entropy coder; there if and only if the payload coding is 1
SEGMENTS = 0x80  # must be understood: without it the audio would have the wrong start and length

MAX_TITLE = 255  # bytes of UTF-8
MAX_COMMENT = 4096
MAX_GAIN_DB = 127
DEFAULT_CONTEXT = (64, 32)  # frames; more than the 24 kHz models need
MAX_SEGMENTS = 2000  # fits in a header beside everything else

GAIN_VALUE = struct.Struct(">h")  # signed, 1/256 dB
CONTEXT_VALUE = struct.Struct(">HH")
SEGMENT_SIZE = 6 * 5

Fields = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a person may want to know of a file; nothing here changes how it is decoded.

    - ``title``: printable text, up to 255 bytes of UTF-8; empty if there is none
    - ``comment``: printable text and line feeds, up to 4096 bytes; empty if there is none
    - ``gain_db``: what a player may apply if asked to, -127 to 127 dB, kept to 1/256 dB

    Errors: :class:`BitstreamError` naming the field.
    """

    title: str = ""
    comment: str = ""
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        _check_text("title", self.title, MAX_TITLE, lines=False)
        _check_text("comment", self.comment, MAX_COMMENT, lines=True)
        if not -MAX_GAIN_DB <= self.gain_db <= MAX_GAIN_DB:  # NaN too
            raise BitstreamError(
                f"gain must be -{MAX_GAIN_DB} to {MAX_GAIN_DB} dB, not {self.gain_db}"
            )
        object.__setattr__(self, "gain_db", round(self.gain_db * 256) / 256)

    @property
    def gain(self) -> float:
        """``gain_db`` as a factor for samples."""
        return math.pow(10, self.gain_db / 20)


def pack_metadata(metadata: Metadata) -> Fields:
    """Header fields of what is not empty."""
    fields: list[tuple[int, bytes]] = []
    if metadata.title:
        fields.append((TITLE, metadata.title.encode()))
    if metadata.comment:
        fields.append((COMMENT, metadata.comment.encode()))
    if metadata.gain_db:
        fields.append((GAIN, GAIN_VALUE.pack(round(metadata.gain_db * 256))))
    return tuple(fields)


def parse_metadata(fields: Fields) -> Metadata:
    """Metadata of header fields; a value that breaks the rules counts as absent.

    A bad title is no reason to refuse audio, and a value that is not printable must not reach a
    terminal.
    """
    first = _first(fields)
    gain = first.get(GAIN, b"")
    gain_db = GAIN_VALUE.unpack(gain)[0] / 256 if len(gain) == GAIN_VALUE.size else 0.0
    return Metadata(
        title=_text(first.get(TITLE, b""), MAX_TITLE, lines=False),
        comment=_text(first.get(COMMENT, b""), MAX_COMMENT, lines=True),
        gain_db=gain_db if abs(gain_db) <= MAX_GAIN_DB else 0.0,
    )


def replace_fields(fields: Fields, tags: Iterable[int], new: Fields) -> Fields:
    """``fields`` with ``new`` in place of those that have one of ``tags``."""
    drop = set(tags)
    return new + tuple(field for field in fields if field[0] not in drop)


def parse_context(fields: Fields) -> tuple[int, int]:
    """Frames before and after a frame that its audio depends on, at most."""
    value = _first(fields).get(CONTEXT, b"")
    if len(value) != CONTEXT_VALUE.size:
        return DEFAULT_CONTEXT
    back, ahead = CONTEXT_VALUE.unpack(value)
    return back, ahead


def _first(fields: Fields) -> dict[int, bytes]:
    return dict(reversed(fields))


def _check_text(name: str, text: str, limit: int, *, lines: bool) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise BitstreamError(f"{name} is not text that UTF-8 can hold: {text!r}") from None
    if size > limit:
        raise BitstreamError(f"{name} of {size} bytes is too long, the limit is {limit}")
    if not _printable(text, lines):
        raise BitstreamError(f"{name} must be printable text: {text!r}")


def _printable(text: str, lines: bool) -> bool:
    return (text.replace("\n", "") if lines else text).isprintable()


def _text(value: bytes, limit: int, *, lines: bool) -> str:
    try:
        text = value.decode() if len(value) <= limit else ""
    except UnicodeDecodeError:
        return ""
    return text if _printable(text, lines) else ""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Frames that are decoded on their own, and the part of their audio that is kept.

    ``n_frames`` frames are decoded as if they were a file; of their audio at the model's rate the
    first ``n_decoded`` samples are used. At the model's rate, ``skip_samples`` of these are
    dropped and the next ``n_samples`` kept. At the input's rate, all of them are resampled, then
    ``skip_input_samples`` dropped and the next ``n_input_samples`` kept.
    """

    n_frames: int
    n_decoded: int
    skip_samples: int
    n_samples: int
    skip_input_samples: int
    n_input_samples: int

    def _values(self) -> tuple[int, ...]:
        return (
            self.n_frames,
            self.n_decoded,
            self.skip_samples,
            self.n_samples,
            self.skip_input_samples,
            self.n_input_samples,
        )

    def check(self, hop_length: int, sample_rate: int, input_sample_rate: int) -> None:
        """Errors: :class:`BitstreamError` for values that contradict each other."""
        values = self._values()
        if not all(isinstance(value, int) and 0 <= value < UNKNOWN for value in values):
            raise BitstreamError(f"a segment's counts must be 0 to {UNKNOWN - 1}: {values}")
        if not self.skip_samples + self.n_samples <= self.n_decoded <= self.n_frames * hop_length:
            raise BitstreamError(
                f"a segment of {self.n_frames} frames cannot give {self.n_samples} samples after"
                f" {self.skip_samples} of {self.n_decoded}"
            )
        slack = hop_length * input_sample_rate + sample_rate
        for own, other in (
            (self.skip_samples, self.skip_input_samples),
            (self.n_samples, self.n_input_samples),
        ):
            if abs(other * sample_rate - own * input_sample_rate) > slack:
                raise BitstreamError(
                    f"a segment's counts disagree: {other} at {input_sample_rate} Hz and {own} at"
                    f" {sample_rate} Hz are not the same duration"
                )

    def capped(self, n_frames: int, hop_length: int, rates: tuple[int, int]) -> Segment:
        """What is left of the segment when only its first ``n_frames`` frames are there."""
        if n_frames >= self.n_frames:
            return self
        sample_rate, input_rate = rates
        n_decoded = min(self.n_decoded, n_frames * hop_length)
        skip = min(self.skip_samples, n_decoded)
        skip_input, n_input = self.skip_input_samples, self.n_input_samples
        n_samples = min(self.n_samples, n_decoded - skip)
        if skip < self.skip_samples:
            skip_input = skip * input_rate // sample_rate
        if n_samples < self.n_samples:
            n_input = n_samples * input_rate // sample_rate
        return Segment(
            n_frames=n_frames,
            n_decoded=n_decoded,
            skip_samples=skip,
            n_samples=n_samples,
            skip_input_samples=skip_input,
            n_input_samples=n_input,
        )


def pack_segments(segments: tuple[Segment, ...]) -> bytes:
    """The header field of segments, nothing if there are none."""
    if not segments:
        return b""
    value = b"".join(
        number.to_bytes(5, "big") for segment in segments for number in segment._values()
    )
    return FIELD.pack(SEGMENTS, len(value)) + value


def parse_segments(value: bytes) -> tuple[Segment, ...]:
    """Segments of a header field; what they say is checked by :class:`StreamInfo`."""
    if not value or len(value) % SEGMENT_SIZE or len(value) > MAX_SEGMENTS * SEGMENT_SIZE:
        raise BitstreamError(f"header is damaged: {len(value)} bytes of segments")
    segments = []
    for at in range(0, len(value), SEGMENT_SIZE):
        part = value[at : at + SEGMENT_SIZE]
        numbers = [int.from_bytes(part[i : i + 5], "big") for i in range(0, SEGMENT_SIZE, 5)]
        segments.append(
            Segment(
                n_frames=numbers[0],
                n_decoded=numbers[1],
                skip_samples=numbers[2],
                n_samples=numbers[3],
                skip_input_samples=numbers[4],
                n_input_samples=numbers[5],
            )
        )
    return tuple(segments)
