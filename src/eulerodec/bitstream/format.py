"""The bytes of an ``.eul`` file, version 1: constants, limits, header and packet layout.

``docs/bitstream.md`` is the specification; this module and it say the same. All integers are
unsigned and big-endian. No torch here.
"""

from __future__ import annotations

import zlib

from ..errors import BitstreamError
from .constants import (
    BODY,
    COUNTS,
    CRC,
    CRITICAL,
    ENTROPY,
    FIELD,
    FIXED_WIDTH,
    HASH_SIZE,
    MAGIC,
    PACKET,
    PREFIX,
    SYNC,
    UNKNOWN,
    VERSION,
)
from .fields import SEGMENTS, TABLES, Fields, Segment, pack_segments, parse_segments
from .header import StreamInfo
from .source import Source

__all__ = ["pack_counts", "pack_header", "pack_packet", "parse_body", "parse_counts", "read_header"]


def pack_header(info: StreamInfo) -> bytes:
    """The header as bytes: prefix, body, CRC-32 of all that is before it."""
    name = info.model_id.encode()
    body = BODY.pack(
        FIXED_WIDTH if info.entropy_tables is None else ENTROPY,
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
    body += pack_segments(info.segments)
    if info.entropy_tables is not None:
        body += FIELD.pack(TABLES, HASH_SIZE) + info.entropy_tables
    header = PREFIX.pack(MAGIC, VERSION, len(body)) + body
    return header + CRC.pack(zlib.crc32(header))


def read_header(source: Source) -> StreamInfo:
    """The header at the front of a stream. Errors: :class:`BitstreamError`."""
    prefix = source.take(PREFIX.size)
    if not prefix:
        raise BitstreamError("the file is empty, not an .eul file")
    if not prefix.startswith(MAGIC):
        if len(prefix) < len(MAGIC) and MAGIC.startswith(prefix):
            raise BitstreamError(f"the file is cut short inside its header: {len(prefix)} bytes")
        raise BitstreamError(f"not an .eul file: it starts with {prefix[:4].hex()}, not 8945554c")
    if len(prefix) < PREFIX.size:
        raise BitstreamError(f"the file is cut short inside its header: {len(prefix)} bytes")
    _, version, size = PREFIX.unpack(prefix)
    rest = source.take(size + CRC.size)  # 64 KiB at most
    sound = rest[size:] == CRC.pack(zlib.crc32(rest[:size], zlib.crc32(prefix)))
    if version != VERSION:
        hint = "update eulerodec" if sound else "or the header is damaged: its checksum is wrong"
        raise BitstreamError(f"format version {version}, this reader knows {VERSION}: {hint}")
    if len(rest) < size + CRC.size:
        raise BitstreamError(
            f"the file is cut short inside its header: {len(prefix) + len(rest)} of "
            f"{len(prefix) + size + CRC.size} bytes"
        )
    if not sound:
        raise BitstreamError("the header is damaged: its checksum is wrong")
    return parse_body(rest[:size])


def parse_body(body: bytes) -> StreamInfo:
    """The header's body, whose CRC was right. Errors: :class:`BitstreamError`."""
    if len(body) < BODY.size:
        raise BitstreamError(f"header is damaged: {len(body)} bytes, at least {BODY.size} expected")
    (coding, weights_hash, bits, stages, channels, hop, frames, rate, input_rate) = BODY.unpack(
        body[: BODY.size]
    )[:9]
    counts = body[BODY.size - 11 : BODY.size - 1]
    if coding not in (FIXED_WIDTH, ENTROPY):
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
    extensions, segments, tables = _parse_fields(body[name_end:])
    if (tables is not None) != (coding == ENTROPY):
        raise BitstreamError("header is damaged: entropy tables and payload coding contradict")
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
        segments=segments,
        extensions=extensions,
        entropy_tables=tables,
    )


def _parse_fields(data: bytes) -> tuple[Fields, tuple[Segment, ...], bytes | None]:
    """Optional fields at the end of the header; unknown ones are kept, critical ones refused."""
    fields: list[tuple[int, bytes]] = []
    segments: tuple[Segment, ...] = ()
    tables = None
    at = 0
    while at < len(data):
        if at + FIELD.size > len(data):
            raise BitstreamError("header is damaged: an optional field is cut short")
        tag, size = FIELD.unpack_from(data, at)
        value = data[at + FIELD.size : at + FIELD.size + size]
        if len(value) < size:
            raise BitstreamError("header is damaged: an optional field is cut short")
        if tag == SEGMENTS and not segments:
            segments = parse_segments(value)
        elif tag == TABLES and tables is None:
            tables = value
        elif tag & CRITICAL:
            raise BitstreamError(f"header field {tag:#04x} is not known here: update eulerodec")
        else:
            fields.append((tag, value))
        at += FIELD.size + size
    return tuple(fields), segments, tables


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
