"""Look-ahead over a binary file object that may be a pipe: never more held than was asked for."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["ReadableBytes", "Source"]


class ReadableBytes(Protocol):
    """Anything with a ``read`` for bytes: files, pipes, BytesIO."""

    def read(self, size: int, /) -> bytes | None: ...


class Source:
    """A file with a look-ahead buffer: ``position`` in it, ``consumed`` bytes in all, seeks or not.

    Positions count from where the file stood at first, so that a stream may lie inside a file.
    """

    def __init__(self, fileobj: ReadableBytes) -> None:
        self.file: Any = fileobj
        self._buffer = bytearray()
        self.position = self.consumed = 0
        can_seek = getattr(fileobj, "seekable", None)
        self.seekable: bool = bool(can_seek and can_seek())
        self._base: int = self.file.tell() if self.seekable else 0

    def seek(self, position: int) -> None:
        """Go to a position; only if ``seekable``."""
        self.file.seek(self._base + position)
        self._buffer.clear()
        self.position = position

    def size(self) -> int:
        """Bytes from the first to the last of the file; only if ``seekable``."""
        end = self.file.seek(0, 2) - self._base
        self.file.seek(self._base + self.position + len(self._buffer))
        return end

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes without consuming them; fewer only at the end of the file."""
        while len(self._buffer) < size:
            # Exactly what is missing: asking a live pipe for more would wait for the next packet.
            chunk = self.file.read(size - len(self._buffer))
            if not chunk:
                break
            self._buffer += chunk
        return bytes(self._buffer[:size])

    def skip(self, size: int) -> int:
        """Consume bytes that were peeked at; returns how many there were."""
        size = min(size, len(self._buffer))
        del self._buffer[:size]
        self.position += size
        self.consumed += size
        return size

    def take(self, size: int) -> bytes:
        """Consume and return ``size`` bytes; fewer only at the end of the file."""
        data = self.peek(size)
        self.skip(size)
        return data

    def skip_to(self, byte: int) -> int:
        """Consume bytes up to the next occurrence of ``byte``, or all; returns how many."""
        skipped = 0
        while self.peek(1):
            at = self._buffer.find(byte)
            skipped += self.skip(len(self._buffer) if at < 0 else at)
            if at >= 0:
                break
            self.peek(4096)
        return skipped
