"""Finding sound packets in a stream of bytes that nobody vouches for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .constants import CRC_SIZE, END_HEAD, PACKET, SYNC
from .format import checksum
from .header import StreamInfo
from .source import Source
from .varint import MAX_BYTES, parse_varint

__all__ = ["BadPacketError", "PacketScanner", "SoundPacket"]


class BadPacketError(Exception):
    """No sound packet at the front of the stream; ``cut``: because the stream ends."""

    def __init__(self, reason: str, *, cut: bool = False) -> None:
        super().__init__(reason)
        self.cut = cut


@dataclass(frozen=True)
class SoundPacket:
    """A packet whose checksum is right, of ``size`` bytes in all.

    ``n_frames`` is 0 for the end packet; it then has ``counts`` (``n_samples`` and
    ``n_input_samples``) if the header left them open.
    """

    n_frames: int
    index: int
    size: int
    payload: bytes
    counts: tuple[int, int] | None = None


class PacketScanner:
    """Looks at the packet at the front of ``source``, and searches for one after damage."""

    def __init__(self, source: Source, info: StreamInfo) -> None:
        self._source = source
        self._info = info
        self._checked = 0  # bytes that went through the checksum while searching

    def head(self) -> tuple[int, int, int] | None:
        """Frames, index and size in bytes of the data packet in front, unchecked.

        ``None`` if there is no data packet that could be one of this stream.
        """
        data = self._source.peek(PACKET.size)
        if len(data) < PACKET.size or data[0] != SYNC or data[1] == 0:
            return None
        _, n_frames, index, size, _ = PACKET.unpack(data)
        return None if self._problem(n_frames, size) else (n_frames, index, PACKET.size + size)

    def front(self) -> SoundPacket:
        """The packet at the front, which stays there.

        Raises:
            BadPacketError: there is none, or it is damaged.
        """
        head = self._source.peek(END_HEAD.size + CRC_SIZE)
        if len(head) < END_HEAD.size + CRC_SIZE:
            raise BadPacketError("the end marker is missing", cut=True)
        if head[0] != SYNC:
            raise BadPacketError("no packet starts where one should")
        return self._end() if head[1] == 0 else self._data()

    def _data(self) -> SoundPacket:
        head = self._source.peek(PACKET.size)
        if len(head) < PACKET.size:
            raise BadPacketError("a packet is not complete", cut=True)
        _, n_frames, index, size, crc = PACKET.unpack(head)
        if problem := self._problem(n_frames, size):
            raise BadPacketError(problem)
        data = self._source.peek(PACKET.size + size)
        if len(data) < PACKET.size + size:
            raise BadPacketError("a packet is not complete", cut=True)
        payload = data[PACKET.size :]
        if checksum(head[:-CRC_SIZE], payload) != crc:
            raise BadPacketError("its checksum is wrong")
        return SoundPacket(n_frames, index, len(data), payload)

    def _problem(self, n_frames: int, size: int) -> str | None:
        info = self._info
        if n_frames > info.frames_per_packet:
            return f"it claims {n_frames} frames, a packet has {info.frames_per_packet}"
        if info.n_codebooks is not None and size != info.payload_size(n_frames):
            return f"its size, {size} bytes, is impossible"
        return None

    def _end(self) -> SoundPacket:
        is_open = self._info.n_samples is None
        data = self._source.peek(END_HEAD.size + CRC_SIZE)
        at, counts = END_HEAD.size, []
        for _ in range(2 * is_open):
            # One byte after the other: a live pipe may have nothing after the end marker.
            while (found := parse_varint(data, at)) is None:
                if len(data) - at >= MAX_BYTES:
                    raise BadPacketError("the end marker's counts are damaged")
                longer = self._source.peek(len(data) + 1)
                if len(longer) == len(data):
                    raise BadPacketError("the end marker is not complete", cut=True)
                data = longer
            counts.append(found[0])
            at = found[1]
        data = self._source.peek(at + CRC_SIZE)
        if len(data) < at + CRC_SIZE:
            raise BadPacketError("the end marker is not complete", cut=True)
        if checksum(data[:at]) != data[at:]:
            raise BadPacketError("the end marker's checksum is wrong")
        known = (counts[0], counts[1]) if is_open else None
        return SoundPacket(0, data[2], len(data), b"", known)

    def search(self, accept: Callable[[SoundPacket, int], bool]) -> int | None:
        """Skip to the next sound packet that ``accept(packet, bytes skipped)`` takes.

        Returns:
            The number of bytes skipped; ``None`` if there is no such packet. The work is bounded:
            a file made to look like a packet at every byte must not cost a checksum at each.
        """
        skipped = self._source.skip(1)
        while True:
            skipped += self._source.skip_to(SYNC)
            head = self._source.peek(END_HEAD.size + CRC_SIZE)
            if len(head) < END_HEAD.size + CRC_SIZE:
                self._source.skip(len(head))
                return None
            if self._checked > 8 * self._source.position + (1 << 20):
                return None
            self._checked += 0 if head[1] == 0 else int.from_bytes(head[3:5], "big")
            try:
                packet = self.front()
            except BadPacketError:
                pass
            else:
                if accept(packet, skipped):
                    return skipped
            skipped += self._source.skip(1)
