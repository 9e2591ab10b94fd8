"""What a person may want to know of a file, and the optional fields of the header that hold it."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from ..errors import BitstreamError

__all__ = ["Metadata", "pack_metadata", "parse_metadata"]

TITLE = 1
COMMENT = 2
GAIN = 3

MAX_TITLE = 255  # bytes of UTF-8
MAX_COMMENT = 4096
MAX_GAIN_DB = 127

GAIN_VALUE = struct.Struct(">h")  # signed, 1/256 dB

Fields = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Title, comment and gain; nothing here changes how a file is decoded.

    Args:
        title: printable text, up to 255 bytes of UTF-8; empty if there is none.
        comment: printable text and line feeds, up to 4096 bytes; empty if there is none.
        gain_db: what a player may apply if asked to, -127 to 127 dB, kept to 1/256 dB.

    Raises:
        BitstreamError: a value breaks these rules.
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
    """Header fields, as (tag, value), of what is not empty."""
    fields: list[tuple[int, bytes]] = []
    if metadata.title:
        fields.append((TITLE, metadata.title.encode()))
    if metadata.comment:
        fields.append((COMMENT, metadata.comment.encode()))
    if metadata.gain_db:
        fields.append((GAIN, GAIN_VALUE.pack(round(metadata.gain_db * 256))))
    return tuple(fields)


def parse_metadata(fields: dict[int, bytes]) -> Metadata:
    """Metadata of header fields; a value that breaks the rules counts as absent.

    A bad title is no reason to refuse audio, and a value that is not printable must not reach a
    terminal.
    """
    gain = fields.get(GAIN, b"")
    gain_db = GAIN_VALUE.unpack(gain)[0] / 256 if len(gain) == GAIN_VALUE.size else 0.0
    return Metadata(
        title=_text(fields.get(TITLE, b""), MAX_TITLE, lines=False),
        comment=_text(fields.get(COMMENT, b""), MAX_COMMENT, lines=True),
        gain_db=gain_db if abs(gain_db) <= MAX_GAIN_DB else 0.0,
    )


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
