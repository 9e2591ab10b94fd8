"""An .eul decoder from docs/bitstream.md alone: standard library only, nothing of the package."""

import struct
import zlib


def _need(condition, message):
    if not condition:
        raise ValueError(message)


def _fields(data):
    """Optional fields at the end of the header, their defaults where there are none."""
    found, at = {}, 0
    while at < len(data):
        tag, size = struct.unpack_from(">BH", data, at)
        _need(tag <= 0x80, "a header field that must be understood")
        found.setdefault(tag, data[at + 3 : at + 3 + size])
        at += 3 + size
    _need(at == len(data), "header field")
    raw = found.get(0x80, b"")
    numbers = [int.from_bytes(raw[i : i + 5], "big") for i in range(0, len(raw), 5)]
    return {
        "title": found.get(1, b"").decode(),
        "comment": found.get(2, b"").decode(),
        "gain_db": struct.unpack(">h", found.get(3, bytes(2)))[0] / 256,
        "context": struct.unpack(">HH", found.get(4, struct.pack(">HH", 64, 32))),
        "segments": [numbers[i : i + 6] for i in range(0, len(numbers), 6)],
    }


def parts(data):
    """What to decode on its own and what to keep of it, for all of a file, in order:
    (slice of frames, n_decoded, skip, n_samples, skip_input, n_input_samples)."""
    head, codes, n_samples, n_input_samples = decode(data)
    n_frames = len(codes[0][0])
    segments = head["segments"] or [[n_frames, n_samples, 0, n_samples, 0, n_input_samples]]
    _need(sum(segment[0] for segment in segments) == n_frames, "frames of the segments")
    found, first = [], 0
    for frames, *counts in segments:
        found.append((slice(first, first + frames), *counts))
        first += frames
    return found


def decode(data, stages=None):
    """(header dict, codes[channel][stage][frame], n_samples, n_input_samples) of a whole file."""
    _need(data[:4] == b"\x89EUL", "magic")
    _need(data[4] == 1, "version")
    (body_size,) = struct.unpack_from(">H", data, 5)
    at = 7 + body_size
    _need(struct.unpack_from(">I", data, at)[0] == zlib.crc32(data[:at]), "header checksum")
    head = {
        "coding": data[7],
        "weights_hash": data[8:16].hex(),
        "codebook_bits": data[16],
        "n_codebooks": data[17],
        "n_channels": data[18],
        "hop_length": int.from_bytes(data[19:21], "big"),
        "frames_per_packet": int.from_bytes(data[21:23], "big"),
        "sample_rate": int.from_bytes(data[23:27], "big"),
        "input_sample_rate": int.from_bytes(data[27:31], "big"),
        "n_samples": int.from_bytes(data[31:36], "big"),
        "n_input_samples": int.from_bytes(data[36:41], "big"),
        "model_id": data[42 : 42 + data[41]].decode(),
    }
    _need(head["coding"] == 0, "coding")
    head.update(_fields(data[42 + data[41] : at]))
    counts = head["n_samples"], head["n_input_samples"]
    n_stages, n_channels, bits = head["n_codebooks"], head["n_channels"], head["codebook_bits"]
    stages = stages or n_stages
    codes = [[[] for _ in range(stages)] for _ in range(n_channels)]
    at += 4
    n_packets = 0
    while True:
        sync, kind, size, crc = struct.unpack(">BB3xHI", data[at : at + 11])
        index = int.from_bytes(data[at + 2 : at + 5], "big")
        payload = data[at + 11 : at + 11 + size]
        _need(sync == 0xE5 and len(payload) == size, "packet")
        _need(zlib.crc32(data[at : at + 7] + payload) == crc, "packet checksum")
        at += 11 + size
        if kind < 0x80:
            continue
        _need(index == n_packets, "packet index")
        if kind == 0x82:
            break
        _need(kind == 0x81, "packet type")
        n_packets += 1
        n_frames = size * 8 // (n_stages * n_channels * bits)
        value, left = int.from_bytes(payload, "big"), size * 8  # one big number, read from the top
        for stage in range(stages):
            for channel in range(n_channels):
                for _ in range(n_frames):
                    left -= bits
                    codes[channel][stage].append(value >> left & ((1 << bits) - 1))
    _need(at == len(data), "bytes after the end")
    if payload:
        counts = int.from_bytes(payload[:5], "big"), int.from_bytes(payload[5:], "big")
    return head, codes, *counts
