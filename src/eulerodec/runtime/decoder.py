"""Frames to audio, in chunks with all the context that the network can see.

A chunk is computed with the frames around it that its samples depend on, so there are no seams,
and memory does not grow with the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..bitstream import ConstantCoder, EulReader, Packet, Segment, StreamInfo
from ..codec.lengths import output_length
from ..errors import BitstreamError
from ..quantize import Coding, Known
from .folder import Facts
from .graphs import Graphs

__all__ = ["decoded_parts"]

Floats = NDArray[np.float32]

CHUNK_FRAMES = 512


class _Frames:
    """Frames of one piece, pushed as they come; pulled are its samples at the model's rate."""

    def __init__(self, graphs: Graphs, facts: Facts, chunk: int = CHUNK_FRAMES) -> None:
        self._graphs, self._facts, self._chunk = graphs, facts, chunk
        self._held: list[Known] = []
        self._first = self._end = 0  # frames that are held
        self._done = 0  # hops that were given out

    def push(self, known: Known) -> Iterator[Floats]:
        """The hops whose context is complete."""
        self._held.append(known)
        self._end += known.n_frames
        while self._end - self._done > self._chunk + self._facts.look_ahead:
            yield self._run(
                self._done + self._chunk, self._done + self._chunk + 1 + self._facts.look_ahead
            )

    def finish(self) -> Iterator[Floats]:
        """The hops that are left: one fewer than there are frames."""
        if self._end - 1 > self._done:
            yield self._run(self._end - 1, self._end)

    def _run(self, stop: int, end: int) -> Floats:
        """Hops up to ``stop``, from the frames up to ``end``."""
        frames = Known.joined(self._held)
        wav = self._graphs.decode(frames.part(0, end - self._first))
        hop = self._facts.hop_length
        out = wav[:, (self._done - self._first) * hop : (stop - self._first) * hop]
        self._done = stop
        first = max(stop - self._facts.look_back, 0)
        self._held = [frames.part(first - self._first, frames.n_frames)]
        self._first = first
        return out


def decoded_parts(
    reader: EulReader, graphs: Graphs, coding: Coding, facts: Facts, sample_rate: int
) -> Iterator[Floats]:
    """All audio of a sound file ``[C, n]``, part after part.

    Args:
        reader: of the file, from its first packet on.
        graphs, coding, facts: of one folder.
        sample_rate: of the audio, Hz.

    Raises:
        BitstreamError: a damaged file, or one that does not fit.
    """
    frames = _frames(reader.packets(), reader.info, coding)
    if not reader.info.segments:
        yield from _whole(reader, frames, graphs, facts, sample_rate)
        return
    rest: Known | None = None
    for segment in reader.info.segments:
        parts, missing = [], segment.n_frames
        while missing:
            rest = next(frames, None) if rest is None else rest
            if rest is None:
                raise BitstreamError("the file ends inside a part")
            parts.append(rest.part(0, missing))
            rest = rest.part(missing, rest.n_frames) if rest.n_frames > missing else None
            missing -= parts[-1].n_frames
        yield _segment(reader.info, segment, parts, graphs, facts, sample_rate)


def _frames(packets: Iterable[Packet], info: StreamInfo, coding: Coding) -> Iterator[Known]:
    constant = None if info.n_codebooks is None else ConstantCoder(info)
    for packet in packets:
        assert packet.payload is not None  # a reader that does not recover gives all or fails
        if constant is None:
            yield coding.decode(packet.payload, info.n_channels, packet.n_frames)
        else:
            yield coding.decode_constant(constant.decode(packet.payload, packet.n_frames))


def _whole(
    reader: EulReader, frames: Iterator[Known], graphs: Graphs, facts: Facts, sample_rate: int
) -> Iterator[Floats]:
    """A file of one piece, whose length may only be known at its end."""
    info, stream = reader.info, _Frames(graphs, facts)
    resampler = audio.Resampler(info.sample_rate, sample_rate, info.n_channels)
    room = 1 << 62 if info.n_samples is None else facts.n_frames(info.n_samples)
    n_frames = given = 0
    for known in frames:
        kept = known.part(0, max(room - n_frames, 0))
        n_frames += kept.n_frames
        for wav in stream.push(kept):
            given += wav.shape[1]
            yield resampler.push(wav)
    info = reader.info  # its counts are known now
    n_samples, n_input = info.n_samples or 0, info.n_input_samples or 0
    if facts.n_frames(n_samples) > n_frames:
        raise BitstreamError(
            f"{n_samples} samples take {facts.n_frames(n_samples)} frames, the file has {n_frames}"
        )
    for wav in stream.finish():
        yield resampler.push(wav[:, : max(n_samples - given, 0)])
    yield resampler.flush(output_length(info, sample_rate, n_samples, n_input))


def _segment(
    info: StreamInfo,
    segment: Segment,
    parts: list[Known],
    graphs: Graphs,
    facts: Facts,
    sample_rate: int,
) -> Floats:
    """What is kept of a part of a joined or cut file."""
    stream = _Frames(graphs, facts)
    pieces = [wav for part in parts for wav in stream.push(part)] + list(stream.finish())
    wav = np.concatenate([np.zeros((info.n_channels, 0), np.float32), *pieces], 1)
    wav = wav[:, segment.first_sample : segment.first_sample + segment.n_decoded]
    if wav.shape[1] < segment.skip_samples + segment.n_samples:
        raise BitstreamError(f"{segment.n_frames} frames do not hold {segment.n_decoded} samples")
    wav = audio.resample(wav, info.sample_rate, sample_rate)
    start = output_length(info, sample_rate, segment.skip_samples, segment.skip_input_samples)
    count = output_length(info, sample_rate, segment.n_samples, segment.n_input_samples)
    return wav[:, start : start + count]
