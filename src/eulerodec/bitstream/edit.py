"""Cutting and joining files without encoding again: packets are moved, never changed.

What is cut keeps the packets around it that the decoder needs, so that its audio is the same as
that of the whole file, sample by sample; the header says what to drop, see :class:`Segment`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..errors import BitstreamError
from .header import StreamInfo
from .reader import EulReader
from .records import EulFile, Packet
from .source import ReadableBytes
from .timeline import MAX_SEGMENTS, Segment
from .writer import EulWriter, WritableBytes

__all__ = ["concat_files", "cut_file", "plan_range", "read_range"]

# Frames on each side whose audio the resampler may look at. The filters of a very good one reach
# 300 samples to each side going to 8 kHz, 700 going to 3 kHz; these are 2112 at 24 kHz.
RESAMPLER_FRAMES = 8

Ranges = list[tuple[int, int]]


def read_range(
    source: ReadableBytes, start: int, stop: int | None = None, *, recover: bool = False
) -> EulFile:
    """The packets for a range of samples, of a file that can seek.

    Only these packets, and the heads of the others, are read.

    Args:
        source: a binary file object.
        start: first sample, counted at the input's rate.
        stop: the sample after the last one; ``None`` or beyond the end is the end.
        recover: lost packets come without payload.

    Returns:
        What a file made by :func:`cut_file` would hold.

    Raises:
        BitstreamError: an empty range, a pipe, or damage in what is needed.
    """
    reader = EulReader(source, recover=recover)
    info, ranges = plan_range(reader, start, stop)
    packets, n_frames = [], 0
    for packet in _packets_of(reader, ranges):
        packets.append(Packet(len(packets), n_frames, packet.n_frames, packet.payload))
        n_frames += packet.n_frames
    return EulFile(info, packets, reader.damage)


def cut_file(
    source: ReadableBytes, sink: WritableBytes, start: int, stop: int | None = None
) -> StreamInfo:
    """Write the range of :func:`read_range` as a file of its own; the new header."""
    reader = EulReader(source)
    info, ranges = plan_range(reader, start, stop)
    with EulWriter(sink, info) as writer:
        for packet in _packets_of(reader, ranges):
            writer.write(packet.payload or b"", packet.n_frames)
    return writer.info


def _packets_of(reader: EulReader, ranges: Ranges) -> Iterator[Packet]:
    for first, last in ranges:
        yield from reader.packets_between(first, last)


def concat_files(
    sources: Sequence[ReadableBytes],
    sink: WritableBytes,
    *,
    names: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> StreamInfo:
    """Write files one after the other as one file; the new header.

    The decoded audio is that of the files, joined without a gap. The first file gives the metadata;
    a gain is kept only if it is that of all, and the highest bitrate becomes the nominal one.

    Args:
        sources: binary file objects that can seek.
        sink: where the new file goes.
        names: of the files, for messages.
        progress: called with the share that is done.

    Raises:
        BitstreamError: files that do not fit together, or are damaged.
    """
    names = names or [f"file {i + 1}" for i in range(len(sources))]
    if not sources:
        raise BitstreamError("there are no files to join")
    readers, lengths = [], []
    for source, name in zip(sources, names, strict=True):
        try:
            readers.append(EulReader(source))
            lengths.append(readers[-1].scan())
        except BitstreamError as error:
            raise BitstreamError(f"{name}: {error}", recoverable=error.recoverable) from error
        _check_same(readers[0].info, readers[-1].info, names[0], name)
    info = _joined([reader.info for reader in readers], lengths)
    with EulWriter(sink, info) as writer:
        for i, (reader, n_frames, name) in enumerate(zip(readers, lengths, names, strict=True)):
            try:
                for packet in reader.packets_between(0, n_frames):
                    writer.write(packet.payload or b"", packet.n_frames)
            except BitstreamError as error:
                raise BitstreamError(f"{name}: {error}", recoverable=error.recoverable) from error
            if progress is not None:
                progress((i + 1) / len(readers))
    return writer.info


def plan_range(reader: EulReader, start: int, stop: int | None = None) -> tuple[StreamInfo, Ranges]:
    """What :func:`read_range` reads, found without reading payloads.

    Returns:
        The header of the range, and (first, last + 1) of its frames, which are whole packets.

    Raises:
        BitstreamError: as there.
    """
    n_frames = reader.scan()
    info = reader.info
    total = info.n_input_samples or 0
    asked = max(start, total) if stop is None else stop
    stop = min(asked, total)
    if not 0 <= start < stop and not (start == stop == total == 0):
        at = [f"{number / info.input_sample_rate:.3f}" for number in (start, asked, total)]
        raise BitstreamError(
            f"{at[0]} s to {at[1]} s has nothing of the file, it is {at[2]} s long"
        )
    if (start, stop) == (0, total):
        return info, [(0, n_frames)]
    segments: list[Segment] = []
    ranges: Ranges = []
    before = 0  # samples of the output, at the input's rate
    for first, segment in info.timeline.parts(n_frames):
        a, b = max(start - before, 0), min(stop - before, segment.n_input_samples)
        before += segment.n_input_samples
        if a < b:
            offset, part = _cut_segment(info, segment, a, b)
            segments.append(part)
            ranges.append((first + offset, first + offset + part.n_frames))
    return info.with_timeline(info.timeline.of_segments(segments)), ranges


def _cut_segment(info: StreamInfo, old: Segment, start: int, stop: int) -> tuple[int, Segment]:
    """Input samples ``start`` to ``stop`` of what a segment keeps: (frames to skip, segment)."""
    if (start, stop) == (0, old.n_input_samples):
        return 0, old
    hop, rate, input_rate = info.hop_length, info.sample_rate, info.input_sample_rate
    size, margin = info.frames_per_packet, RESAMPLER_FRAMES * hop
    back, ahead = info.context
    # Positions in what is used of the segment's audio: at the input's rate, at the model's.
    start_input, end = start + old.skip_input_samples, old.skip_samples + old.n_samples
    stop_input = stop + old.skip_input_samples
    start_model = min(max(-(-start_input * rate // input_rate), old.skip_samples), end)
    stop_model = min(max(-(-stop_input * rate // input_rate), start_model), end)
    if stop == old.n_input_samples:
        stop_model = end
    # Only every so many samples start on a sample of the input's rate: resampling from there gives
    # the same samples as resampling from the start.
    grid = rate // math.gcd(rate, input_rate)
    origin = max(start_model - margin, 0) // grid * grid
    decoded_end = min(stop_model + margin, old.n_decoded)
    # The same positions in all the audio of the segment's frames, to whole packets.
    first = max((old.first_sample + origin) // hop - back, 0) // size * size
    last = -(-(old.first_sample + decoded_end) // hop) + ahead
    last = min(-(-last // size) * size, old.n_frames)
    return first, Segment(
        n_frames=last - first,
        first_sample=old.first_sample + origin - first * hop,
        n_decoded=decoded_end - origin,
        skip_samples=start_model - origin,
        n_samples=stop_model - start_model,
        skip_input_samples=start_input - origin * input_rate // rate,
        n_input_samples=stop - start,
    )


def _check_same(first: StreamInfo, other: StreamInfo, first_name: str, name: str) -> None:
    for what, key in (
        ("weights", lambda info: info.weights_hash.hex()),
        ("coding", lambda info: info.coding),
        ("codebooks", lambda info: info.n_codebooks),
        ("channels", lambda info: info.n_channels),
        ("input sample rate", lambda info: info.input_sample_rate),
        ("model sample rate", lambda info: info.sample_rate),
        ("hop length", lambda info: info.hop_length),
        ("bits per code", lambda info: info.codebook_bits),
        ("frames per packet", lambda info: info.frames_per_packet),
    ):
        if key(first) != key(other):
            hint = "; `eulerodec rate` brings them to one rate" if what == "codebooks" else ""
            raise BitstreamError(
                f"{name} does not fit to {first_name}: {what} {key(other)}, not {key(first)}{hint}"
            )


def _joined(infos: Sequence[StreamInfo], lengths: Sequence[int]) -> StreamInfo:
    info = infos[0]
    if len(infos) == 1:
        return info
    segments = [
        segment
        for other, n_frames in zip(infos, lengths, strict=True)
        for _, segment in other.timeline.parts(n_frames)
        if n_frames
    ]
    if len(segments) > MAX_SEGMENTS:
        raise BitstreamError(f"the files have {len(segments)} parts, the limit is {MAX_SEGMENTS}")
    metadata = info.metadata
    if len({other.metadata.gain_db for other in infos}) > 1:
        metadata = replace(metadata, gain_db=0.0)
    return info.replace(
        metadata=metadata,
        context=tuple(max(column) for column in zip(*(o.context for o in infos), strict=True)),
        bitrate_kbps=max((o.bitrate_kbps for o in infos if o.bitrate_kbps), default=None),
    ).with_timeline(info.timeline.of_segments(segments))
