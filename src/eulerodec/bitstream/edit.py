"""Cutting and joining files without encoding again: codes are moved, never changed.

What is cut keeps the frames around it that the decoder needs, so that its audio is the same as
that of the whole file, sample by sample; the header says what to drop, see :class:`Segment`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import BitstreamError
from .convert import EulFile
from .fields import GAIN, MAX_SEGMENTS, Segment
from .header import StreamInfo
from .reader import EulReader
from .source import ReadableBytes
from .writer import EulWriter, WritableBytes

__all__ = ["concat_files", "cut_file", "plan_range", "read_range"]

# Frames on each side whose audio the resampler may look at. The filters of a very good one reach
# 300 samples to each side going to 8 kHz, 700 going to 3 kHz; these are 2112 at 24 kHz.
RESAMPLER_FRAMES = 8

Ranges = list[tuple[int, int]]


def read_range(
    source: ReadableBytes, start: int, stop: int | None = None, *, n_codebooks: int | None = None
) -> EulFile:
    """The samples from ``start`` to ``stop``, counted at the input's rate, of a file that can seek.

    What comes before is neither read nor decoded, apart from the frames that the decoder needs to
    give the same samples as for the whole file. ``stop`` None or beyond the end is the end.
    Errors: :class:`BitstreamError` for an empty range, a pipe, or damage in what is needed.
    """
    reader = EulReader(source, n_codebooks=n_codebooks)
    info, ranges = plan_range(reader, start, stop)
    none = np.zeros((info.n_channels, reader.n_codebooks, 0), np.int64)
    codes = np.concatenate([none, *(reader.read_frames(a, b) for a, b in ranges)], axis=2)
    return EulFile(info.replace(n_codebooks=reader.n_codebooks), codes)


def cut_file(
    source: ReadableBytes, sink: WritableBytes, start: int, stop: int | None = None
) -> StreamInfo:
    """Write the range of :func:`read_range` as a file of its own; the new header."""
    reader = EulReader(source)
    info, ranges = plan_range(reader, start, stop)
    with EulWriter(sink, info) as writer:
        for first, last in ranges:
            for codes in reader.iter_frames(first, last):
                writer.write(codes)
    return writer.info


def concat_files(
    sources: Sequence[ReadableBytes],
    sink: WritableBytes,
    *,
    names: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> StreamInfo:
    """Write files one after the other as one file; the new header.

    The decoded audio is that of the files, joined without a gap. The first file gives metadata
    and packet size; a gain is kept only if it is that of all. ``names`` are for messages. Errors:
    :class:`BitstreamError` for files that do not fit together, and as for :func:`cut_file`.
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
                for codes in reader.iter_frames(0, n_frames):
                    writer.write(codes)
            except BitstreamError as error:
                raise BitstreamError(f"{name}: {error}", recoverable=error.recoverable) from error
            if progress is not None:
                progress((i + 1) / len(readers))
    return writer.info


def plan_range(reader: EulReader, start: int, stop: int | None = None) -> tuple[StreamInfo, Ranges]:
    """What :func:`read_range` reads: the header of the range, and (first, last + 1) of its frames.

    Codes are not read for this. Errors: as there.
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
    for first, segment in info.parts(n_frames):
        a, b = max(start - before, 0), min(stop - before, segment.n_input_samples)
        before += segment.n_input_samples
        if a < b:
            offset, part = _cut_segment(info, segment, a, b)
            segments.append(part)
            ranges.append((first + offset, first + offset + part.n_frames))
    return info.with_segments(segments), ranges


def _cut_segment(info: StreamInfo, old: Segment, start: int, stop: int) -> tuple[int, Segment]:
    """Input samples ``start`` to ``stop`` of what a segment keeps: (frames to skip, segment)."""
    if (start, stop) == (0, old.n_input_samples):
        return 0, old
    hop, rate, input_rate = info.hop_length, info.sample_rate, info.input_sample_rate
    # Positions in all the audio of the segment's frames: at the input's rate, at the model's.
    start_input, end = start + old.skip_input_samples, old.skip_samples + old.n_samples
    stop_input = stop + old.skip_input_samples
    start_model = min(max(-(-start_input * rate // input_rate), old.skip_samples), end)
    stop_model = min(max(-(-stop_input * rate // input_rate), start_model), end)
    if stop == old.n_input_samples:
        stop_model = end
    back, ahead = info.context
    # Only every so many frames start on a sample of the input's rate: resampling from there gives
    # the same samples as resampling from the start.
    grid = rate // math.gcd(rate, hop * input_rate)
    first = max(start_model // hop - RESAMPLER_FRAMES - back, 0) // grid * grid
    decoded = min((-(-stop_model // hop) + RESAMPLER_FRAMES) * hop, old.n_decoded)
    last = min(-(-decoded // hop) + ahead, old.n_frames)
    return first, Segment(
        n_frames=last - first,
        n_decoded=decoded - first * hop,
        skip_samples=start_model - first * hop,
        n_samples=stop_model - start_model,
        skip_input_samples=start_input - first * hop * input_rate // rate,
        n_input_samples=stop - start,
    )


def _check_same(first: StreamInfo, other: StreamInfo, first_name: str, name: str) -> None:
    for what, key in (
        ("weights", lambda info: info.weights_hash.hex()),
        ("stages", lambda info: info.n_codebooks),
        ("channels", lambda info: info.n_channels),
        ("input sample rate", lambda info: info.input_sample_rate),
        ("model sample rate", lambda info: info.sample_rate),
        ("hop length", lambda info: info.hop_length),
        ("bits per code", lambda info: info.codebook_bits),
    ):
        if key(first) != key(other):
            hint = "; `eulerodec rate` brings them to one rate" if what == "stages" else ""
            raise BitstreamError(
                f"{name} does not fit to {first_name}: {what} {key(other)}, not {key(first)}{hint}"
            )


def _joined(infos: Sequence[StreamInfo], lengths: Sequence[int]) -> StreamInfo:
    segments = [
        segment
        for info, n_frames in zip(infos, lengths, strict=True)
        for _, segment in info.parts(n_frames)
        if n_frames
    ]
    if len(segments) > MAX_SEGMENTS:
        raise BitstreamError(f"the files have {len(segments)} parts, the limit is {MAX_SEGMENTS}")
    info = infos[0]
    if len({other.metadata.gain_db for other in infos}) > 1:
        kept = tuple(field for field in info.extensions if field[0] != GAIN)
        info = info.replace(extensions=kept)
    return info if len(infos) == 1 else info.with_segments(segments)
