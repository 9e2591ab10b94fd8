"""Range coder: symbols to bytes that may be cut anywhere, and back.

That of ``constriction.stream.queue`` (a state of 64 bits, words of 32 bits, frequencies of 24 bits)
in whole numbers of Python, which is fast enough: a second of audio is some thousand symbols, and a
symbol takes a microsecond or two. ``docs/bitstream.md`` specifies it.
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["RangeDecoder", "RangeEncoder", "Starts"]

BITS = 24  # of the frequencies
LEAST = 1 << 32  # a width below it is followed by a word
LOW_BITS = (1 << 64) - 1
COARSE_BITS = BITS - 8


class Starts(NamedTuple):
    """Where each of n symbols starts in 2^24, as the range coder needs it.

    Attributes:
        starts: ``[n + 1]``, the last one is 2^24.
        coarse: ``[257]``, the first symbol to look at for a place in each 256th of 2^24. With it a
            search touches two lines of memory and not a dozen.
    """

    starts: array[int]
    coarse: array[int]

    @classmethod
    def of(cls, counts: NDArray[Any]) -> Starts:
        """From frequencies less one ``[n]`` whose symbols share 2^16."""
        n = counts.size
        ends = np.cumsum(counts.astype(np.int64) + 1) * ((1 << BITS) - n) >> 16
        starts = np.append(0, ends + np.arange(1, n + 1))
        coarse = np.searchsorted(starts, np.arange(257) << COARSE_BITS, "right")
        return cls(array("I", starts.tolist()), array("I", coarse.tolist()))


FLAT = Starts.of(np.full(256, 255))


class RangeEncoder:
    """Narrows an interval of numbers with each symbol; any number inside tells all of them."""

    def __init__(self) -> None:
        self._words: list[int] = []  # of the lower end, and 64 bits more:
        self._low, self._width = 0, LOW_BITS  # a bit above them still has to be carried

    def write(self, symbols: Iterable[int], tables: Iterable[Starts], n_bytes: int) -> bool:
        """Write symbols until ``n_bytes`` are settled, that is the same whatever follows.

        Returns:
            Whether they are; if not, the symbols ended before.
        """
        words, low, width = self._words, self._low, self._width
        n_words, is_settled = -(-n_bytes // 4), False
        for symbol, (starts, _) in zip(symbols, tables, strict=True):
            unit, start = width >> BITS, starts[symbol]
            low += unit * start
            width = unit * (starts[symbol + 1] - start)
            if width < LEAST:
                if low > LOW_BITS:
                    _add_one(words)
                words.append(low >> 32 & 0xFFFFFFFF)
                low, width = low << 32 & LOW_BITS, width << 32
            if len(words) >= n_words and low + width <= LOW_BITS + 1:
                is_settled = True
                break
        self._low, self._width = low, width
        return is_settled

    def settled(self, n_bytes: int) -> bytes:
        """``n_bytes`` that :meth:`write` found settled."""
        return np.array(self._words, ">u4").tobytes()[:n_bytes]

    def finish(self) -> bytes:
        """The fewest bytes that tell all symbols, whatever follows; nothing can be written then."""
        low, width, before = self._whole(), self._width, len(self._words)
        self.write([128] * 8, [FLAT] * 8, 1 << 32)  # a number in the middle, far from both ends
        middle, n_more = self._whole(), 32 * (len(self._words) - before)
        low, end = low << n_more, low + width << n_more
        cut = (end - low).bit_length() // 8 * 8  # bits that may be anything
        while (middle >> cut) << cut < low or ((middle >> cut) + 1) << cut > end:
            cut -= 8
        return (middle >> cut).to_bytes((32 * len(self._words) + 64 - cut) // 8, "big")

    def _whole(self) -> int:
        """The lower end as one number."""
        return (int.from_bytes(self.settled(4 * len(self._words)), "big") << 64) + self._low


def _add_one(words: list[int]) -> None:
    """Carry into words that are written."""
    at = len(words) - 1
    while words[at] == 0xFFFFFFFF:
        words[at] = 0
        at -= 1
    words[at] += 1


class RangeDecoder:
    """Reads the symbols on which all continuations of some bytes agree.

    Followed by zeros without end, the bytes are the least of the numbers that begin so, followed by
    ones the greatest: where both give the same symbol, so does every number between.
    """

    def __init__(self, payload: bytes) -> None:
        missing = -len(payload) % 4
        words = np.frombuffer(payload + bytes(missing), ">u4").tolist()
        gaps = [0] * len(words)  # from the least to the greatest
        if missing:
            gaps[-1] = (1 << 8 * missing) - 1
        pairs = itertools.chain(zip(words, gaps, strict=True), itertools.repeat((0, 0xFFFFFFFF)))
        (first, first_gap), (second, second_gap) = next(pairs), next(pairs)
        self._pairs = pairs
        self._least = first << 32 | second  # above the lower end of the encoder's interval
        self._gap = first_gap << 32 | second_gap
        self._width = LOW_BITS

    def read(self, tables: Iterable[Starts]) -> list[int]:
        """A symbol for each table, or fewer: then nothing more can be read."""
        least, gap, width, pairs = self._least, self._gap, self._width, self._pairs
        symbols: list[int] = []
        for starts, coarse in tables:
            unit = width >> BITS
            place = least // unit
            if place >> BITS:  # no encoder made these bytes
                break
            part = place >> COARSE_BITS
            symbol = bisect_right(starts, place, coarse[part], coarse[part + 1]) - 1
            start, stop = unit * starts[symbol], unit * starts[symbol + 1]
            if least + gap >= stop:
                break
            symbols.append(symbol)
            least, width = least - start, stop - start
            if width < LEAST:
                word, more = next(pairs)
                least, gap, width = least << 32 | word, gap << 32 | more, width << 32
        self._least, self._gap, self._width = least, gap, width
        return symbols
