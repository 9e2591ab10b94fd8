"""Reading ``.eul`` files, packet by packet, without trust in anything that they claim."""

from __future__ import annotations

import bisect
import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ..errors import BitstreamError
from .constants import MAX_INDEX, PACKET
from .format import read_header
from .records import Damage, EulFile, Packet
from .scanner import BadPacketError, PacketScanner, SoundPacket
from .source import ReadableBytes, Source

__all__ = ["EulReader", "open_reader", "read"]

MAX_LOST = 64  # packets that may be missing, besides twice as many as could be there


@contextlib.contextmanager
def open_reader(
    source: str | os.PathLike[str] | bytes | ReadableBytes, *, recover: bool = False
) -> Iterator[EulReader]:
    """An :class:`EulReader` of a path, of bytes, or of a binary file object.

    A file that is opened here is closed when the block ends.
    """
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            yield EulReader(file, recover=recover)
    elif isinstance(source, bytes | bytearray | memoryview):
        yield EulReader(io.BytesIO(source), recover=recover)
    else:
        yield EulReader(source, recover=recover)


def read(
    source: str | os.PathLike[str] | bytes | ReadableBytes, *, recover: bool = False
) -> EulFile:
    """A whole file in memory; arguments as for :func:`open_reader`.

    Raises:
        BitstreamError: the file is damaged (with ``recover``: its header is).
    """
    with open_reader(source, recover=recover) as reader:
        packets = list(reader.packets())
        return EulFile(reader.info, packets, reader.damage)


