"""The bytes of an ``.eul`` file, version 1: constants, limits, header and packet layout.

``docs/bitstream.md`` is the specification; this module and it say the same. All integers are
unsigned and big-endian. Everything here is pure computation on bytes: no file access, no torch.
"""

from __future__ import annotations

import operator
import struct
import zlib
from dataclasses import dataclass, replace
from typing import Any

from eulerodec.bitstream.pack import packed_size
from eulerodec.errors import BitstreamError

__all__ = ["VERSION", "StreamInfo"]

MAGIC = b"\x89EUL"
VERSION = 1
PREFIX = struct.Struct(">4sBH")  # magic, version, size of the body
BODY = struct.Struct(">B8sBBBHHII5s5sB")  # up to the length of the model id; see `pack_header`
CRC = struct.Struct(">I")
FIELD = struct.Struct(">BH")  # optional header field: tag, size

SYNC = 0xE5
DATA = 0x81
END = 0x82
CRITICAL = 0x80  # a packet or header field whose type has this bit must be understood
PACKET = struct.Struct(">BB3sHI")  # sync, type, index, payload size, CRC-32
COUNTS = struct.Struct(">5s5s")  # payload of an end packet whose header left the counts open

FIXED_WIDTH = 0  # the only payload coding of version 1
UNKNOWN = (1 << 40) - 1  # sample counts are 40-bit; all ones = not known when the header was sent
HASH_SIZE = 8
MAX_PAYLOAD = 0xFFFF  # bytes: bounds the memory of a reader
MAX_PACKETS = 1 << 24
MAX_SAMPLE_RATE = 1_000_000
MAX_MODEL_ID = 64  # bytes of UTF-8
DEFAULT_FRAMES = 256  # 2.8 s of the 24 kHz model, and whole bytes for any number of codes


