"""Streams for the tests of the format."""

import io
import zlib

import numpy as np

from eulerodec.bitstream import (
    ConstantCoder,
    ConstantCodes,
    EulWriter,
    Packet,
    RateControl,
    StreamInfo,
    concat_files,
    cut_file,
    lower_rate,
)

HASH = bytes(range(8))


def make_info(**changes):
    """Planes at 6 kbps, 4 frames a packet; ``n_codebooks`` makes it the constant coding."""
    fields = {
        "model_id": "test-model",
        "weights_hash": HASH,
        "input_sample_rate": 24_000,
        "frames_per_packet": 4,
    }
    if changes.get("n_codebooks") is None:
        fields["bitrate_kbps"] = 6.0
    return StreamInfo(**{**fields, **changes})


def split(n_frames, size):
    """Frames of each packet."""
    return [min(size, n_frames - start) for start in range(0, n_frames, size)]


def make_payloads(info, n_frames, seed=0):
    """Payloads of any size (planes), or of the one that is right (constant)."""
    rng = np.random.default_rng(seed)
    found = []
    for n in split(n_frames, info.frames_per_packet):
        size = info.payload_size(n) if info.n_codebooks else int(rng.integers(0, 30))
        found.append((n, rng.bytes(size)))
    return found


def write_stream(info, payloads, counts=()):
    sink = io.BytesIO()
    writer = EulWriter(sink, info)
    for n_frames, payload in payloads:
        writer.write(payload, n_frames)
    writer.close(*counts)
    return sink.getvalue()


def make_stream(n_frames=14, *, live=False, seed=0, **changes):
    """(bytes, [(n_frames, payload), ...]) of a file whose last frame is one third full."""
    info = make_info(**changes)
    n_samples = max(n_frames * info.hop_length - 176, 0)
    counts = n_samples, n_samples * info.input_sample_rate // info.sample_rate
    payloads = make_payloads(info, n_frames, seed)
    return write_stream(info if live else info.with_counts(*counts), payloads, counts), payloads


def pairs(packets):
    """What was written, of packets that were read."""
    return [(packet.n_frames, packet.payload) for packet in packets]


def make_packets(payloads):
    found, start = [], 0
    for n_frames, payload in payloads:
        found.append(Packet(len(found), start, n_frames, payload))
        start += n_frames
    return found


class PlanesLikeCoder:
    """A payload coder with the contract of that for planes: any prefix is a valid payload.

    The codes of a packet are the number of bytes that it would take at any rate.
    """

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def encode(self, codes, max_bytes):
        return self.rng.bytes(codes)[:max_bytes]


def encode_planes(info, wanted, *, carry=True, kbps=None, last_samples=None):
    """A file of packets that would take ``wanted`` bytes each if there were no limit.

    Returns bytes, and the bytes of all packets after each packet.
    """
    control, coder = RateControl(info, kbps, carry=carry), PlanesLikeCoder()
    sink, totals = io.BytesIO(), []
    writer = EulWriter(sink, info)
    head = writer.bytes_written
    for i, (n_frames, size) in enumerate(wanted):
        n = last_samples if i == len(wanted) - 1 else None
        payload = coder.encode(size, control.budget(n_frames, n))
        control.spend(n_frames, len(payload), n)
        writer.write(payload, n_frames)
        totals.append(writer.bytes_written - head)
    writer.close(last_samples)
    return sink.getvalue(), totals


def make_constant(n_frames=14, *, live=False, seed=0, n_codebooks=3, **changes):
    """(bytes, levels [packets, C], codes [C, K, T]) of a file of the constant coding."""
    info = make_info(n_codebooks=n_codebooks, **changes)
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1 << info.codebook_bits, (info.n_channels, n_codebooks, n_frames))
    sizes = split(n_frames, info.frames_per_packet)
    levels = rng.integers(0, 256, (len(sizes), info.n_channels))
    coder, payloads, start = ConstantCoder(info), [], 0
    for n, level in zip(sizes, levels, strict=True):
        part = ConstantCodes(level, codes[:, :, start : start + n])
        payloads.append((n, coder.encode(part)))
        start += n
    n_samples = max(n_frames * info.hop_length - 176, 0)
    counts = n_samples, n_samples * info.input_sample_rate // info.sample_rate
    data = write_stream(info if live else info.with_counts(*counts), payloads, counts)
    return data, levels, codes


def read_codes(file, n_codebooks=None):
    """(levels [packets, C], codes [C, K, T]) of a file that was read."""
    coder = ConstantCoder(file.info, n_codebooks)
    found = [coder.decode(packet.payload, packet.n_frames) for packet in file.packets]
    shape = (file.info.n_channels, coder.n_codebooks, 0)
    codes = np.concatenate([np.zeros(shape, int), *(part.codes for part in found)], axis=2)
    return np.array([part.levels for part in found]).reshape(len(found), shape[0]), codes


def cut(data, start, stop=None):
    sink = io.BytesIO()
    cut_file(io.BytesIO(data), sink, start, stop)
    return sink.getvalue()


def concat(*files):
    sink = io.BytesIO()
    concat_files([io.BytesIO(data) for data in files], sink)
    return sink.getvalue()


def lower(data, bitrate_kbps=None, **options):
    sink = io.BytesIO()
    lower_rate(io.BytesIO(data), sink, bitrate_kbps, **options)
    return sink.getvalue()


def header_end(data):
    """Bytes of the header."""
    return 11 + int.from_bytes(data[5:7], "big")


def packet_offsets(data):
    """Offsets of the packets of a sound file, the end packet last."""
    at, offsets = header_end(data), []
    while True:
        offsets.append(at)
        if data[at + 1] == 0:
            return offsets
        at += 8 + int.from_bytes(data[at + 3 : at + 5], "big")


def with_header_bytes(data, offset, new):
    """A header with other bytes and a checksum that fits them: what an attacker would write."""
    end = header_end(data) - 4
    head = bytearray(data[:end])
    head[offset : offset + len(new)] = new
    return bytes(head) + zlib.crc32(head).to_bytes(4, "big") + data[end + 4 :]


def with_body(data, body):
    """Another body of the header, with a size and a checksum that fit it."""
    head = data[:5] + len(body).to_bytes(2, "big") + body
    return head + zlib.crc32(head).to_bytes(4, "big") + data[header_end(data) :]


def raw_packet(n_frames, index, payload):
    """A packet made by hand, from the specification."""
    head = bytes([0xE5, n_frames, index % 256]) + len(payload).to_bytes(2, "big")
    return head + zlib.crc32(head + payload).to_bytes(4, "big")[1:] + payload


def raw_end(index, counts=b""):
    """An end packet made by hand."""
    head = bytes([0xE5, 0, index % 256]) + counts
    return head + zlib.crc32(head).to_bytes(4, "big")[1:]


class OneByteAtATime:
    """A file object that, like a slow pipe, gives and takes one byte per call and cannot seek."""

    def __init__(self, data=b""):
        self.data = bytearray(data)
        self.at = 0

    def read(self, size, /):
        chunk = bytes(self.data[self.at : self.at + min(size, 1)])
        self.at += len(chunk)
        return chunk

    def write(self, data, /):
        self.data += data[:1]
        return len(data[:1])
