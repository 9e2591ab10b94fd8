"""Streams for the container's tests."""

import io
import zlib

import numpy as np

from eulerodec.bitstream import EulWriter, StreamInfo


def make_info(**changes):
    fields = {
        "model_id": "test-model",
        "weights_hash": bytes(range(8)),
        "input_sample_rate": 24_000,
        "n_codebooks": 3,
        "frames_per_packet": 4,
    }
    return StreamInfo(**{**fields, **changes})


def make_codes(n_channels, n_codebooks, n_frames, bits=11, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 1 << bits, (n_channels, n_codebooks, n_frames))


def make_stream(n_frames=14, *, live=False, **changes):
    """(bytes, codes) of a file whose last frame is one third full."""
    info = make_info(**changes)
    codes = make_codes(info.n_channels, info.n_codebooks, n_frames)
    n_samples = max(n_frames * info.hop_length - 176, 0)
    n_input = n_samples * info.input_sample_rate // info.sample_rate
    sink = io.BytesIO()
    writer = EulWriter(sink, info if live else info.with_counts(n_samples, n_input))
    writer.write(codes)
    writer.close(n_samples, n_input)
    return sink.getvalue(), codes


def packet_offsets(data):
    """Offsets of the packets of a sound file, the end packet last."""
    at, offsets = 11 + int.from_bytes(data[5:7], "big"), []
    while at < len(data):
        offsets.append(at)
        at += 11 + int.from_bytes(data[at + 5 : at + 7], "big")
    return offsets


def with_header_bytes(data, offset, new):
    """A header with other bytes and a checksum that fits them: what an attacker would write."""
    end = 7 + int.from_bytes(data[5:7], "big")
    head = bytearray(data[:end])
    head[offset : offset + len(new)] = new
    return bytes(head) + zlib.crc32(head).to_bytes(4, "big") + data[end + 4 :]


def raw_packet(kind, index, payload):
    """A packet made by hand, from the specification."""
    head = bytes([0xE5, kind]) + index.to_bytes(3, "big") + len(payload).to_bytes(2, "big")
    return head + zlib.crc32(head + payload).to_bytes(4, "big") + payload


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
