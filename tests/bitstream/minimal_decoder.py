"""An .eul decoder from docs/bitstream.md alone: standard library only, nothing of the package."""

import struct
import zlib


def _need(condition, message):
    if not condition:
        raise ValueError(message)


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
