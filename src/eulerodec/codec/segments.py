"""The packets of a file to audio, as they come: exact lengths, and files made of parts.

A file may consist of segments, which are decoded one by one and give a part of their audio each
(:class:`eulerodec.bitstream.Segment`). Any other file is one segment, whose length may only be
known at its end.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..bitstream import Packet, StreamInfo, Timeline
from ..errors import BitstreamError
from ..model import EuleroDec
from .lengths import output_length
from .streaming import BLOCK_FRAMES, StreamDecoder

__all__ = ["FileDecoder", "decodable"]


class FileDecoder:
    """Decodes one file: :meth:`push` its packets in order, then :meth:`finish`.

    Memory does not grow with the file.

    Args:
        model: in eval mode.
        info: header of the file, whose sample counts may be open.
        sample_rate: of the audio, Hz.
        block_frames: frames that are computed together.
        apply_gain: multiply the audio by the gain in the header.
    """

    def __init__(
        self,
        model: EuleroDec,
        info: StreamInfo,
        sample_rate: int,
        block_frames: int = BLOCK_FRAMES,
        *,
        apply_gain: bool = False,
    ) -> None:
        self.info = info
        self.n_frames = 0
        self._model = model
        self._rate = sample_rate
        self._gain = info.metadata.gain if apply_gain else 1.0
        self._decoder = StreamDecoder(
            model, info, sample_rate=sample_rate, block_frames=block_frames
        )
        self._at = 0  # segments that are done
        self._frames = self._given = 0  # of the present segment: frames in, samples out
        self._start_segment()

    @property
    def n_output(self) -> int | None:
        """Samples per channel of all the audio, None if the header leaves it open."""
        info = self.info
        if info.n_samples is None or info.n_input_samples is None:
            return None
        counts = [(s.n_samples, s.n_input_samples) for s in info.segments]
        return sum(self._count(*c) for c in counts or [(info.n_samples, info.n_input_samples)])

    def push(self, packets: Iterable[Packet]) -> Tensor:
        """The next packets -> audio float32 ``[C, n]``; those without payload are concealed.

        Raises:
            BitstreamError: payloads that do not fit.
        """
        frames = [self._decoder.frames(packet) for packet in packets]
        return self._push(torch.cat([self._decoder.frames.lost(0), *frames], -1))

    def _push(self, rest: Tensor) -> Tensor:
        self.n_frames += rest.shape[-1]
        parts = [torch.zeros(self.info.n_channels, 0)]
        while rest.shape[-1]:
            room = self._room()
            if room == 0:  # frames after the last segment mean nothing
                break
            parts.append(self._keep(self._decoder.push_frames(rest[..., :room])))
            taken = min(rest.shape[-1], room)
            self._frames += taken
            rest = rest[..., taken:]
            if self.info.segments and taken == room:
                parts.append(self._end_segment())
        return torch.cat(parts, 1) * self._gain

    def finish(self, info: StreamInfo, damaged: bool = False) -> Tensor:
        """The rest of the audio, float32 ``[C, n]``.

        Args:
            info: the header with the counts that are known now.
            damaged: the file may end early.

        Raises:
            BitstreamError: a file that is not damaged has fewer frames than its samples need.
        """
        if self.info.segments:
            cut = self._at < len(self.info.segments)
            if cut and not damaged:
                raise BitstreamError(f"the file ends after {self.n_frames} frames, inside a part")
            if not (cut and self._frames):
                return torch.zeros(info.n_channels, 0)
            return self._end_segment() * self._gain
        n_samples, n_input = decodable(self._model, info, self.n_frames, damaged)
        n_output = self._count(n_samples, n_input)
        return self._decoder.flush(n_samples, n_output) * self._gain

    def _room(self) -> int:
        """Frames that the present segment still takes."""
        if self._at < len(self.info.segments):
            return self.info.segments[self._at].n_frames - self._frames
        if self.info.segments:
            return 0
        n_samples = self.info.n_samples
        most = 1 << 62 if n_samples is None else self._model.n_frames(n_samples)
        return max(most - self._frames, 0)

    def _start_segment(self) -> None:
        self._frames = self._given = 0
        if self._at < len(self.info.segments):
            self._decoder.reset(self.info.segments[self._at].first_sample)

    def _end_segment(self) -> Tensor:
        info = self.info
        segment = info.timeline.capped_segment(info.segments[self._at], self._frames)
        # all of the audio up to n_decoded; what is not kept is cut off here
        wav = self._keep(self._decoder.flush(segment.n_decoded))
        self._at += 1
        self._start_segment()
        return wav

    def _keep(self, wav: Tensor) -> Tensor:
        """The part of the next samples of a segment that is kept."""
        if not self.info.segments:
            return wav
        segment = self.info.segments[self._at]
        start = self._count(segment.skip_samples, segment.skip_input_samples)
        stop = start + self._count(segment.n_samples, segment.n_input_samples)
        first, self._given = self._given, self._given + wav.shape[1]
        return wav[:, max(start - first, 0) : max(stop - first, 0)]

    def _count(self, n_samples: int, n_input_samples: int) -> int:
        return output_length(self.info, self._rate, n_samples, n_input_samples)


def decodable(model: EuleroDec, info: StreamInfo, n_frames: int, damaged: bool) -> tuple[int, int]:
    """Samples at the model's and at the input's rate that ``n_frames`` frames give."""
    n_samples, n_input = _counts(info.timeline)
    if model.n_frames(n_samples) <= n_frames:
        return n_samples, n_input
    if not damaged:
        raise BitstreamError(
            f"{n_samples} samples take {model.n_frames(n_samples)} frames, the file has {n_frames}"
        )
    n_samples, n_input = _counts(info.timeline.capped(n_frames))
    if model.n_frames(n_samples) <= n_frames:
        return n_samples, n_input
    # The last frame only overlaps with one that is lost.
    n_samples = max(n_frames - 1, 0) * model.hop_length
    return n_samples, n_samples * info.input_sample_rate // info.sample_rate


def _counts(timeline: Timeline) -> tuple[int, int]:
    assert timeline.n_samples is not None and timeline.n_input_samples is not None
    return timeline.n_samples, timeline.n_input_samples
