"""The bytes of a network packet: a header of 12 bytes, a payload of planes, repeated bytes.

``docs/packets.md`` is the specification.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from ..errors import ConfigError, PacketError

__all__ = [
    "HEADER_SIZE",
    "MAX_FRAMES",
    "MAX_REDUNDANCY",
    "Packet",
    "cut_packet",
    "pack_packet",
    "parse_packet",
    "signed",
]

# kind and flags, frames a packet, repeated bytes, sequence, first frame, code book
HEADER = struct.Struct(">BBHHI2s")
HEADER_SIZE = HEADER.size
KIND, KIND_1 = 0xF0, 0xE0  # versions 2 and 1; the low four bits are flags
START, END = 0x01, 0x02
MAX_FRAMES = 64
MAX_REDUNDANCY = 0xFFFF


@dataclass(frozen=True)
class Packet:
    """What one packet carries.

    Attributes:
        sequence: number of the packet, modulo 2^16.
        frame: number of its first frame, modulo 2^32.
        packet_frames: frames N of every packet of the stream.
        n_frames: of this one: N, and in the last one 0 to N.
        payload: planes of these frames, or any beginning of them; empty: nothing is known.
        redundant: a beginning of the payload of the N frames before ``frame``.
        book: first two bytes of the hash of the code book.
        start, end: it is the first or the last of its stream.
    """

    sequence: int
    frame: int
    packet_frames: int
    n_frames: int
    payload: bytes
    redundant: bytes
    book: bytes
    start: bool = False
    end: bool = False


def pack_packet(packet: Packet) -> bytes:
    """The bytes of a packet."""
    head = HEADER.pack(
        KIND | START * packet.start | END * packet.end,
        packet.packet_frames,
        len(packet.redundant),
        packet.sequence & 0xFFFF,
        packet.frame & 0xFFFFFFFF,
        packet.book,
    )
    last = bytes([packet.n_frames]) if packet.end else b""
    return head + last + packet.payload + packet.redundant


def parse_packet(data: bytes) -> Packet:
    """A packet from its bytes.

    Raises:
        PacketError: anything that is none.
    """
    if len(data) < HEADER_SIZE:
        raise PacketError(f"{len(data)} bytes are no packet, its header has {HEADER_SIZE}")
    kind, size, repeated, sequence, frame, book = HEADER.unpack_from(data)
    if kind & 0xF0 == KIND_1:
        raise PacketError(
            f"first byte {kind:#04x}: a packet of version 1, which is not read any more"
        )
    if kind & 0xF0 != KIND or kind & 0x0F & ~(START | END):
        raise PacketError(f"first byte {kind:#04x}: no packet of version 2")
    if not 1 <= size <= MAX_FRAMES:
        raise PacketError(f"{size} frames in a packet, allowed are 1 to {MAX_FRAMES}")
    n_frames, at = size, HEADER_SIZE
    if kind & END:
        if len(data) == HEADER_SIZE:
            raise PacketError(
                f"packet {sequence}, the last one, does not say how many frames it has"
            )
        n_frames, at = data[HEADER_SIZE], HEADER_SIZE + 1
        if n_frames > size:
            raise PacketError(f"packet {sequence}: {n_frames} frames in a packet of {size}")
    stop = len(data) - repeated
    if stop < at:
        raise PacketError(
            f"packet {sequence}: {len(data)} bytes do not hold {repeated} that are repeated"
        )
    return Packet(
        sequence=sequence,
        frame=frame,
        packet_frames=size,
        n_frames=n_frames,
        payload=bytes(data[at:stop]),
        redundant=bytes(data[stop:]),
        book=book,
        start=bool(kind & START),
        end=bool(kind & END),
    )


def cut_packet(data: bytes, max_bytes: int) -> bytes:
    """A packet of a lower rate: at first less is repeated, then the payload is cut.

    Needs no model: this is for a server between sender and receiver.

    Args:
        data: a packet.
        max_bytes: of the result, header included.

    Raises:
        PacketError: ``data`` is no packet.
        ConfigError: ``max_bytes`` is less than the header.
    """
    packet = parse_packet(data)
    head = HEADER_SIZE + packet.end
    if max_bytes < head:
        raise ConfigError(f"max_bytes {max_bytes}: the header of this packet has {head} bytes")
    payload = packet.payload[: max_bytes - head]
    redundant = packet.redundant[: max_bytes - head - len(payload)]
    return pack_packet(replace(packet, payload=payload, redundant=redundant))


def signed(value: int, bits: int) -> int:
    """``value`` modulo 2^bits, from -2^(bits - 1) up: a difference of numbers that wrap."""
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half