class EulReader:
    """Reads the header on construction, then one packet at a time; memory is one packet.

    ``info`` is the header; once the last packet is read it holds the sample counts of what could be
    read. Until then its counts are only a claim: do not allocate by them.

    A file that can seek is read from any frame on with :meth:`packets_between`, which looks at the
    heads of the packets before it only; :meth:`scan` gives the length of the whole file. An
    iterator from before either must not be used after it.

    Args:
        fileobj: any binary file object, also one that cannot seek.
        recover: go on after damage. Lost packets then come without a payload (``Packet.lost``), so
            that time is kept, and each problem is added to ``damage``. A damaged header is always
            an error.

    Raises:
        BitstreamError: the file is damaged; one line that says where.
        OSError: that of the file.
    """

    def __init__(self, fileobj: ReadableBytes, *, recover: bool = False) -> None:
        self._source = Source(fileobj)
        self.info = self._header = read_header(self._source)
        self._timeline = self._header.timeline
        self._scanner = PacketScanner(self._source, self._header)
        self._recover = recover
        self.damage: list[Damage] = []
        self._noted: set[Damage] = set()
        self._data_start = self._source.position
        self._starts = [(self._data_start, 0)]  # position, first frame: of packet 0, 1, ...
        self._restart(0)

    @property
    def bytes_read(self) -> int:
        """Bytes consumed so far, without those that were passed over; the size of a whole file."""
        return self._source.consumed

    @property
    def lost_s(self) -> float:
        """Seconds of audio that are lost, in all damage that was found so far."""
        return sum(damage.lost_s for damage in self.damage)

    def packets(self) -> Iterator[Packet]:
        """The packets that are left, in order; a single pass over the file."""
        return self._stream

    def packets_between(self, start: int, stop: int) -> Iterator[Packet]:
        """The packets that hold the frames ``start`` to ``stop - 1``, whole.

        Raises:
            BitstreamError: no such range, a pipe that would have to go back, the file ends before
                ``stop``, or damage in what is needed.
        """
        if not 0 <= start <= stop:
            raise BitstreamError(f"frames {start} to {stop} are no range")
        if start == stop:
            return
        if self._source.seekable:
            self._walk(start)
            at = bisect.bisect_right(self._starts, start, key=lambda known: known[1]) - 1
            self._restart(at)
        elif start < self.n_frames:
            raise BitstreamError("the input is a pipe and cannot go back: save it to a file first")
        for packet in self._stream:
            if packet.stop_frame > start:
                yield packet
            if packet.stop_frame >= stop:
                return
        raise BitstreamError(f"frame {stop - 1} is after the end, there are {self.n_frames}")

    def scan(self) -> int:
        """Frames of the whole file; ``info`` then has its sample counts.

        Only for files that can seek; the place of reading is the start afterwards. With
        ``recover``, a file with damage in its heads is read as a whole.
        """
        if not self._source.seekable:
            raise BitstreamError("the input is a pipe and cannot seek: save it to a file first")
        if not self._scan_heads():
            self._source.seek(0)
            other = EulReader(self._source.file, recover=self._recover)
            for _ in other.packets():
                pass
            for damage in other.damage:
                self._note(damage)
            self.info = other.info
            found = other.n_frames
        else:
            found = self._starts[-1][1]
        self._restart(0)
        return found

    def _scan_heads(self) -> bool:
        """Whether the heads lead to a sound end; ``info`` then has its counts."""
        self._walk(None)
        position, n_frames = self._starts[-1]
        self._source.seek(position)
        try:
            end = self._scanner.front()
        except BadPacketError:
            return False
        same = end.n_frames == 0 and end.index == (len(self._starts) - 1) % MAX_INDEX
        if not same or position + end.size != self._source.size():
            return False
        info = self._header if end.counts is None else self._header.with_counts(*end.counts)
        if info.timeline.check_length(n_frames):
            return False
        self.info = info.capped(n_frames)
        return True

    def _walk(self, frame: int | None) -> None:
        """Follow the heads of the packets, unchecked, up to that of ``frame`` or as far as it goes.

        ``None``: to the end.
        """
        size = self._source.size()
        while frame is None or self._starts[-1][1] <= frame:
            position, start = self._starts[-1]
            self._source.seek(position)
            head = self._scanner.head()
            if head is None or head[1] != (len(self._starts) - 1) % MAX_INDEX:
                return
            n_frames, _, n_bytes = head
            if not self._fits(start, n_frames) or position + n_bytes > size:
                return
            self._starts.append((position + n_bytes, start + n_frames))

    def _restart(self, index: int) -> None:
        """Read on from packet ``index``, whose start is known."""
        position, start = self._starts[index]
        if self._source.position != position:
            self._source.seek(position)
        self._expected, self.n_frames = index, start
        self._short = index > 0 and start - self._starts[index - 1][1] < self._full
        self._stream = self._read_packets()

    def _note(self, damage: Damage) -> None:
        """Record damage; parts of a file that are read again do not count again."""
        if damage not in self._noted:
            self._noted.add(damage)
            self.damage.append(damage)

    # --- one packet after the other

    @property
    def _full(self) -> int:
        return self._header.frames_per_packet

    def _read_packets(self) -> Iterator[Packet]:
        while True:
            skipped = 0
            try:
                packet = self._next()
            except BadPacketError as bad:
                if not self._recover:
                    raise self._error(bad) from None
                found = self._scanner.search(lambda p, n: self._gap(p, n) is not None)
                if found is None:
                    self._note_cut(bad)
                    return
                skipped = found
                packet = self._scanner.front()
            yield from self._fill_gap(packet, skipped)
            self._source.skip(packet.size)
            if packet.n_frames == 0:
                self._finish(packet)
                return
            self._short = packet.n_frames < self._full
            yield self._packet(packet.n_frames, packet.payload)

    def _next(self) -> SoundPacket:
        """The packet at the front, if it may come next; else :class:`BadPacketError`."""
        packet = self._scanner.front()
        gap = self._gap(packet, 0)
        if gap is None or (gap and not self._recover):
            what = "packet" if packet.n_frames else "the end marker with number"
            raise BadPacketError(f"{what} {packet.index} stands in its place")
        return packet

    def _packet(self, n_frames: int, payload: bytes | None) -> Packet:
        packet = Packet(self._expected, self.n_frames, n_frames, payload)
        self._expected += 1
        self.n_frames += n_frames
        return packet

    def _fits(self, start: int, n_frames: int) -> bool:
        """Whether a packet of ``n_frames`` may start at frame ``start``."""
        end = self._timeline.segment_end(start)
        return n_frames <= self._full if end is None else n_frames == min(self._full, end - start)

    def _gap(self, packet: SoundPacket, skipped: int) -> list[int] | None:
        """Frames of the packets that are lost before this one; ``None``: it cannot come next."""
        if packet.n_frames and self._short and not self._timeline.segments:
            return None  # only the last packet may be short
        count = (packet.index - self._expected) % MAX_INDEX
        if count or skipped:
            # Indices count modulo 256; the bytes between tell how often they went around.
            guess = skipped / self._mean_size(self._source.position - skipped)
            count += MAX_INDEX * round((guess - count) / MAX_INDEX)
        # Frames in place of lost packets must stay in proportion to the bytes that were read.
        most = 2 * (self._source.position // PACKET.size) + MAX_LOST
        if count < 0 or self._expected + count > most:
            return None
        sizes = self._lost_sizes(count, packet)
        if sizes is None or not packet.n_frames:
            return sizes
        return sizes if self._fits(self.n_frames + sum(sizes), packet.n_frames) else None

    def _lost_sizes(self, count: int, before: SoundPacket) -> list[int] | None:
        if self._timeline.segments:
            sizes, start = [], self.n_frames
            for _ in range(count):
                end = self._timeline.segment_end(start) or 0
                if end <= start:  # more packets than the segments have
                    return None
                sizes.append(min(self._full, end - start))
                start += sizes[-1]
            return sizes
        sizes = [self._full] * count
        n_samples = before.counts[0] if before.counts else self._header.n_samples
        if sizes and not before.n_frames and n_samples is not None:
            needed = -(-n_samples // self._header.hop_length) - self.n_frames - sum(sizes[1:])
            sizes[-1] = min(max(needed, 1), self._full)
        return sizes

    def _mean_size(self, position: int) -> float:
        """Bytes of a packet, from those before ``position`` or else the nominal bitrate."""
        if self._expected:
            return max((position - self._data_start) / self._expected, PACKET.size)
        constant = self._header.n_codebooks is not None
        return PACKET.size * constant + self._header.payload_size(self._full)

    # --- what was wrong

    def _fill_gap(self, packet: SoundPacket, skipped: int) -> Iterator[Packet]:
        """Packets without payload for those missing before ``packet``, with a record of it."""
        sizes = self._gap(packet, skipped) or []
        if not sizes and not skipped:
            return
        n_lost = sum(sizes)
        start = self._header.timeline.frame_time(self.n_frames)
        end = self._header.timeline.frame_time(self.n_frames + n_lost)
        where = f"{_packets(self._expected, len(sizes))} ({start:.2f} s to {end:.2f} s)"
        if not sizes:
            message = f"{skipped} bytes that belong to no packet before packet {self._expected}"
        else:
            message = f"{where}: {'damaged' if skipped else 'missing'}"
        kind = "corrupt" if skipped else "missing"
        self._note(Damage(kind, self.n_frames, n_lost, message, start, end - start))
        for n_frames in sizes:
            yield self._packet(n_frames, None)

    def _finish(self, end: SoundPacket) -> None:
        """Sample counts from the end packet or the header, and nothing after it."""
        info = self._header if end.counts is None else self._header.with_counts(*end.counts)
        self.info = info.capped(self.n_frames)
        if message := info.timeline.check_length(self.n_frames):
            if not self._recover:
                raise BitstreamError(message, recoverable=True)
            self._note_end("counts", message, info.duration_s)
        if self._source.peek(1):
            message = f"the stream ends at byte {self._source.position}, but more bytes follow it"
            if not self._recover:
                raise BitstreamError(message, recoverable=True)
            self._note_end("trailing", message, self.info.duration_s)

    def _note_cut(self, bad: BadPacketError) -> None:
        """The rest of the file has no sound packet."""
        reason = "cut short" if bad.cut else "damaged up to its end"
        message = f"{reason} after {self._readable()}"
        self.info = self._header.capped(self.n_frames)
        self._note_end("truncated", message, self._header.duration_s)

    def _note_end(
        self, kind: Literal["truncated", "trailing", "counts"], message: str, promised: float | None
    ) -> None:
        end = self.info.duration_s or 0.0
        self._note(Damage(kind, self.n_frames, 0, message, end, max((promised or 0.0) - end, 0.0)))

    def _readable(self) -> str:
        """How much was read so far, as text."""
        n_samples = self._timeline.capped(self.n_frames).n_samples or 0
        done = f"{self._expected} whole packets, {n_samples / self._header.sample_rate:.2f} s"
        total = self._header.duration_s
        return done if total is None else f"{done} of {total:.2f} s"

    def _error(self, bad: BadPacketError) -> BitstreamError:
        if bad.cut:
            return BitstreamError(
                f"the file is cut short after {self._readable()}: {bad}", recoverable=True
            )
        start = self._timeline.frame_time(self.n_frames)
        end = self._timeline.frame_time(self.n_frames + self._full)
        return BitstreamError(
            f"packet {self._expected} ({start:.2f} s to {end:.2f} s) is damaged: {bad}",
            recoverable=True,
        )


def _packets(first: int, count: int) -> str:
    return f"packet {first}" if count == 1 else f"packets {first} to {first + count - 1}"
