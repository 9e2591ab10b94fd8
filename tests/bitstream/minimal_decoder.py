"""An .eul decoder from docs/bitstream.md alone: standard library only, nothing of the package."""

import hashlib
import json
import struct
import zlib
from operator import mul

ORDER = "rank features sizes levels powers w_before w_now level_before level_now".split()
ORDER += "size_before size_above w_part b_part w_member b_member".split()


def _need(condition, message):
    if not condition:
        raise ValueError(message)


def _fields(data):
    """Optional fields at the end of the header, their defaults where there are none."""
    found, at = {}, 0
    while at < len(data):
        tag, size = struct.unpack_from(">BH", data, at)
        _need(tag <= 0x81, "a header field that must be understood")
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
        "tables": found.get(0x81, b"").hex(),
        "segments": [numbers[i : i + 6] for i in range(0, len(numbers), 6)],
    }


def _nest(flat, shape):
    step = len(flat) // shape[0]
    rows = [flat[at : at + step] for at in range(0, len(flat), step)]
    return [_nest(row, shape[1:]) for row in rows] if len(shape) > 1 else flat


def load_tables(data):
    """({name: nested numbers}, hash) of the bytes of entropy.safetensors."""
    (size,) = struct.unpack_from("<Q", data)
    head, found, raw = json.loads(data[8 : 8 + size]), {}, b""
    for name in ORDER:
        start, end = (8 + size + offset for offset in head[name]["data_offsets"])
        kind = {"U8": "B", "I8": "b", "U16": "H", "I16": "h", "I32": "i"}[head[name]["dtype"]]
        numbers = struct.unpack(f"<{(end - start) // struct.calcsize(kind)}{kind}", data[start:end])
        found[name], raw = _nest(numbers, head[name]["shape"]), raw + data[start:end]
    return found, hashlib.sha256(raw).hexdigest()[:16]


def _state(tables, sums):
    level = sum(abs(x) for x in sums)
    place = sum(threshold <= level for threshold in tables["levels"][:-1])
    return [max(-127, min(x * 512 // (level + 16), 127)) for x in sums], place


def _hidden(t, k, before, now):
    """Hidden units from the codes of the frame before (none in front) and of the stages above."""
    zeros = [0] * len(t["features"][0][0])
    rows = [[zeros, *map(list.__getitem__, t["features"], codes)] for codes in (before, now)]
    sums = ([sum(numbers) for numbers in zip(*row, strict=True)] for row in rows)
    (old, old_level), (new, new_level) = (_state(t, total) for total in sums)
    total = [
        sum(numbers)
        for numbers in zip(
            t["level_before"][k][old_level],
            t["level_now"][k][new_level],
            t["size_before"][k][t["sizes"][k][before[k]] if before else 0],
            t["size_above"][k][t["sizes"][k - 1][now[-1]] if now else 0],
            *([x * w for w in row] for x, row in zip(old, t["w_before"][k], strict=True)),
            *([x * w for w in row] for x, row in zip(new, t["w_now"][k], strict=True)),
            strict=True,
        )
    ]
    return [max(0, min(x >> 8, 127)) for x in total]


def _counts(t, hidden, weights, bias):
    columns = zip(*weights, strict=True)
    scores = [b + sum(map(mul, hidden, row)) for b, row in zip(bias, columns, strict=True)]
    best, last = max(scores), len(t["powers"]) - 1
    powers = [t["powers"][min((best - score) >> 4, last)] for score in scores]
    counts = [1 + power * (65536 - len(powers)) // sum(powers) for power in powers]
    counts[scores.index(best)] += 65536 - sum(counts)
    return counts


def _coded(payload, t, n_channels, n_stages):
    """codes[channel][stage][frame] of an entropy coded payload."""
    n_frames, data = int.from_bytes(payload[:2], "big"), iter(payload[2:] + bytes(6))
    offset, width = int.from_bytes(next(data) for _ in range(6)), 1 << 48
    part_bits = (len(t["rank"][0]).bit_length() - 1) // 2

    def symbol(counts):
        nonlocal offset, width
        unit, start, found = width >> 16, 0, 0
        _need(offset // unit < 65536, "range coder")
        while start + counts[found] <= offset // unit:
            start, found = start + counts[found], found + 1
        offset, width = offset - unit * start, unit * counts[found]
        while width < 1 << 40:
            offset, width = offset << 8 | next(data, 0), width << 8
        return found

    frames = [[[] for _ in range(n_frames)] for _ in range(n_channels)]  # [channel][frame][stage]
    for step in range(min(64, n_frames)):
        lanes = [(c, f) for c in range(n_channels) for f in range(step, n_frames, 64)]
        for k in range(n_stages):
            pairs = [(frames[c][f - 1] if step else [], frames[c][f]) for c, f in lanes]
            hidden = [_hidden(t, k, *pair) for pair in pairs]
            parts = [symbol(_counts(t, h, t["w_part"][k], t["b_part"][k])) for h in hidden]
            for (c, f), h, part in zip(lanes, hidden, parts, strict=True):
                member = symbol(_counts(t, h, t["w_member"][k][part], t["b_member"][k][part]))
                frames[c][f].append(t["rank"][k].index((part << part_bits) + member))
    return [[[frame[k] for frame in channel] for k in range(n_stages)] for channel in frames]


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


def decode(data, stages=None, tables=None):
    """(header dict, codes[channel][stage][frame], n_samples, n_input_samples) of a whole file;
    ``tables``: bytes of the entropy coder's tables, if the file needs them."""
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
    head.update(_fields(data[42 + data[41] : at]))
    _need(head["coding"] == bool(head["tables"]), "coding")
    if head["coding"]:
        tables, name = load_tables(tables)
        _need(name == head["tables"], "other tables")
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
        n_packets += 1
        if kind == 0x83 and head["coding"]:
            for old, new in zip(codes, _coded(payload, tables, n_channels, n_stages), strict=True):
                old[:] = [row + more for row, more in zip(old, new, strict=False)]
            continue
        _need(kind == 0x81, "packet type")
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
