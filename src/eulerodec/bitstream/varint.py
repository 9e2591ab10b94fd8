"""Whole numbers in as few bytes as they need, and a cursor that reads them from a header."""

from __future__ import annotations

from ..errors import BitstreamError

__all__ = ["Cursor", "pack_varint", "parse_varint"]

MAX_BYTES = 6  # 42 bits: every count of the format


def pack_varint(number: int) -> bytes:
    """LEB128: 7 bits a byte, the lowest first; the top bit says that more follow."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def parse_varint(data: bytes, at: int = 0) -> tuple[int, int] | None:
    """A number at ``at`` and the place after it; ``None`` if it does not end within 6 bytes."""
    number = 0
    for i, byte in enumerate(data[at : at + MAX_BYTES]):
        number |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return number, at + i + 1
    return None


class Cursor:
    """Reads the body of a header from front to back.

    Raises:
        BitstreamError: the body ends too early.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) < size:
            raise BitstreamError("the header is damaged: it ends inside a field")
        self._at += size
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        found = parse_varint(self._data, self._at)
        if found is None:
            raise BitstreamError("the header is damaged: a number has no end")
        number, self._at = found
        return number
