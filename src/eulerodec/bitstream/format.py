"""The bytes of headers and packets; ``docs/bitstream.md`` is the specification."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import astuple
from dataclasses import fields as dataclass_fields

from ..errors import BitstreamError
from .constants import (
    BITRATE,
    CONSTANT,
    CRC_SIZE,
    END_HEAD,
    HASH_SIZE,
    HEADER_CRC,
    MAGIC,
    MAX_INDEX,
    OPEN,
    PACKET,
    PREFIX,
    RATES,
    SYNC,
    UNUSUAL,
    VERSION,
)
from .header import DEFAULT_CONTEXT, StreamInfo
from .metadata import Metadata, pack_metadata, parse_metadata
from .source import Source
from .timeline import MAX_SEGMENTS, Segment
from .varint import Cursor, pack_varint

__all__ = ["checksum", "header_size", "pack_end", "pack_header", "pack_packet", "read_header"]

CONTEXT = 4  # tags of optional fields; those of the metadata are 1 to 3
SEGMENTS = 0x80
CRITICAL = 0x80  # a field whose tag has this bit must be understood


def pack_header(info: StreamInfo) -> bytes:
    """The header as bytes: prefix, body, CRC-32 of all that is before it.

    Raises:
        BitstreamError: segments and optional fields take more than 64 KiB.
    """
    return _frame(_pack_body(info) + _pack_fields(info))


def header_size(info: StreamInfo) -> int:
    """Bytes of the header without optional fields (metadata, context, segments)."""
    return len(_frame(_pack_body(info)))


def _frame(body: bytes) -> bytes:
    if len(body) > 0xFFFF:
        raise BitstreamError(f"header of {len(body)} bytes is too long, the limit is {0xFFFF}")
    header = PREFIX.pack(MAGIC, VERSION, len(body)) + body
    return header + HEADER_CRC.pack(zlib.crc32(header))


def _pack_body(info: StreamInfo) -> bytes:
    flags = CONSTANT if info.n_codebooks is not None else 0
    counts: list[int] = []
    if info.n_samples is None or info.n_input_samples is None:
        flags |= OPEN
    else:
        counts.append(info.n_input_samples)
        if info.n_samples != _usual_samples(info.n_input_samples, info):
            flags |= UNUSUAL
            counts.append(info.n_samples)
    if info.n_codebooks is not None and info.codebook_bits is not None:
        coding = bytes([info.n_codebooks, info.codebook_bits])
    else:
        coding = BITRATE.pack(round((info.bitrate_kbps or 0) * 100))
    name = info.model_id.encode()
    rates = (info.sample_rate, info.input_sample_rate)
    codes = [RATES.index(rate) if rate in RATES else 0 for rate in rates]
    stated = [rate for rate, code in zip(rates, codes, strict=True) if code == 0]
    numbers = [info.n_channels, info.hop_length, info.frames_per_packet, *stated, *counts]
    return b"".join(
        [
            bytes([flags]),
            info.weights_hash,
            bytes([codes[0] << 4 | codes[1]]),
            *map(pack_varint, numbers),
            coding,
            bytes([len(name)]),
            name,
        ]
    )


def _usual_samples(n_input_samples: int, info: StreamInfo) -> int:
    return -(-n_input_samples * info.sample_rate // info.input_sample_rate)


def _pack_fields(info: StreamInfo) -> bytes:
    fields = list(pack_metadata(info.metadata))
    if info.context != DEFAULT_CONTEXT:
        fields.append((CONTEXT, _numbers(info.context)))
    fields += info.extensions
    if info.segments:
        numbers = (number for segment in info.segments for number in astuple(segment))
        fields.append((SEGMENTS, _numbers(numbers)))
    return b"".join(bytes([tag]) + pack_varint(len(value)) + value for tag, value in fields)


def _numbers(numbers: Iterable[int]) -> bytes:
    return b"".join(map(pack_varint, numbers))


def read_header(source: Source) -> StreamInfo:
    """The header at the front of a stream.

    Raises:
        BitstreamError: it is not one, is damaged, or is of another version.
    """
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
    rest = source.take(size + HEADER_CRC.size)  # 64 KiB at most
    sound = rest[size:] == HEADER_CRC.pack(zlib.crc32(rest[:size], zlib.crc32(prefix)))
    if version != VERSION:
        if not sound:
            hint = "or the header is damaged: its checksum is wrong"
        elif version < VERSION:
            hint = "an earlier release wrote the file; encode the audio again with this one"
        else:
            hint = "update eulerodec"
        raise BitstreamError(f"format version {version}, this reader knows {VERSION}: {hint}")
    if len(rest) < size + HEADER_CRC.size:
        raise BitstreamError(
            f"the file is cut short inside its header: {len(prefix) + len(rest)} of "
            f"{len(prefix) + size + HEADER_CRC.size} bytes"
        )
    if not sound:
        raise BitstreamError("the header is damaged: its checksum is wrong")
    return _parse_body(Cursor(rest[:size]))


def _parse_body(body: Cursor) -> StreamInfo:
    flags = body.byte()
    if flags & ~(CONSTANT | OPEN | UNUSUAL):
        raise BitstreamError(f"header flags {flags:#04x} are not known here: update eulerodec")
    weights_hash = body.take(HASH_SIZE)
    codes = body.byte()
    n_channels, hop_length, frames_per_packet = (body.varint() for _ in range(3))
    rates = [_rate(code, body) for code in (codes >> 4, codes & 15)]
    n_samples = n_input_samples = None
    if not flags & OPEN:
        n_input_samples = body.varint()
        if flags & UNUSUAL:
            n_samples = body.varint()
    if flags & CONSTANT:
        coding: dict[str, float] = {"n_codebooks": body.byte(), "codebook_bits": body.byte()}
    else:
        coding = {"bitrate_kbps": BITRATE.unpack(body.take(BITRATE.size))[0] / 100}
    try:
        model_id = body.take(body.byte()).decode("utf-8")
    except UnicodeDecodeError:
        raise BitstreamError("the header is damaged: the model id is not UTF-8") from None
    for name, value in (("frames_per_packet", frames_per_packet), *coding.items()):
        if value == 0:  # to StreamInfo it means "choose for me"
            raise BitstreamError(f"the header is damaged: {name} is 0")
    if 0 in rates:
        raise BitstreamError("the header is damaged: a sample rate is 0")
    if n_input_samples is not None and n_samples is None:
        n_samples = -(-n_input_samples * rates[0] // rates[1])
    fields, segments = _parse_fields(body)
    metadata, context, extensions = _known_fields(fields)
    return StreamInfo(
        model_id=model_id,
        weights_hash=weights_hash,
        input_sample_rate=rates[1],
        **coding,  # pyright: ignore[reportArgumentType]
        n_channels=n_channels,
        sample_rate=rates[0],
        hop_length=hop_length,
        frames_per_packet=frames_per_packet,
        n_samples=n_samples,
        n_input_samples=n_input_samples,
        segments=segments,
        context=context,
        metadata=metadata,
        extensions=extensions,
    )


def _rate(code: int, body: Cursor) -> int:
    if code >= len(RATES):
        raise BitstreamError(f"sample rate {code} is not known here: update eulerodec")
    return RATES[code] or body.varint()


def _parse_fields(body: Cursor) -> tuple[list[tuple[int, bytes]], tuple[Segment, ...]]:
    """Optional fields at the end of the header; critical ones that are not known are refused."""
    fields: list[tuple[int, bytes]] = []
    segments: tuple[Segment, ...] = ()
    while body:
        tag = body.byte()
        value = body.take(body.varint())
        if tag == SEGMENTS and not segments:
            segments = _parse_segments(value)
        elif tag & CRITICAL:
            raise BitstreamError(f"header field {tag:#04x} is not known here: update eulerodec")
        else:
            fields.append((tag, value))
    return fields, segments


def _parse_segments(value: bytes) -> tuple[Segment, ...]:
    cursor, segments = Cursor(value), []
    while cursor and len(segments) <= MAX_SEGMENTS:
        segments.append(_segment(cursor))
    if not segments:
        raise BitstreamError("the header is damaged: its list of segments is empty")
    return tuple(segments)


def _segment(cursor: Cursor) -> Segment:
    return Segment(**{field.name: cursor.varint() for field in dataclass_fields(Segment)})


def _known_fields(
    fields: list[tuple[int, bytes]],
) -> tuple[Metadata, tuple[int, int], tuple[tuple[int, bytes], ...]]:
    """Metadata, context, and the fields that mean nothing here; the first of each tag counts."""
    first = dict(reversed(fields))
    context = DEFAULT_CONTEXT
    if CONTEXT in first:
        cursor = Cursor(first[CONTEXT])
        context = (cursor.varint(), cursor.varint())
    return parse_metadata(first), context, tuple(field for field in fields if field[0] > CONTEXT)


def checksum(*parts: bytes) -> bytes:
    """The checksum of packets: the low 24 bits of a CRC-32, big-endian."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return (crc & 0xFFFFFF).to_bytes(CRC_SIZE, "big")


def pack_packet(payload: bytes, n_frames: int, index: int) -> bytes:
    """A packet as bytes.

    Args:
        payload: up to 65535 bytes.
        n_frames: 1 to 255.
        index: number of the packet in its stream, taken modulo 256.
    """
    head = PACKET.pack(SYNC, n_frames, index % MAX_INDEX, len(payload), b"")[:-CRC_SIZE]
    return head + checksum(head, payload) + payload


def pack_end(index: int, counts: tuple[int, int] | None) -> bytes:
    """The end packet as bytes.

    Args:
        index: number of the data packets before it.
        counts: ``n_samples`` and ``n_input_samples``, if the header left them open.
    """
    head = END_HEAD.pack(SYNC, 0, index % MAX_INDEX)
    head += b"".join(map(pack_varint, counts or ()))
    return head + checksum(head)