@dataclass(frozen=True, kw_only=True)
class StreamInfo:
    """What the header of an ``.eul`` file says; checked on construction.

    - ``model_id``: name of the model, 1 to 64 bytes of printable UTF-8
    - ``weights_hash``: first 8 bytes of the SHA-256 of the model's weights file
    - ``sample_rate``, ``hop_length``: of the model, Hz and samples per frame
    - ``input_sample_rate``: of the audio that was encoded, Hz
    - ``n_channels``, ``n_codebooks``: codes are [n_channels, n_codebooks, T]
    - ``codebook_bits``: bits of one code, 8 to 16
    - ``frames_per_packet``: 0 on construction takes 256, or as many as fit in one packet
    - ``n_samples``, ``n_input_samples``: samples per channel at ``sample_rate`` and at
      ``input_sample_rate``; both ``None`` if not known yet (a live stream)
    - ``extensions``: optional header fields as (tag, value), kept as they are

    Errors: :class:`BitstreamError` naming the field.
    """

    model_id: str
    weights_hash: bytes
    input_sample_rate: int
    n_codebooks: int
    n_channels: int = 1
    sample_rate: int = 24_000
    hop_length: int = 264
    codebook_bits: int = 11
    frames_per_packet: int = 0
    n_samples: int | None = None
    n_input_samples: int | None = None
    extensions: tuple[tuple[int, bytes], ...] = ()

    def __post_init__(self) -> None:
        self._whole("sample_rate", 1, MAX_SAMPLE_RATE)
        self._whole("input_sample_rate", 1, MAX_SAMPLE_RATE)
        self._whole("hop_length", 1, 0xFFFF)
        self._whole("n_channels", 1, 0xFF)
        self._whole("n_codebooks", 1, 0xFF)
        self._whole("codebook_bits", 8, 16)
        if self.frames_per_packet == 0:
            most = MAX_PAYLOAD * 8 // self._bits_per_frame
            object.__setattr__(self, "frames_per_packet", min(DEFAULT_FRAMES, most))
        self._whole("frames_per_packet", 1, 0xFFFF)
        if self.payload_size(self.frames_per_packet) > MAX_PAYLOAD:
            raise BitstreamError(
                f"a packet of {self.frames_per_packet} frames would take "
                f"{self.payload_size(self.frames_per_packet)} bytes, the limit is {MAX_PAYLOAD}"
            )
        if not isinstance(self.weights_hash, bytes) or len(self.weights_hash) != HASH_SIZE:
            raise BitstreamError(f"weights_hash must be {HASH_SIZE} bytes")
        name = self.model_id.encode("utf-8", "replace")
        if not 1 <= len(name) <= MAX_MODEL_ID or not self.model_id.isprintable():
            raise BitstreamError(
                f"model_id must be 1 to {MAX_MODEL_ID} bytes of printable text: {self.model_id!r}"
            )
        self._check_counts()
        self._check_extensions()

    def _whole(self, name: str, low: int, high: int) -> None:
        """Store the field as a plain int (numpy scalars too) after a check of its range."""
        value = getattr(self, name)
        try:
            number = operator.index(value)
        except TypeError:
            raise BitstreamError(f"{name} must be a whole number: {value!r}") from None
        if not low <= number <= high:
            raise BitstreamError(f"{name} must be {low} to {high}, not {number}")
        object.__setattr__(self, name, number)

    def _check_counts(self) -> None:
        if (self.n_samples is None) != (self.n_input_samples is None):
            raise BitstreamError("n_samples and n_input_samples must be both known or both None")
        if self.n_samples is None or self.n_input_samples is None:
            return
        self._whole("n_samples", 0, UNKNOWN - 1)
        self._whole("n_input_samples", 0, UNKNOWN - 1)
        # Two counts of one duration: they may differ by rounding, at most by one frame.
        gap = self.n_input_samples * self.sample_rate - self.n_samples * self.input_sample_rate
        if abs(gap) > self.hop_length * self.input_sample_rate + self.sample_rate:
            raise BitstreamError(
                f"sample counts disagree: {self.n_input_samples} at {self.input_sample_rate} Hz "
                f"and {self.n_samples} at {self.sample_rate} Hz are not the same duration"
            )

    def _check_extensions(self) -> None:
        size = BODY.size + len(self.model_id.encode())
        for tag, value in self.extensions:
            if not 0 <= tag < CRITICAL:
                raise BitstreamError(f"tag of an optional header field must be 0 to 127, not {tag}")
            size += FIELD.size + len(value)
        if size > 0xFFFF:
            raise BitstreamError(f"header of {size} bytes is too long, the limit is {0xFFFF}")

    @property
    def _bits_per_frame(self) -> int:
        return self.n_channels * self.n_codebooks * self.codebook_bits

    def payload_size(self, n_frames: int) -> int:
        """Bytes of the codes of ``n_frames`` frames."""
        return packed_size(n_frames, self._bits_per_frame)

    def payload_frames(self, size: int) -> int | None:
        """Frames in a payload of ``size`` bytes, ``None`` if no number of frames has that size."""
        # At least 8 bits per frame: the padding of the last byte never looks like one more frame.
        n_frames = size * 8 // self._bits_per_frame
        fits = 1 <= n_frames <= self.frames_per_packet and self.payload_size(n_frames) == size
        return n_frames if fits else None

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def duration_s(self) -> float | None:
        """Seconds of audio, ``None`` if the counts are not known."""
        if self.n_input_samples is None:
            return None
        return self.n_input_samples / self.input_sample_rate

    @property
    def nominal_kbps(self) -> float:
        """Kilobits per second of the codes alone, all channels together."""
        return self._bits_per_frame * self.frame_rate / 1000

    def measured_kbps(self, n_bytes: int) -> float | None:
        """Kilobits per second of a file of ``n_bytes``; ``None`` without (known) duration."""
        return n_bytes * 8 / self.duration_s / 1000 if self.duration_s else None

    def replace(self, **changes: Any) -> StreamInfo:
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)

    def with_counts(self, n_samples: int, n_input_samples: int) -> StreamInfo:
        """A copy with the sample counts filled in, checked again."""
        return replace(self, n_samples=n_samples, n_input_samples=n_input_samples)

    def capped_counts(self, n_frames: int) -> tuple[int, int]:
        """Both sample counts for a stream of ``n_frames``: the known ones, or what frames hold."""
        most = n_frames * self.hop_length
        n_samples = most if self.n_samples is None else min(self.n_samples, most)
        if self.n_input_samples is not None and n_samples == self.n_samples:
            return n_samples, self.n_input_samples
        return n_samples, n_samples * self.input_sample_rate // self.sample_rate

    def time_range(self, first_packet: int, n_packets: int = 1) -> str:
        """Where packets lie, as text: ``2.82 s to 5.63 s``."""
        start = first_packet * self.frames_per_packet / self.frame_rate
        end = (first_packet + n_packets) * self.frames_per_packet / self.frame_rate
        if self.duration_s is not None:
            start, end = min(start, self.duration_s), min(end, self.duration_s)
        return f"{start:.2f} s to {end:.2f} s"


