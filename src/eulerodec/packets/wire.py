"""The bytes of a packet: a fixed header of 12 bytes, then codes of 11 bits without gaps.

``docs/packets.md`` is the specification.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..bitstream.pack import pack_codes, packed_size, unpack_codes
from ..errors import PacketError

__all__ = ["HEADER_SIZE", "MAX_FRAMES", "Packet", "pack_packet", "parse_packet", "signed"]

# kind and flags, frames a packet, stages, redundant stages, sequence, first frame, weights
HEADER = struct.Struct(">BBBBHI2s")
HEADER_SIZE = HEADER.size
KIND = 0xE0  # version 1; the low four bits are flags
START, END = 0x01, 0x02
MAX_FRAMES = 64

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Packet:
    """What one packet carries.

    - ``sequence``: number of the packet, modulo 2^16; ``frame``: of its first frame, modulo 2^32
    - ``packet_frames``: frames N of every packet of the stream; only the last may have fewer
    - ``codes``: int64 [C, K, n], n = N unless ``end``
    - ``redundant``: the first R stages of the N frames before ``frame``, [C, R, N], R may be 0
    - ``start``, ``end``: it is the first or the last of its stream
    - ``weights``: first two bytes of the SHA-256 of the weights
    """

    sequence: int
    frame: int
    packet_frames: int
    codes: Codes
    redundant: Codes
    weights: bytes
    start: bool = False
    end: bool = False

    @property
    def n_frames(self) -> int:
        return self.codes.shape[2]


def pack_packet(packet: Packet, bits: int = 11) -> bytes:
    """The bytes of a packet with codes of ``bits`` bits."""
    flags = START * packet.start | END * packet.end
    head = HEADER.pack(
        KIND | flags,
        packet.packet_frames,
        packet.codes.shape[1],
        packet.redundant.shape[1],
        packet.sequence & 0xFFFF,
        packet.frame & 0xFFFFFFFF,
        packet.weights,
    )
    return head + _pack(packet.codes, bits) + _pack(packet.redundant, bits)


def parse_packet(data: bytes, n_channels: int = 1, bits: int = 11) -> Packet:
    """A packet from its bytes. Errors: :class:`PacketError` for anything that is none."""
    if len(data) < HEADER_SIZE:
        raise PacketError(f"{len(data)} bytes are no packet, its header has {HEADER_SIZE}")
    kind, size, stages, redundant, sequence, frame, weights = HEADER.unpack_from(data)
    flags = kind & 0x0F
    if kind & 0xF0 != KIND or flags & ~(START | END):
        raise PacketError(f"first byte {kind:#04x}: no packet of version 1")
    if not 1 <= size <= MAX_FRAMES:
        raise PacketError(f"{size} frames in a packet, allowed are 1 to {MAX_FRAMES}")
    if stages == 0 or redundant > stages:
        raise PacketError(f"{stages} stages and {redundant} redundant ones are no packet")
    per_frame = n_channels * stages * bits
    extra = packed_size(n_channels * redundant * size, bits)
    payload = len(data) - HEADER_SIZE - extra
    # at least 8 bits a frame: the padding of the last byte never looks like one more frame
    n_frames = payload * 8 // per_frame
    whole = n_frames == size or (flags & END and 0 <= n_frames < size)
    if payload < 0 or not whole or packed_size(n_frames, per_frame) != payload:
        raise PacketError(
            f"packet {sequence}: {len(data)} bytes do not hold {size} frames of"
            f" {stages} stages and {redundant} redundant ones, {n_channels} channels"
        )
    body = data[HEADER_SIZE:]
    return Packet(
        sequence=sequence,
        frame=frame,
        packet_frames=size,
        codes=_unpack(body[:payload], (stages, n_channels, n_frames), bits),
        redundant=_unpack(body[payload:], (redundant, n_channels, size), bits),
        weights=weights,
        start=bool(flags & START),
        end=bool(flags & END),
    )


def _pack(codes: Codes, bits: int) -> bytes:
    """[C, K, n], stage after stage, so that the first stages are the first bits."""
    return pack_codes(codes.transpose(1, 0, 2), bits)


def _unpack(data: bytes, shape: tuple[int, int, int], bits: int) -> Codes:
    flat = unpack_codes(data, shape[0] * shape[1] * shape[2], bits)
    return np.ascontiguousarray(flat.reshape(shape).transpose(1, 0, 2))


def signed(value: int, bits: int) -> int:
    """``value`` modulo 2^bits, from -2^(bits - 1) up: a difference of numbers that wrap."""
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half
