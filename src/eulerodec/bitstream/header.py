"""What a header says: :class:`StreamInfo`, checked on construction, and sums over it."""

from __future__ import annotations

import bisect
import functools
import itertools
import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..errors import BitstreamError
from .constants import (
    BODY,
    CRITICAL,
    DEFAULT_FRAMES,
    FIELD,
    HASH_SIZE,
    MAX_MODEL_ID,
    MAX_PACKETS,
    MAX_PAYLOAD,
    MAX_SAMPLE_RATE,
    UNKNOWN,
)
from .fields import (
    COMMENT,
    CONTEXT,
    CONTEXT_VALUE,
    GAIN,
    MAX_SEGMENTS,
    TITLE,
    Metadata,
    Segment,
    pack_metadata,
    pack_segments,
    parse_context,
    parse_metadata,
    replace_fields,
)
from .pack import packed_size

__all__ = ["StreamInfo"]


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
    - ``segments``: empty, or how the frames are cut and joined, see :meth:`parts`
    - ``entropy_tables``: ``None`` for codes of fixed width, or the hash of the entropy coder's
      tables, which reading and writing then need
    - ``extensions``: optional header fields as (tag, value), kept as they are; ``metadata`` and
      ``context`` are what they say

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
    segments: tuple[Segment, ...] = ()
    extensions: tuple[tuple[int, bytes], ...] = ()
    entropy_tables: bytes | None = None

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
        tables = self.entropy_tables
        if tables is not None and (not isinstance(tables, bytes) or len(tables) != HASH_SIZE):
            raise BitstreamError(f"entropy_tables must be {HASH_SIZE} bytes, or None")
        name = self.model_id.encode("utf-8", "replace")
        if not 1 <= len(name) <= MAX_MODEL_ID or not self.model_id.isprintable():
            raise BitstreamError(
                f"model_id must be 1 to {MAX_MODEL_ID} bytes of printable text: {self.model_id!r}"
            )
        self._check_counts()
        self._check_segments()
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
        # Two counts of one duration: they may differ by rounding, at most by one frame, or by one
        # for each segment, which `_check_segments` looks at.
        gap = self.n_input_samples * self.sample_rate - self.n_samples * self.input_sample_rate
        slack = self.hop_length * self.input_sample_rate + self.sample_rate
        if abs(gap) > slack * max(len(self.segments), 1):
            raise BitstreamError(
                f"sample counts disagree: {self.n_input_samples} at {self.input_sample_rate} Hz "
                f"and {self.n_samples} at {self.sample_rate} Hz are not the same duration"
            )

    def _check_segments(self) -> None:
        if not self.segments:
            return
        if len(self.segments) > MAX_SEGMENTS:
            raise BitstreamError(f"{len(self.segments)} segments, the limit is {MAX_SEGMENTS}")
        for segment in self.segments:
            segment.check(self.hop_length, self.sample_rate, self.input_sample_rate)
        n_samples = sum(segment.n_samples for segment in self.segments)
        n_input_samples = sum(segment.n_input_samples for segment in self.segments)
        if (n_samples, n_input_samples) != (self.n_samples, self.n_input_samples):
            raise BitstreamError(
                f"the segments have {n_samples} and {n_input_samples} samples, the header says"
                f" {self.n_samples} and {self.n_input_samples}"
            )
        if self._frames_of_segments > MAX_PACKETS * self.frames_per_packet:
            raise BitstreamError(f"the segments have {self._frames_of_segments} frames: too many")

    def _check_extensions(self) -> None:
        size = BODY.size + len(self.model_id.encode()) + len(pack_segments(self.segments))
        if self.entropy_tables is not None:
            size += FIELD.size + HASH_SIZE
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

    @property
    def _frames_of_segments(self) -> int:
        return sum(segment.n_frames for segment in self.segments)

    def check_length(self, n_frames: int) -> str | None:
        """What is wrong with a stream of ``n_frames``, as text; ``None`` if it fits the header."""
        if self.segments:
            if self._frames_of_segments == n_frames:
                return None
            return f"the segments have {self._frames_of_segments} frames, the file {n_frames}"
        held = n_frames * self.hop_length
        if self.n_samples is None or self.n_samples <= held:
            return None
        return f"the file claims {self.n_samples} samples, its frames hold {held}"

    def capped(self, n_frames: int) -> StreamInfo:
        """A copy with the sample counts (and segments) of a stream of ``n_frames`` frames."""
        if self.segments:
            if self._frames_of_segments == n_frames:
                return self
            rates = (self.sample_rate, self.input_sample_rate)
            left, kept = n_frames, []
            for segment in self.segments:
                have = min(segment.n_frames, left)
                if have:
                    kept.append(segment.capped(have, self.hop_length, rates))
                left -= have
            return self.with_segments(kept)
        most = n_frames * self.hop_length
        n_samples = most if self.n_samples is None else min(self.n_samples, most)
        if self.n_input_samples is not None and n_samples == self.n_samples:
            return self
        return self.with_counts(n_samples, n_samples * self.input_sample_rate // self.sample_rate)

    def capped_counts(self, n_frames: int) -> tuple[int, int]:
        """Both sample counts for a stream of ``n_frames``: the known ones, or what frames hold."""
        info = self.capped(n_frames)
        return info.n_samples or 0, info.n_input_samples or 0

    def with_segments(self, segments: Iterable[Segment]) -> StreamInfo:
        """A copy made of ``segments``, with their counts."""
        kept = tuple(segments)
        return replace(
            self,
            segments=kept,
            n_samples=sum(segment.n_samples for segment in kept),
            n_input_samples=sum(segment.n_input_samples for segment in kept),
        )

    def parts(self, n_frames: int) -> list[tuple[int, Segment]]:
        """How a stream of ``n_frames`` frames is decoded: (first frame, segment), in order.

        A decoder decodes the frames of each by themselves and joins what is kept of their audio.
        A file without segments is one part, from which nothing is skipped.
        """
        info = self.capped(n_frames)
        if not info.segments:
            counts = (info.n_samples or 0, info.n_input_samples or 0)
            whole = Segment(
                n_frames=n_frames,
                n_decoded=counts[0],
                skip_samples=0,
                n_samples=counts[0],
                skip_input_samples=0,
                n_input_samples=counts[1],
            )
            return [(0, whole)]
        found, first = [], 0
        for segment in info.segments:
            found.append((first, segment))
            first += segment.n_frames
        return found

    @property
    def metadata(self) -> Metadata:
        """Title, comment and gain; empty and 0 where the file has none."""
        return parse_metadata(self.extensions)

    def with_metadata(self, metadata: Metadata) -> StreamInfo:
        """A copy with this metadata in place of its own."""
        new = pack_metadata(metadata)
        return replace(
            self, extensions=replace_fields(self.extensions, (TITLE, COMMENT, GAIN), new)
        )

    @property
    def context(self) -> tuple[int, int]:
        """Frames before and after a frame that its audio depends on, at most.

        64 and 32 if the file does not say: more than the 24 kHz models need.
        """
        return parse_context(self.extensions)

    def with_context(self, back: int, ahead: int) -> StreamInfo:
        """A copy that says how far the decoder of its model sees, in frames, 0 to 65535."""
        if not (0 <= back <= 0xFFFF and 0 <= ahead <= 0xFFFF):
            raise BitstreamError(f"context must be 0 to 65535 frames, not {back} and {ahead}")
        new = ((CONTEXT, CONTEXT_VALUE.pack(back, ahead)),)
        return replace(self, extensions=replace_fields(self.extensions, (CONTEXT,), new))

    def frame_time(self, frame: int) -> float:
        """Second of the decoded audio at which ``frame`` starts."""
        if not self.segments:
            time = frame * self.hop_length / self.sample_rate
            return time if self.duration_s is None else min(time, self.duration_s)
        first_frames, first_samples = self._starts
        at = bisect.bisect_right(first_frames, frame) - 1
        segment = self.segments[at]
        inside = (frame - first_frames[at]) * self.hop_length - segment.skip_samples
        inside = min(max(inside, 0), segment.n_samples)
        return (first_samples[at] + inside) / self.sample_rate

    @functools.cached_property
    def _starts(self) -> tuple[list[int], list[int]]:
        """First frame, and first sample of the output, of each segment."""
        frames = itertools.accumulate((s.n_frames for s in self.segments), initial=0)
        samples = itertools.accumulate((s.n_samples for s in self.segments), initial=0)
        return list(frames)[:-1], list(samples)[:-1]

    def packet_times(self, first_packet: int, n_packets: int = 1) -> tuple[float, float]:
        """Where packets lie in the decoded audio: from second, to second."""
        size = self.frames_per_packet
        start = self.frame_time(first_packet * size)
        return start, self.frame_time((first_packet + n_packets) * size)

    def time_range(self, first_packet: int, n_packets: int = 1) -> str:
        """Where packets lie, as text: ``2.82 s to 5.63 s``."""
        start, end = self.packet_times(first_packet, n_packets)
        return f"{start:.2f} s to {end:.2f} s"
