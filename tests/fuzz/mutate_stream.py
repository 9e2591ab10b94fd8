"""Mutations of ``.eul`` files: at random, and by the format, with checksums that fit again."""

from __future__ import annotations

import random
import zlib

from fuzz_weights import mutate_bytes

HEADER_SPANS = [(4, 1), (5, 2), (7, 1), (8, 8), (16, 1), (17, 1), (18, 1), (19, 2), (21, 2),
                (23, 4), (27, 4), (31, 5), (36, 5), (41, 1), (31, 10), (16, 3)]  # fmt: skip
ODD = [0, 1, 2, 3, 8, 11, 16, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 2**31, 2**32 - 1, 2**40 - 2,
       2**40 - 1]  # fmt: skip


def split(data: bytes) -> tuple[bytes, list[bytes]]:
    """Header without its checksum, and packets, as far as their sizes can be followed."""
    end = min(7 + int.from_bytes(data[5:7], "big"), len(data))
    packets, at = [], end + 4
    while at + 11 <= len(data) and len(packets) < 2000:
        size = 11 + int.from_bytes(data[at + 5 : at + 7], "big")
        packets.append(data[at : at + size])
        at += size
    return data[:end], packets


def join(header: bytes, packets: list[bytes]) -> bytes:
    """A file with right checksums, and a right size in its header."""
    head = header[:5] + max(len(header) - 7, 0).to_bytes(3, "big")[-2:] + header[7:]
    return b"".join([head, zlib.crc32(head).to_bytes(4, "big"), *packets])


def packet(kind: int, index: int, payload: bytes) -> bytes:
    head = bytes([0xE5, kind]) + index.to_bytes(3, "big") + len(payload).to_bytes(2, "big")
    return head + zlib.crc32(head + payload).to_bytes(4, "big") + payload


def odd_bytes(size: int, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return rng.randbytes(size)
    return (rng.choice(ODD) & ((1 << 8 * size) - 1)).to_bytes(size, "big")


def mutate_header(header: bytes, rng: random.Random) -> bytes:
    out = bytearray(header)
    action = rng.randrange(4)
    if action <= 1:
        at, size = rng.choice(HEADER_SPANS)
        out[at : at + size] = odd_bytes(size, rng)
    elif action == 2:  # an optional field, often one that means something
        tag = rng.choice([1, 2, 3, 4, 0x80, 0x80, 0x80, 5, 0x81, 0x82, 255])
        count = rng.choice([0, 1, 2, 4, 30, 30, 60, 90, 255, 3000])
        value = b"".join(odd_bytes(5, rng) for _ in range(count // 5 + 1))[:count]
        out += bytes([tag]) + len(value).to_bytes(2, "big") + value
    elif len(out) > 42:
        at = rng.randrange(42, len(out))
        out[at : at + 5] = odd_bytes(5, rng)
    return bytes(out[:60_000])


def mutate_packets(packets: list[bytes], rng: random.Random) -> list[bytes]:
    out = list(packets)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out) + 1)
        action = rng.randrange(7)
        if action == 0:
            del out[at : at + rng.randint(1, 3)]
        elif action == 1 and out:
            out.insert(at, rng.choice(out))
        elif action == 2:
            index = rng.choice([0, 1, at, at + 1, at + 60, 2**24 - 1, 2**24 - 2])
            size = rng.choice([0, 1, 2, 10, 10, 17, 33, 100, 65535])
            kind = rng.choice([0x81, 0x81, 0x82, 0x83, 0x83, 0x00, 0x7F, 0x80, 0xFF])
            out.insert(at, packet(kind, index, rng.randbytes(size)))
        elif action == 3 and at < len(out):
            out[at] = mutate_bytes(out[at], rng)
        elif action == 4:
            out.insert(at, rng.choice([b"\xe5", b"\xe5\x81" * 50, rng.randbytes(30), bytes(40)]))
        elif action == 5 and at < len(out) and len(out[at]) >= 11:  # the same with another index
            index = rng.choice([0, at - 1, at, at + 1, at + 64]) & 0xFFFFFF
            out[at] = packet(out[at][1], index, out[at][11 : 11 + 65535])
        elif action == 6 and len(out) > 1:
            rng.shuffle(out)
    return out


def mutate_stream(data: bytes, rng: random.Random) -> bytes:
    """One mutated file."""
    if rng.random() < 0.25:
        return mutate_bytes(data, rng)
    header, packets = split(data)
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.5:
            header = mutate_header(header, rng)
        else:
            packets = mutate_packets(packets, rng)
    out = join(header, packets)
    return out if rng.random() < 0.8 else mutate_bytes(out, rng)
