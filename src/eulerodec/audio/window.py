"""A part of a file as a file of its own."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["Part", "Window"]


@dataclass(frozen=True)
class Part:
    """Bytes ``start`` to ``stop`` of a file, which hold at least so many samples.

    ``insert`` stands before byte ``insert_at``, though the file does not have it.
    """

    start: int
    stop: int
    least_samples: int = 0
    insert: bytes = b""
    insert_at: int = 0


class Window:
    """A part of a file as a file of its own, for a library in C.

    Errors of the disk cannot go through the library; :meth:`check` raises them afterwards.
    """

    def __init__(self, source: BinaryIO, part: Part) -> None:
        self._source, self._part, self._at = source, part, 0
        self._size = part.stop - part.start + len(part.insert)
        self._error: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        size = left if size < 0 else min(size, left)
        part, done = self._part, b""
        if part.insert:
            first = part.insert_at - part.start
            if self._at < first:
                done += self._take(part.start + self._at, min(size, first - self._at))
            behind = self._at + len(done) - first
            if behind < len(part.insert):
                done += part.insert[behind : behind + size - len(done)]
            behind = self._at + len(done) - len(part.insert)
            done += self._take(part.start + behind, size - len(done)) if len(done) < size else b""
        else:
            done = self._take(part.start + self._at, size)
        self._at += len(done)
        return done

    def _take(self, at: int, size: int) -> bytes:
        try:
            self._source.seek(at)
            return self._source.read(size)
        except OSError as error:
            self._error = error
            return b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def check(self) -> None:
        if self._error is not None:
            raise self._error
