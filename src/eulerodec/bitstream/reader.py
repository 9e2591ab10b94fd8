"""Reading ``.eul`` files, packet by packet, without trust in anything that they claim."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import BitstreamError
from .constants import CODED, COUNTS, CRC, CRITICAL, DATA, END, PACKET, SYNC
from .entropy import decode_packet, frames_of_payload, least_size
from .format import parse_counts, read_header
from .header import StreamInfo
from .pack import unpack_codes
from .records import LOST, Damage, Packet
from .source import ReadableBytes, Source
from .tables import EntropyTables, tables_of

__all__ = ["EulReader"]

MAX_GAP = 64  # packets that may be missing, besides as many as there are


class _Bad(Exception):
    """No sound packet at the front of the buffer."""

    def __init__(self, reason: str, *, cut: bool = False) -> None:
        super().__init__(reason)
        self.cut = cut


class EulReader:
    """Reads the header on construction, then one packet at a time; memory is one packet.

    - ``fileobj``: any binary file object, also one that cannot seek
    - ``n_codebooks``: read only that many stages, from 1 to those in the file
    - ``recover``: go on after damage. Lost packets then come with codes of -1 (``Packet.lost``), so
      that time is kept, and each problem is added to ``damage``. A damaged header is an error.

    ``info`` is the header; once the last packet is read it holds the sample counts of what could be
    read. Until then its counts are only a claim: do not allocate by them.

    A file that can seek is read from any frame on with :meth:`seek`, without a look at what is
    before; :meth:`read_frames` reads a range, :meth:`scan` gives the length of the whole file. An
    iterator from before a seek must not be used after it.

    Errors: :class:`BitstreamError`, one line; ``OSError`` of the file.
    """

    def __init__(
        self, fileobj: ReadableBytes, *, n_codebooks: int | None = None, recover: bool = False
    ) -> None:
        self._source = Source(fileobj)
        self.info = self._header = read_header(self._source)
        self._tables = tables_of(self.info)
        self._kinds = (DATA, END) if self._tables is None else (DATA, END, CODED)
        self._data_start = self._source.position
        if n_codebooks is not None and not 1 <= n_codebooks <= self.info.n_codebooks:
            raise BitstreamError(
                f"the file has {self.info.n_codebooks} stages, {n_codebooks} cannot be read"
            )
        self.n_codebooks = n_codebooks or self.info.n_codebooks
        self.n_frames = 0
        self.damage: list[Damage] = []
        self._noted: set[Damage] = set()
        self._recover = recover
        self._expected = 0  # index of the next packet
        self._checked = 0  # bytes that went through the checksum while searching
        self._stream = self._read_packets()

    @property
    def bytes_read(self) -> int:
        """Bytes consumed so far, without those that were passed over; the size of a whole file."""
        return self._source.consumed

    def packets(self) -> Iterator[Packet]:
        """The packets that are left, in order; a single pass over the file."""
        return self._stream

    def __iter__(self) -> Iterator[npt.NDArray[np.int64]]:
        """Codes of one packet after the other, int64 [n_channels, n_codebooks, t]."""
        return (packet.codes for packet in self._stream)

    def read_all(self) -> npt.NDArray[np.int64]:
        """Codes of all packets that are left, int64 [n_channels, n_codebooks, T]."""
        none = np.zeros((self.info.n_channels, self.n_codebooks, 0), np.int64)
        return np.concatenate([none, *self], axis=2)

    @property
    def lost_s(self) -> float:
        """Seconds of audio that are lost, in all damage that was found so far."""
        return sum(damage.lost_s for damage in self.damage)

    def seek(self, frame: int) -> None:
        """Go on with the packet that holds ``frame``; in a pipe only forward.

        After a frame that the file does not have, no packets are left. Errors:
        :class:`BitstreamError` for a pipe that cannot go back.
        """
        index = max(frame, 0) // self._header.frames_per_packet
        if self._source.seekable:
            at = self._packet_start(index)
            if at is not None:
                self._restart(index, at)
            if at is None or not self._at_packet(index):
                self._restart(0, self._data_start)  # damage before it, or skippable packets
        elif index < self._expected:
            raise BitstreamError("the input is a pipe and cannot go back: save it to a file first")
        while self._expected < index:
            if next(self._stream, None) is None:
                break

    def read_frames(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Codes [n_channels, n_codebooks, stop - start] of a range of frames, see :meth:`seek`.

        Errors: :class:`BitstreamError` if the file ends before ``stop``, or on the way to it.
        """
        none = np.zeros((self.info.n_channels, self.n_codebooks, 0), np.int64)
        return np.concatenate([none, *self.iter_frames(start, stop)], axis=2)

    def iter_frames(self, start: int, stop: int) -> Iterator[npt.NDArray[np.int64]]:
        """The same as :meth:`read_frames`, packet by packet."""
        return (packet.codes for packet in self.iter_range(start, stop))

    def iter_range(self, start: int, stop: int) -> Iterator[Packet]:
        """The packets with frames ``start`` to ``stop``, cut to these; errors: :meth:`read_frames`.

        With ``recover``, packets that are lost come as such.
        """
        if not 0 <= start <= stop:
            raise BitstreamError(f"frames {start} to {stop} are no range")
        if start == stop:
            return
        self.seek(start)
        for packet in self._stream:
            first, count = packet.start_frame, packet.codes.shape[2]
            skip = max(start - first, 0)
            codes = packet.codes[:, :, skip : stop - first]
            yield replace(packet, start_frame=first + skip, codes=codes)
            if first + count >= stop:
                return
        raise BitstreamError(f"frame {stop - 1} is after the end, there are {self.n_frames}")

    def scan(self) -> int:
        """Frames of the whole file, from its end marker; ``info`` then has its sample counts.

        The place of reading stays. Only for files that can seek. With ``recover``, a file without
        a sound end is read as a whole, and so is one with packets that may be skipped.
        """
        if not self._source.seekable:
            raise BitstreamError("the input is a pipe and cannot seek: save it to a file first")
        position = self._source.position
        try:
            found = self._scan_end()
            if found is None:
                self._source.seek(0)
                other = EulReader(self._source.file, recover=self._recover)
                for _ in other.packets():
                    pass
                for damage in other.damage:
                    self._note(damage)
                found = other.n_frames, other.info
        finally:
            self._source.seek(position)
        n_frames, self.info = found
        return n_frames

    def _scan_end(self) -> tuple[int, StreamInfo] | None:
        """Frames and header from the last two packets; ``None`` if they are not where expected."""
        source, info = self._source, self._header
        at = source.size() - PACKET.size - (COUNTS.size if info.n_samples is None else 0)
        if at < self._data_start:
            return None
        source.seek(at)
        try:
            kind, index, payload = self._sound_packet()
        except _Bad:
            return None
        if kind != END:
            return None
        n_frames = 0
        if index:
            start = self._packet_start(index - 1)
            if start is None:
                return None
            source.seek(start)
            if not self._at_packet(index - 1):
                return None
            head = source.peek(PACKET.size + 2)
            size = int.from_bytes(head[5:7], "big")
            last = self._frames_in(head[1], size, head[PACKET.size :]) or 0
            n_frames = (index - 1) * info.frames_per_packet + last
        if payload:
            n_samples, n_input_samples = parse_counts(payload)
            if n_samples is None or n_input_samples is None:
                return None
            info = info.with_counts(n_samples, n_input_samples)
        return None if info.check_length(n_frames) else (n_frames, info.capped(n_frames))

    def _packet_start(self, index: int) -> int | None:
        """Where packet ``index`` starts if only full packets are before it; ``None``: they are not.

        Entropy coded packets have any size: their heads are read one after the other.
        """
        if self._tables is None:
            full = PACKET.size + self._header.payload_size(self._header.frames_per_packet)
            return self._data_start + index * full
        at = self._data_start
        for before in range(index):
            self._source.seek(at)
            if not self._at_packet(before):
                return None
            at += PACKET.size + int.from_bytes(self._source.peek(PACKET.size)[5:7], "big")
        return at

    def _frames_in(self, kind: int, size: int, payload: bytes) -> int | None:
        """Frames of a packet from its size and the start of its payload; ``None``: impossible."""
        if kind == DATA:
            return self._header.payload_frames(size)
        n_frames = frames_of_payload(payload)
        if not 1 <= n_frames <= self._header.frames_per_packet:
            return None
        fixed = self._header.payload_size(n_frames)
        return n_frames if least_size(fixed) <= size < fixed else None

    def _at_packet(self, index: int) -> bool:
        """Whether the packet in front, which is not checked, says that it is number ``index``."""
        head = self._source.peek(PACKET.size)
        same = head[:1] == bytes([SYNC]) and head[2:5] == (index & 0xFFFFFF).to_bytes(3, "big")
        return len(head) == PACKET.size and same and head[1] in self._kinds

    def _restart(self, index: int, position: int) -> None:
        """Read on from ``position``, where packet ``index`` starts."""
        self._source.seek(position)
        self._expected, self.n_frames = index, index * self._header.frames_per_packet
        self._checked = 0
        self._stream = self._read_packets()

    def _note(self, damage: Damage) -> None:
        """Record damage; parts of a file that are read again do not count again."""
        if damage not in self._noted:
            self._noted.add(damage)
            self.damage.append(damage)

    def _read_packets(self) -> Iterator[Packet]:
        short = False  # a packet with fewer frames than the others must be the last
        while True:
            skipped = 0
            try:
                kind, index, payload = self._check(short)
            except _Bad as bad:
                if not self._recover:
                    raise self._error(bad) from None
                found = self._search(short)
                if found is None:
                    self._note_cut(bad)
                    return
                skipped = found
                kind, index, payload = self._check(short)
            self._source.skip(PACKET.size + len(payload))
            if kind not in self._kinds:  # sound, and of a kind that may be skipped
                continue
            yield from self._fill_gap(index, skipped)
            if kind == END:
                self._finish(payload)
                return
            packet = self._unpack(kind, index, payload)
            short = packet.codes.shape[2] < self.info.frames_per_packet
            self._expected += 1
            self.n_frames += packet.codes.shape[2]
            yield packet

    def _check(self, short: bool) -> tuple[int, int, bytes]:
        """A sound packet that may come next: kind, index, payload; else :class:`_Bad`."""
        kind, index, payload = self._sound_packet()
        if kind & CRITICAL and kind not in self._kinds:
            raise BitstreamError(f"packet type {kind:#04x} is not known here: update eulerodec")
        if kind in self._kinds and not self._follows(kind, index, short):
            what = "packet" if kind != END else "the end marker with number"
            raise _Bad(f"{what} {index} stands in its place")
        return kind, index, payload

    def _sound_packet(self) -> tuple[int, int, bytes]:
        """Kind, index and payload of the packet at the front; :class:`_Bad` if it is not sound."""
        head = self._source.peek(PACKET.size)
        if len(head) < PACKET.size:
            raise _Bad("the end marker is missing", cut=True)
        sync, kind, index_bytes, size, crc = PACKET.unpack(head)
        index = int.from_bytes(index_bytes, "big")
        if sync != SYNC:
            raise _Bad("no packet starts where one should")
        if kind == DATA and self._header.payload_frames(size) is None:
            raise _Bad(f"its size, {size} bytes, is impossible")
        coded = kind == CODED and CODED in self._kinds
        if coded and size >= self._header.payload_size(self._header.frames_per_packet):
            raise _Bad(f"its size, {size} bytes, is impossible")
        if kind == END and size != (COUNTS.size if self._header.n_samples is None else 0):
            raise _Bad(f"the end marker's size, {size} bytes, is impossible")
        data = self._source.peek(PACKET.size + size)
        if len(data) < PACKET.size + size:
            raise _Bad(f"packet {self._expected} is not complete", cut=True)
        payload = data[PACKET.size :]
        if zlib.crc32(payload, zlib.crc32(head[: -CRC.size])) != crc:
            raise _Bad("its checksum is wrong")
        if coded and self._frames_in(kind, size, payload) is None:
            raise _Bad(f"its size, {size} bytes, is impossible")
        return kind, index, payload

    def _follows(self, kind: int, index: int, short: bool) -> bool:
        """Whether this packet may come next: after a gap only in recovery."""
        if kind != END and short:
            return False
        if not self._recover:
            return index == self._expected
        full = self._header.payload_size(self._header.frames_per_packet)
        full = PACKET.size + (full if self._tables is None else least_size(full))
        # What stands for lost packets must stay in proportion to the bytes that were read.
        return self._expected <= index <= 2 * (self._source.position // full) + MAX_GAP

    def _search(self, short: bool) -> int | None:
        """Skip to the next sound packet; the number of bytes skipped, ``None`` if there is none."""
        skipped = self._source.skip(1)
        while True:
            skipped += self._source.skip_to(SYNC)
            head = self._source.peek(PACKET.size)
            if len(head) < PACKET.size:
                self._source.skip(len(head))
                return None
            # A file made to look like a packet at every byte must not cost a checksum at each.
            if self._checked > 8 * self._source.position + (1 << 20):
                return None
            if head[1] in self._kinds:
                self._checked += int.from_bytes(head[5:7], "big")
                try:
                    self._check(short)
                except _Bad:
                    pass
                else:
                    return skipped
            skipped += self._source.skip(1)

    def _fill_gap(self, index: int, skipped: int) -> Iterator[Packet]:
        """Stand-ins for packets that are missing before packet ``index``, with a record of it."""
        n_lost, size = index - self._expected, self.info.frames_per_packet
        if n_lost == 0 and skipped == 0:
            return
        where = _packets(self._expected, n_lost)
        start, end = self.info.packet_times(self._expected, n_lost)
        span = f"{start:.2f} s to {end:.2f} s"
        if n_lost == 0:
            message = f"{skipped} bytes that belong to no packet before packet {index}"
        elif skipped:
            message = f"{where} ({span}): damaged"
        else:
            message = f"{where} ({span}): missing"
        kind = "corrupt" if skipped else "missing"
        lost = n_lost * size
        self._note(Damage(kind, self.n_frames, lost, message, start, end - start))
        for _ in range(n_lost):
            codes = np.full((self.info.n_channels, self.n_codebooks, size), LOST, np.int64)
            packet = Packet(self._expected, self.n_frames, codes, lost=True)
            self._expected += 1
            self.n_frames += size
            yield packet

    def _unpack(self, kind: int, index: int, payload: bytes) -> Packet:
        info = self.info
        n_frames = self._frames_in(kind, len(payload), payload) or 0
        if kind == CODED and self._tables is not None:
            return self._decode(index, payload, n_frames, self._tables)
        shape = (self.n_codebooks, info.n_channels, n_frames)
        flat = unpack_codes(payload, shape[0] * shape[1] * shape[2], info.codebook_bits)
        codes = np.ascontiguousarray(flat.reshape(shape).transpose(1, 0, 2))
        return Packet(index, self.n_frames, codes)

    def _decode(self, index: int, payload: bytes, n_frames: int, tables: EntropyTables) -> Packet:
        """An entropy coded packet; one with a good checksum may still be one that nobody made."""
        info = self._header
        try:
            codes = decode_packet(payload, tables, info.n_channels, info.n_codebooks)
        except BitstreamError as error:
            if not self._recover:
                raise self._error(_Bad(str(error))) from error
            start, end = info.packet_times(index)
            message = f"packet {index} ({start:.2f} s to {end:.2f} s): {error}"
            self._note(Damage("corrupt", self.n_frames, n_frames, message, start, end - start))
            codes = np.full((info.n_channels, self.n_codebooks, n_frames), LOST, np.int64)
            return Packet(index, self.n_frames, codes, lost=True)
        return Packet(index, self.n_frames, np.ascontiguousarray(codes[:, : self.n_codebooks]))

    def _finish(self, payload: bytes) -> None:
        """Sample counts from the end marker or the header, and nothing after it."""
        info = self._header
        if payload:
            n_samples, n_input_samples = parse_counts(payload)
            if n_samples is None or n_input_samples is None:
                raise BitstreamError("the end marker is damaged: it has no sample counts")
            info = info.with_counts(n_samples, n_input_samples)
        self.info = info.capped(self.n_frames)
        if message := info.check_length(self.n_frames):
            if not self._recover:
                raise BitstreamError(message)
            self._note_end("counts", message, info)
        if self._source.peek(1):
            message = f"the stream ends at byte {self._source.position}, but more bytes follow it"
            if not self._recover:
                raise BitstreamError(message, recoverable=True)
            self._note_end("trailing", message, self.info)

    def _note_cut(self, bad: _Bad) -> None:
        """The rest of the file has no sound packet."""
        reason = "cut short" if bad.cut else "damaged up to its end"
        message = f"{reason} after {self._readable()}"
        self.info = self._header.capped(self.n_frames)
        self._note_end("truncated", message, self._header)

    def _note_end(
        self, kind: Literal["truncated", "trailing", "counts"], message: str, promised: StreamInfo
    ) -> None:
        end = self.info.duration_s or 0.0
        lost = max((promised.duration_s or 0.0) - end, 0.0)
        self._note(Damage(kind, self.n_frames, 0, message, end, lost))

    def _readable(self) -> str:
        """How much was read so far, as text."""
        n_samples, _ = self._header.capped_counts(self.n_frames)
        done = f"{self._expected} whole packets, {n_samples / self.info.sample_rate:.2f} s"
        total = self._header.duration_s
        return done if total is None else f"{done} of {total:.2f} s"

    def _error(self, bad: _Bad) -> BitstreamError:
        if bad.cut:
            return BitstreamError(
                f"the file is cut short after {self._readable()}: {bad}", recoverable=True
            )
        span = self.info.time_range(self._expected)
        return BitstreamError(
            f"packet {self._expected} ({span}) is damaged: {bad}", recoverable=True
        )


def _packets(first: int, count: int) -> str:
    return f"packet {first}" if count == 1 else f"packets {first} to {first + count - 1}"
