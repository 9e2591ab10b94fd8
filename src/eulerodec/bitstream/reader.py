"""Reading ``.eul`` files, packet by packet, without trust in anything that they claim."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from eulerodec.bitstream.format import (
    COUNTS,
    CRC,
    CRITICAL,
    DATA,
    END,
    MAGIC,
    PACKET,
    PREFIX,
    SYNC,
    VERSION,
    StreamInfo,
    parse_body,
    parse_counts,
)
from eulerodec.bitstream.pack import unpack_codes
from eulerodec.bitstream.source import ReadableBytes, Source
from eulerodec.errors import BitstreamError

__all__ = ["Damage", "EulReader", "Packet"]

MAX_GAP = 64  # packets that may be missing, besides as many as there are
KINDS = (DATA, END)


@dataclass(frozen=True)
class Packet:
    """Codes [n_channels, K, T] of frames ``start_frame`` on; ``lost``: damaged, codes all zero."""

    index: int
    start_frame: int
    codes: npt.NDArray[np.int64]
    lost: bool = False


@dataclass(frozen=True)
class Damage:
    """Something that was wrong with a file, found while reading with ``recover=True``.

    ``n_frames`` frames from ``start_frame`` on have zeros in place of their codes; it is 0 when no
    frame is known to be lost (extra bytes, or a cut file, which just ends early).
    """

    kind: Literal["corrupt", "missing", "truncated", "trailing", "counts"]
    start_frame: int
    n_frames: int
    message: str


class _Bad(Exception):
    """No sound packet at the front of the buffer."""

    def __init__(self, reason: str, *, cut: bool = False) -> None:
        super().__init__(reason)
        self.cut = cut


class EulReader:
    """Reads the header on construction, then one packet at a time; memory is one packet.

    - ``fileobj``: any binary file object, also one that cannot seek
    - ``n_codebooks``: read only that many stages, from 1 to those in the file
    - ``recover``: go on after damage. Lost packets then come as zeros (``Packet.lost``), so that
      time is kept, and each problem is added to ``damage``. A damaged header is always an error.

    ``info`` is the header; once the last packet is read it holds the sample counts of what could be
    read. Until then its counts are only a claim: do not allocate by them.

    Errors: :class:`BitstreamError`, one line; ``OSError`` of the file.
    """

    def __init__(
        self, fileobj: ReadableBytes, *, n_codebooks: int | None = None, recover: bool = False
    ) -> None:
        self._source = Source(fileobj)
        self.info = _read_header(self._source)
        if n_codebooks is not None and not 1 <= n_codebooks <= self.info.n_codebooks:
            raise BitstreamError(
                f"the file has {self.info.n_codebooks} stages, {n_codebooks} cannot be read"
            )
        self.n_codebooks = n_codebooks or self.info.n_codebooks
        self.n_frames = 0
        self.damage: list[Damage] = []
        self._recover = recover
        self._expected = 0  # index of the next packet
        self._checked = 0  # bytes that went through the checksum while searching
        self._stream = self._read_packets()

    @property
    def bytes_read(self) -> int:
        """Bytes consumed so far; the size of the file once everything is read."""
        return self._source.position

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
            if kind not in KINDS:  # sound, and of a kind that may be skipped
                continue
            yield from self._fill_gap(index, skipped)
            if kind == END:
                self._finish(payload)
                return
            packet = self._unpack(index, payload)
            short = packet.codes.shape[2] < self.info.frames_per_packet
            self._expected += 1
            self.n_frames += packet.codes.shape[2]
            yield packet

    def _check(self, short: bool) -> tuple[int, int, bytes]:
        """Kind, index and payload of the packet at the front; :class:`_Bad` if it is not sound."""
        head = self._source.peek(PACKET.size)
        if len(head) < PACKET.size:
            raise _Bad("the end marker is missing", cut=True)
        sync, kind, index_bytes, size, crc = PACKET.unpack(head)
        index = int.from_bytes(index_bytes, "big")
        if sync != SYNC:
            raise _Bad("no packet starts where one should")
        if kind == DATA and self.info.payload_frames(size) is None:
            raise _Bad(f"its size, {size} bytes, is impossible")
        if kind == END and size != (COUNTS.size if self.info.n_samples is None else 0):
            raise _Bad(f"the end marker's size, {size} bytes, is impossible")
        data = self._source.peek(PACKET.size + size)
        if len(data) < PACKET.size + size:
            raise _Bad(f"packet {self._expected} is not complete", cut=True)
        payload = data[PACKET.size :]
        if zlib.crc32(payload, zlib.crc32(head[: -CRC.size])) != crc:
            raise _Bad("its checksum is wrong")
        if kind & CRITICAL and kind not in KINDS:
            raise BitstreamError(f"packet type {kind:#04x} is not known here: update eulerodec")
        if kind in KINDS and not self._follows(kind, index, short):
            what = "packet" if kind == DATA else "the end marker with number"
            raise _Bad(f"{what} {index} stands in its place")
        return kind, index, payload

    def _follows(self, kind: int, index: int, short: bool) -> bool:
        """Whether this packet may come next: after a gap only in recovery."""
        if kind == DATA and short:
            return False
        if not self._recover:
            return index == self._expected
        full = PACKET.size + self.info.payload_size(self.info.frames_per_packet)
        # The zeros in place of lost packets must stay in proportion to the bytes that were read.
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
            if head[1] in KINDS:
                self._checked += int.from_bytes(head[5:7], "big")
                try:
                    self._check(short)
                except _Bad:
                    pass
                else:
                    return skipped
            skipped += self._source.skip(1)

    def _fill_gap(self, index: int, skipped: int) -> Iterator[Packet]:
        """Zeros for the packets that are missing before packet ``index``, with a record of it."""
        n_lost, size = index - self._expected, self.info.frames_per_packet
        if n_lost == 0 and skipped == 0:
            return
        where = _packets(self._expected, n_lost)
        span = self.info.time_range(self._expected, n_lost)
        if n_lost == 0:
            message = f"{skipped} bytes that belong to no packet before packet {index}"
        elif skipped:
            message = f"{where} ({span}): damaged"
        else:
            message = f"{where} ({span}): missing"
        kind = "corrupt" if skipped else "missing"
        self.damage.append(Damage(kind, self.n_frames, n_lost * size, message))
        for _ in range(n_lost):
            codes = np.zeros((self.info.n_channels, self.n_codebooks, size), np.int64)
            packet = Packet(self._expected, self.n_frames, codes, lost=True)
            self._expected += 1
            self.n_frames += size
            yield packet

    def _unpack(self, index: int, payload: bytes) -> Packet:
        info = self.info
        n_frames = info.payload_frames(len(payload)) or 0
        shape = (self.n_codebooks, info.n_channels, n_frames)
        flat = unpack_codes(payload, shape[0] * shape[1] * shape[2], info.codebook_bits)
        codes = np.ascontiguousarray(flat.reshape(shape).transpose(1, 0, 2))
        return Packet(index, self.n_frames, codes)

    def _finish(self, payload: bytes) -> None:
        """Sample counts from the end marker or the header, and nothing after it."""
        info = self.info
        if payload:
            n_samples, n_input_samples = parse_counts(payload)
            if n_samples is None or n_input_samples is None:
                raise BitstreamError("the end marker is damaged: it has no sample counts")
            info = info.with_counts(n_samples, n_input_samples)
        held = self.n_frames * info.hop_length
        if info.n_samples is not None and info.n_samples > held:
            message = f"the file claims {info.n_samples} samples, its frames hold {held}"
            if not self._recover:
                raise BitstreamError(message)
            self.damage.append(Damage("counts", self.n_frames, 0, message))
        if self._source.peek(1):
            message = f"the stream ends at byte {self._source.position}, but more bytes follow it"
            if not self._recover:
                raise BitstreamError(f"{message}; recover=True ignores them")
            self.damage.append(Damage("trailing", self.n_frames, 0, message))
        self.info = info.with_counts(*info.capped_counts(self.n_frames))

    def _note_cut(self, bad: _Bad) -> None:
        """The rest of the file has no sound packet."""
        reason = "cut short" if bad.cut else "damaged up to its end"
        message = f"{reason} after {self._readable()}"
        self.damage.append(Damage("truncated", self.n_frames, 0, message))
        self.info = self.info.with_counts(*self.info.capped_counts(self.n_frames))

    def _readable(self) -> str:
        """How much was read so far, as text."""
        n_samples, _ = self.info.capped_counts(self.n_frames)
        done = f"{self._expected} whole packets, {n_samples / self.info.sample_rate:.2f} s"
        total = self.info.duration_s
        return done if total is None else f"{done} of {total:.2f} s"

    def _error(self, bad: _Bad) -> BitstreamError:
        if bad.cut:
            return BitstreamError(
                f"the file is cut short after {self._readable()}: {bad}; "
                "recover=True reads the part before"
            )
        span = self.info.time_range(self._expected)
        return BitstreamError(
            f"packet {self._expected} ({span}) is damaged: {bad}; recover=True reads the rest"
        )


def _packets(first: int, count: int) -> str:
    return f"packet {first}" if count == 1 else f"packets {first} to {first + count - 1}"


def _read_header(source: Source) -> StreamInfo:
    prefix = source.take(PREFIX.size)
    if not prefix:
        raise BitstreamError("the file is empty, not an .eul file")
    if not prefix.startswith(MAGIC):
        if len(prefix) < len(MAGIC) and MAGIC.startswith(prefix):
            raise BitstreamError(f"the file is cut short inside its header: {len(prefix)} bytes")
        raise BitstreamError(f"not an .eul file: it starts with {prefix[:4].hex()}, not 8945554c")
    if len(prefix) < PREFIX.size:
        raise BitstreamError(f"the file is cut short inside its header: {len(prefix)} bytes")
    _, version, size = PREFIX.unpack(prefix)
    rest = source.take(size + CRC.size)  # 64 KiB at most
    sound = rest[size:] == CRC.pack(zlib.crc32(rest[:size], zlib.crc32(prefix)))
    if version != VERSION:
        hint = "update eulerodec" if sound else "or the header is damaged: its checksum is wrong"
        raise BitstreamError(f"format version {version}, this reader knows {VERSION}: {hint}")
    if len(rest) < size + CRC.size:
        raise BitstreamError(
            f"the file is cut short inside its header: {len(prefix) + len(rest)} of "
            f"{len(prefix) + size + CRC.size} bytes"
        )
    if not sound:
        raise BitstreamError("the header is damaged: its checksum is wrong")
    return parse_body(rest[:size])
