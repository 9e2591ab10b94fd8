"""A range coder in whole numbers (Martin 1979), for frequencies that sum to 2^16.

``low``, ``width`` and ``offset`` have 48 bits. The width is at least 2^40 whenever a symbol is
coded, so that the rounding of the division costs less than 2^-23 bit a symbol.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from ..errors import BitstreamError

__all__ = ["TOTAL", "RangeDecoder", "RangeEncoder"]

TOTAL_BITS = 16
TOTAL = 1 << TOTAL_BITS  # what the frequencies of a table sum to
TOP = 1 << 48
BOTTOM = 1 << 40
N_BYTES = 6


class RangeEncoder:
    """Symbols to bytes, less than two more than their information."""

    def __init__(self) -> None:
        self._low = 0
        self._width = TOP
        self._out = bytearray()

    def put(self, start: int, stop: int) -> None:
        """Code the symbol whose part of [0, 2^16) is [start, stop), which is not empty."""
        unit = self._width >> TOTAL_BITS
        self._low += unit * start
        width = unit * (stop - start)
        while width < BOTTOM:
            self._shift()
            width <<= 8
        self._width = width

    def finish(self) -> bytes:
        """All bytes. Zeros at their end are left out, a decoder finds zeros there."""
        self._low = -(-self._low // BOTTOM) * BOTTOM  # one more byte, as the width is that large
        self._shift()
        return bytes(self._out).rstrip(b"\0")

    def _shift(self) -> None:
        """Put out the top byte of ``low``, with a carry to the bytes before it."""
        out = self._out
        if self._low >= TOP:
            self._low -= TOP
            at = len(out) - 1
            while out[at] == 0xFF:
                out[at] = 0
                at -= 1
            out[at] += 1
        out.append(self._low >> 40)
        self._low = self._low % BOTTOM << 8


class RangeDecoder:
    """Bytes to symbols; after the end of the bytes there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)
        self._width = TOP
        self._offset = 0
        for _ in range(N_BYTES):
            self._offset = self._offset << 8 | next(self._bytes, 0)

    def get(self, starts: Sequence[int]) -> int:
        """The next symbol; ``starts``: where the part of each starts, rising, then 2^16.

        Errors: :class:`BitstreamError` for bytes that no encoder makes.
        """
        unit = self._width >> TOTAL_BITS
        place = self._offset // unit
        if place >= TOTAL:
            raise BitstreamError("the range coder's bytes are impossible")
        symbol = bisect_right(starts, place) - 1
        start = starts[symbol]
        self._offset -= unit * start
        width = unit * (starts[symbol + 1] - start)
        while width < BOTTOM:
            width <<= 8
            self._offset = self._offset << 8 | next(self._bytes, 0)
        self._width = width
        return symbol