def pack_header(info: StreamInfo) -> bytes:
    """The header as bytes: prefix, body, CRC-32 of all that is before it."""
    name = info.model_id.encode()
    body = BODY.pack(
        FIXED_WIDTH,
        info.weights_hash,
        info.codebook_bits,
        info.n_codebooks,
        info.n_channels,
        info.hop_length,
        info.frames_per_packet,
        info.sample_rate,
        info.input_sample_rate,
        _pack_count(info.n_samples),
        _pack_count(info.n_input_samples),
        len(name),
    )
    body += name + b"".join(FIELD.pack(tag, len(value)) + value for tag, value in info.extensions)
    header = PREFIX.pack(MAGIC, VERSION, len(body)) + body
    return header + CRC.pack(zlib.crc32(header))


def parse_body(body: bytes) -> StreamInfo:
    """The header's body, whose CRC was right. Errors: :class:`BitstreamError`."""
    if len(body) < BODY.size:
        raise BitstreamError(f"header is damaged: {len(body)} bytes, at least {BODY.size} expected")
    (coding, weights_hash, bits, stages, channels, hop, frames, rate, input_rate) = BODY.unpack(
        body[: BODY.size]
    )[:9]
    counts = body[BODY.size - 11 : BODY.size - 1]
    if coding != FIXED_WIDTH:
        raise BitstreamError(f"payload coding {coding} is not known here: update eulerodec")
    name_end = BODY.size + body[BODY.size - 1]
    if name_end > len(body):
        raise BitstreamError("header is damaged: the model id is longer than the header")
    try:
        name = body[BODY.size : name_end].decode("utf-8")
    except UnicodeDecodeError:
        raise BitstreamError("header is damaged: the model id is not UTF-8") from None
    if frames == 0:  # 0 means "choose for me" to StreamInfo, in a file it means nothing
        raise BitstreamError("header is damaged: frames_per_packet must be 1 to 65535, not 0")
    n_samples, n_input_samples = parse_counts(counts)
    return StreamInfo(
        model_id=name,
        weights_hash=weights_hash,
        input_sample_rate=input_rate,
        n_codebooks=stages,
        n_channels=channels,
        sample_rate=rate,
        hop_length=hop,
        codebook_bits=bits,
        frames_per_packet=frames,
        n_samples=n_samples,
        n_input_samples=n_input_samples,
        extensions=_parse_fields(body[name_end:]),
    )


def _parse_fields(data: bytes) -> tuple[tuple[int, bytes], ...]:
    """Optional fields at the end of the header; unknown ones are kept, critical ones refused."""
    fields: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        if at + FIELD.size > len(data):
            raise BitstreamError("header is damaged: an optional field is cut short")
        tag, size = FIELD.unpack_from(data, at)
        value = data[at + FIELD.size : at + FIELD.size + size]
        if len(value) < size:
            raise BitstreamError("header is damaged: an optional field is cut short")
        if tag & CRITICAL:
            raise BitstreamError(f"header field {tag:#04x} is not known here: update eulerodec")
        fields.append((tag, value))
        at += FIELD.size + size
    return tuple(fields)


def pack_packet(kind: int, index: int, payload: bytes) -> bytes:
    """A packet as bytes; the CRC-32 covers sync, type, index, size and payload."""
    head = PACKET.pack(SYNC, kind, index.to_bytes(3, "big"), len(payload), 0)[: -CRC.size]
    return head + CRC.pack(zlib.crc32(payload, zlib.crc32(head))) + payload


def pack_counts(n_samples: int, n_input_samples: int) -> bytes:
    """Payload of the end packet of a stream whose header left the counts open."""
    return _pack_count(n_samples) + _pack_count(n_input_samples)


def parse_counts(data: bytes) -> tuple[int | None, int | None]:
    """Two 40-bit counts; all ones = ``None``."""
    n_samples, n_input_samples = (int.from_bytes(part, "big") for part in COUNTS.unpack(data))
    return (
        None if n_samples == UNKNOWN else n_samples,
        None if n_input_samples == UNKNOWN else n_input_samples,
    )


def _pack_count(count: int | None) -> bytes:
    return (UNKNOWN if count is None else count).to_bytes(5, "big")
