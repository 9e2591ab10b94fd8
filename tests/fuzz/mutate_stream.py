"""Mutations of ``.eul`` files: at random, and by the format, with checksums that fit again."""

from __future__ import annotations

import random
import zlib

from fuzz_weights import mutate_bytes

ODD = [0, 1, 2, 3, 8, 11, 16, 127, 128, 255, 256, 264, 0x7FFF, 0xFFFF, 2**20, 2**31, 2**32 - 1,
       2**40 - 1, 2**40, 2**42 - 1]  # fmt: skip


def split(data: bytes) -> tuple[bytes, list[bytes]]:
    """Header without its checksum, and packets, as far as their sizes can be followed."""
    end = min(7 + int.from_bytes(data[5:7], "big"), len(data))
    packets, at = [], end + 4
    while at < len(data) and len(packets) < 2000:
        last = data[at + 1 : at + 2] in (b"\0", b"")
        size = len(data) if last else 8 + int.from_bytes(data[at + 3 : at + 5], "big")
        packets.append(data[at : at + size])
        at += size
    return data[:end], packets


def join(header: bytes, packets: list[bytes]) -> bytes:
    """A file with right checksums, and a right size in its header."""
    head = header[:5] + max(len(header) - 7, 0).to_bytes(3, "big")[-2:] + header[7:]
    return b"".join([head, zlib.crc32(head).to_bytes(4, "big"), *packets])


def packet(n_frames: int, index: int, payload: bytes) -> bytes:
    """A data packet with a right checksum; with 0 frames an end packet whose counts are given."""
    head = bytes([0xE5, n_frames, index % 256])
    if n_frames == 0:
        return head + payload + zlib.crc32(head + payload).to_bytes(4, "big")[1:]
    payload = payload[:0xFFFF]  # a mutation may have made a very long one
    head += len(payload).to_bytes(2, "big")
    return head + zlib.crc32(head + payload).to_bytes(4, "big")[1:] + payload


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def odd_bytes(size: int, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return rng.randbytes(size)
    return (rng.choice(ODD) & ((1 << 8 * size) - 1)).to_bytes(size, "big")


def odd_number(rng: random.Random) -> bytes:
    return varint(rng.choice(ODD) if rng.random() < 0.5 else rng.randrange(1 << rng.randint(1, 42)))


def numbers_at(header: bytes) -> list[tuple[int, int]]:
    """Where the numbers after the hash are, taking all that follows for numbers."""
    found, at = [], 17
    while at < len(header):
        end = at + 1
        while end < len(header) and header[end - 1] > 127:
            end += 1
        found.append((at, end))
        at = end
    return found


def mutate_header(header: bytes, rng: random.Random) -> bytes:
    out = bytearray(header)
    action = rng.randrange(6)
    if action == 0:
        at, size = rng.choice([(4, 1), (5, 2), (7, 1), (7, 1), (8, 8), (16, 1), (16, 1)])
        out[at : at + size] = odd_bytes(size, rng)
        if at in (7, 16) and rng.random() < 0.8:
            out[at : at + 1] = bytes([rng.randrange(8) if at == 7 else rng.randrange(256)])
    elif action <= 2 and len(out) > 17:  # one of the first numbers: channels, hop, counts, ...
        start, end = rng.choice(numbers_at(header)[:10])
        out[start:end] = odd_number(rng)
    elif action == 3 and len(out) > 17:  # any of them: segments are numbers too
        start, end = rng.choice(numbers_at(header))
        out[start:end] = odd_number(rng)
    elif action == 4:  # an optional field, often one that means something
        tag = rng.choice([1, 2, 3, 4, 4, 0x80, 0x80, 0x80, 0x80, 5, 0, 0x81, 255])
        if tag >= 4 and rng.random() < 0.7:
            value = b"".join(odd_number(rng) for _ in range(rng.choice([1, 2, 7, 7, 14, 2000])))
        else:
            value = rng.randbytes(rng.choice([0, 1, 2, 4, 30, 255, 3000]))
        out += bytes([tag]) + varint(len(value)) + value
    elif len(out) > 17:
        at = rng.randrange(17, len(out))
        out[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
    return bytes(out[:60_000])


def mutate_packets(packets: list[bytes], rng: random.Random) -> list[bytes]:
    out = list(packets)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out) + 1)
        action = rng.randrange(8)
        if action == 0:
            del out[at : at + rng.choice([1, 2, 3, 40])]
        elif action == 1 and out:
            out.insert(at, rng.choice(out))
        elif action == 2:
            index = rng.choice([0, 1, at, at, at + 1, at + 60, at + 128, at + 255])
            if rng.random() < 0.3:  # an end
                payload = b"".join(odd_number(rng) for _ in range(rng.choice([0, 1, 2, 2, 3])))
                out.insert(at, packet(0, index, payload))
            else:
                size = rng.choice([0, 0, 1, 2, 10, 12, 33, 100, 65_535])
                frames = rng.choice([1, 2, 3, 4, 4, 8, 24, 92, 255])
                out.insert(at, packet(frames, index, rng.randbytes(size)))
        elif action == 3 and at < len(out):
            out[at] = mutate_bytes(out[at], rng)
        elif action == 4:
            junk = [b"\xe5", b"\xe5\x04" * 50, rng.randbytes(30), bytes(40), bytes(9000)]
            out.insert(at, rng.choice(junk))
        elif action == 5 and at < len(out) and len(out[at]) >= 8 and out[at][1]:
            # the same with another index
            index = rng.choice([0, at - 1, at, at + 1, at + 64, at + 127, at + 200])
            out[at] = packet(out[at][1], index, out[at][8:])
        elif action == 6 and at < len(out) and len(out[at]) >= 8 and out[at][1]:
            # the same, cut or with other frames
            payload = out[at][8 : 8 + rng.randrange(len(out[at]))]
            out[at] = packet(rng.choice([out[at][1], 1, 255]), out[at][2], payload)
        elif action == 7 and len(out) > 1:
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
