"""From frames to seconds: sample counts, and the segments of files that were cut and joined."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from fractions import Fraction

from ..errors import BitstreamError
from .constants import MAX_COUNT

__all__ = ["MAX_SEGMENTS", "Segment", "Timeline"]

MAX_SEGMENTS = 2000


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Whole packets that are decoded on their own, and the part of their audio that is kept.

    ``n_frames`` frames are decoded as if they were a file. Of their audio at the model's rate,
    ``n_decoded`` samples from ``first_sample`` on are used. At the model's rate, ``skip_samples``
    of these are dropped and the next ``n_samples`` kept. At the input's rate, all of them are
    resampled, then ``skip_input_samples`` dropped and the next ``n_input_samples`` kept.
    """

    n_frames: int
    first_sample: int
    n_decoded: int
    skip_samples: int
    n_samples: int
    skip_input_samples: int
    n_input_samples: int


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Where the frames of a stream lie in its audio.

    Args:
        sample_rate: of the model, Hz.
        input_sample_rate: of the audio that was encoded, Hz.
        hop_length: samples of a frame, at the model's rate.
        n_samples: samples per channel at the model's rate; ``None``: not known yet.
        n_input_samples: the same duration at the input's rate; known if ``n_samples`` is.
        segments: how the frames are cut and joined; empty for one piece.

    Raises:
        BitstreamError: the numbers contradict each other.
    """

    sample_rate: int
    input_sample_rate: int
    hop_length: int
    n_samples: int | None = None
    n_input_samples: int | None = None
    segments: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        if (self.n_samples is None) != (self.n_input_samples is None):
            raise BitstreamError("n_samples and n_input_samples must be both known or both None")
        if self.n_samples is None or self.n_input_samples is None:
            if self.segments:
                raise BitstreamError("a stream with segments must have sample counts")
            return
        for name in ("n_samples", "n_input_samples"):
            if not 0 <= getattr(self, name) <= MAX_COUNT:
                raise BitstreamError(f"{name} must be 0 to {MAX_COUNT}, not {getattr(self, name)}")
        if len(self.segments) > MAX_SEGMENTS:
            raise BitstreamError(f"{len(self.segments)} segments, the limit is {MAX_SEGMENTS}")
        # Two counts of one duration: they may differ by rounding, at most by one frame, or by one
        # for each segment.
        if not self._same(self.n_samples, self.n_input_samples, max(len(self.segments), 1)):
            raise BitstreamError(
                f"sample counts disagree: {self.n_input_samples} at {self.input_sample_rate} Hz "
                f"and {self.n_samples} at {self.sample_rate} Hz are not the same duration"
            )
        for segment in self.segments:
            self._check(segment)
        counts = _sum(self.segments)
        if self.segments and counts != (self.n_samples, self.n_input_samples):
            raise BitstreamError(
                f"the segments have {counts[0]} and {counts[1]} samples, the header says"
                f" {self.n_samples} and {self.n_input_samples}"
            )

    def _check(self, segment: Segment) -> None:
        values = astuple(segment)
        if not all(isinstance(value, int) and 0 <= value <= MAX_COUNT for value in values):
            raise BitstreamError(f"a segment's counts must be 0 to {MAX_COUNT}: {values}")
        held = segment.n_frames * self.hop_length - segment.first_sample
        if not segment.skip_samples + segment.n_samples <= segment.n_decoded <= held:
            raise BitstreamError(
                f"a segment of {segment.n_frames} frames cannot give {segment.n_samples} samples"
                f" after {segment.first_sample} and {segment.skip_samples} of {segment.n_decoded}"
            )
        for own, other in (
            (segment.skip_samples, segment.skip_input_samples),
            (segment.n_samples, segment.n_input_samples),
        ):
            if not self._same(own, other):
                raise BitstreamError(
                    f"a segment's counts disagree: {other} at {self.input_sample_rate} Hz and"
                    f" {own} at {self.sample_rate} Hz are not the same duration"
                )

    def _same(self, n_samples: int, n_input_samples: int, times: int = 1) -> bool:
        gap = n_input_samples * self.sample_rate - n_samples * self.input_sample_rate
        return abs(gap) <= times * (self.hop_length * self.input_sample_rate + self.sample_rate)

    @property
    def duration(self) -> Fraction | None:
        """Seconds of audio, exactly; ``None`` if the counts are not known."""
        if self.n_input_samples is None:
            return None
        return Fraction(self.n_input_samples, self.input_sample_rate)

    @property
    def n_frames_needed(self) -> int | None:
        """Frames that the stream has at least; ``None`` if the counts are not known."""
        if self.segments:
            return self._starts[0][-1]
        return None if self.n_samples is None else -(-self.n_samples // self.hop_length)

    def replace(
        self, n_samples: int | None, n_input_samples: int | None, segments: tuple[Segment, ...] = ()
    ) -> Timeline:
        """The same rates with other counts."""
        return replace(
            self, n_samples=n_samples, n_input_samples=n_input_samples, segments=segments
        )

    def of_segments(self, segments: Iterable[Segment]) -> Timeline:
        """The same rates with these segments and their counts."""
        kept = tuple(segments)
        return self.replace(*_sum(kept), kept)

    def check_length(self, n_frames: int) -> str | None:
        """What is wrong with a stream of ``n_frames`` frames, as text; ``None`` if it fits."""
        needed = self.n_frames_needed or 0
        if self.segments:
            if needed == n_frames:
                return None
            return f"the segments have {needed} frames, the file {n_frames}"
        if needed <= n_frames:
            return None
        held = n_frames * self.hop_length
        return f"the file claims {self.n_samples} samples, its frames hold {held}"

    def capped(self, n_frames: int) -> Timeline:
        """What is left when only the first ``n_frames`` frames are there; counts are known then."""
        if self.segments:
            if self.n_frames_needed == n_frames:
                return self
            left, kept = n_frames, []
            for segment in self.segments:
                have = min(segment.n_frames, left)
                if have:
                    kept.append(self.capped_segment(segment, have))
                left -= have
            return self.of_segments(kept)
        most = n_frames * self.hop_length
        n_samples = most if self.n_samples is None else min(self.n_samples, most)
        if self.n_input_samples is not None and n_samples == self.n_samples:
            return self
        return self.replace(n_samples, n_samples * self.input_sample_rate // self.sample_rate)

    def capped_segment(self, segment: Segment, n_frames: int) -> Segment:
        """What is left of a segment when only its first ``n_frames`` frames are there."""
        if n_frames >= segment.n_frames:
            return segment
        first = min(segment.first_sample, n_frames * self.hop_length)
        n_decoded = min(segment.n_decoded, n_frames * self.hop_length - first)
        skip = min(segment.skip_samples, n_decoded)
        skip_input, n_input = segment.skip_input_samples, segment.n_input_samples
        n_samples = min(segment.n_samples, n_decoded - skip)
        if skip < segment.skip_samples:
            skip_input = skip * self.input_sample_rate // self.sample_rate
        if n_samples < segment.n_samples:
            n_input = n_samples * self.input_sample_rate // self.sample_rate
        return Segment(
            n_frames=n_frames,
            first_sample=first,
            n_decoded=n_decoded,
            skip_samples=skip,
            n_samples=n_samples,
            skip_input_samples=skip_input,
            n_input_samples=n_input,
        )

    def parts(self, n_frames: int) -> list[tuple[int, Segment]]:
        """How a stream of ``n_frames`` frames is decoded: (first frame, segment), in order.

        A decoder decodes the frames of each by themselves and joins what is kept of their audio.
        A stream without segments is one part, from which nothing is skipped.
        """
        timeline = self.capped(n_frames)
        if not timeline.segments:
            whole = Segment(
                n_frames=n_frames,
                first_sample=0,
                n_decoded=timeline.n_samples or 0,
                skip_samples=0,
                n_samples=timeline.n_samples or 0,
                skip_input_samples=0,
                n_input_samples=timeline.n_input_samples or 0,
            )
            return [(0, whole)]
        return list(zip(timeline._starts[0], timeline.segments, strict=False))

    def frame_time(self, frame: int) -> float:
        """Second of the decoded audio at which ``frame`` starts."""
        if not self.segments:
            time = frame * self.hop_length / self.sample_rate
            return time if self.duration is None else min(time, float(self.duration))
        first_frames, first_samples = self._starts
        at = min(bisect.bisect_right(first_frames, frame), len(self.segments)) - 1
        segment = self.segments[at]
        inside = (frame - first_frames[at]) * self.hop_length
        inside = min(
            max(inside - segment.first_sample - segment.skip_samples, 0), segment.n_samples
        )
        return (first_samples[at] + inside) / self.sample_rate

    def segment_end(self, frame: int) -> int | None:
        """The frame after the last one of the segment of ``frame``; ``None`` without segments.

        After all segments it is the number of all their frames.
        """
        if not self.segments:
            return None
        first_frames = self._starts[0]
        return first_frames[min(bisect.bisect_right(first_frames, frame), len(self.segments))]

    @functools.cached_property
    def _starts(self) -> tuple[list[int], list[int]]:
        """First frame, and first sample of the output, of each segment, and those of the end."""
        frames = itertools.accumulate((s.n_frames for s in self.segments), initial=0)
        samples = itertools.accumulate((s.n_samples for s in self.segments), initial=0)
        return list(frames), list(samples)


def _sum(segments: Iterable[Segment]) -> tuple[int, int]:
    counts = [(segment.n_samples, segment.n_input_samples) for segment in segments]
    return sum(count[0] for count in counts), sum(count[1] for count in counts)
