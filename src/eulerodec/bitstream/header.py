"""What the header of an ``.eul`` file says."""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..errors import BitstreamError
from .constants import (
    CONSTANT_FRAMES,
    DEFAULT_FRAMES,
    HASH_SIZE,
    MAX_BITRATE,
    MAX_FRAMES,
    MAX_MODEL_ID,
    MAX_PAYLOAD,
    MAX_RATE,
)
from .metadata import Metadata
from .timeline import Segment, Timeline

__all__ = ["StreamInfo"]

DEFAULT_CONTEXT = (64, 32)  # frames; more than the 24 kHz models need


@dataclass(frozen=True, kw_only=True)
class StreamInfo:
    """The header of an ``.eul`` file; checked on construction.

    Exactly one of ``bitrate_kbps`` and ``n_codebooks`` is given: it says how the payloads are
    coded, as planes or with a constant number of codebooks.

    Args:
        model_id: name of the model, 1 to 64 bytes of printable UTF-8. With up to 17 bytes a file
            is at most 64 bytes longer than its bitrate allows.
        weights_hash: 8 bytes that name what the codes need: the model's tables and codebooks.
        input_sample_rate: of the audio that was encoded, Hz.
        bitrate_kbps: of planes: what was asked for, for each channel; kept to 0.01 kbps.
        n_codebooks: of the constant coding: codes are [n_channels, n_codebooks, T].
        codebook_bits: of the constant coding: bits of one code, 8 to 16; 11 if not given.
        n_channels: 1 to 255.
        sample_rate: of the model, Hz.
        hop_length: samples per frame at the model's rate.
        frames_per_packet: 1 to 255; 0 on construction takes 92 for planes, and 248 (or as many as
            fit) for the constant coding.
        n_samples: samples per channel at ``sample_rate``; ``None``: not known yet (a live stream).
        n_input_samples: the same at ``input_sample_rate``.
        segments: how the frames are cut and joined; empty for one piece.
        context: frames before and after a frame that its audio depends on, at most.
        metadata: title, comment and gain.
        extensions: other optional header fields as (tag, value), tags 5 to 127, kept as they are.

    Raises:
        BitstreamError: a value breaks these rules; the message names it.
    """

    model_id: str
    weights_hash: bytes
    input_sample_rate: int
    bitrate_kbps: float | None = None
    n_codebooks: int | None = None
    codebook_bits: int | None = None
    n_channels: int = 1
    sample_rate: int = 24_000
    hop_length: int = 264
    frames_per_packet: int = 0
    n_samples: int | None = None
    n_input_samples: int | None = None
    segments: tuple[Segment, ...] = ()
    context: tuple[int, int] = DEFAULT_CONTEXT
    metadata: Metadata = field(default_factory=Metadata)
    extensions: tuple[tuple[int, bytes], ...] = ()

    def __post_init__(self) -> None:
        self._whole("sample_rate", 1, MAX_RATE)
        self._whole("input_sample_rate", 1, MAX_RATE)
        self._whole("hop_length", 1, 0xFFFF)
        self._whole("n_channels", 1, 0xFF)
        for name in ("n_samples", "n_input_samples"):
            if getattr(self, name) is not None:
                self._whole(name, 0, 1 << 62)
        self._check_coding()
        if not isinstance(self.weights_hash, bytes) or len(self.weights_hash) != HASH_SIZE:
            raise BitstreamError(f"weights_hash must be {HASH_SIZE} bytes")
        name = self.model_id.encode("utf-8", "replace")
        if not 1 <= len(name) <= MAX_MODEL_ID or not self.model_id.isprintable():
            raise BitstreamError(
                f"model_id must be 1 to {MAX_MODEL_ID} bytes of printable text: {self.model_id!r}"
            )
        if len(self.context) != 2 or not all(0 <= frames <= 0xFFFF for frames in self.context):
            raise BitstreamError(f"context must be two numbers 0 to 65535, not {self.context}")
        for tag, _ in self.extensions:
            if not 5 <= tag < 0x80:
                raise BitstreamError(f"tag of an optional header field must be 5 to 127, not {tag}")
        _ = self.timeline  # checks the counts

    def _check_coding(self) -> None:
        if (self.bitrate_kbps is None) == (self.n_codebooks is None):
            raise BitstreamError("one of bitrate_kbps and n_codebooks must be given, not both")
        if self.bitrate_kbps is not None:
            if not 0.005 < self.bitrate_kbps <= MAX_BITRATE:  # NaN too
                raise BitstreamError(
                    f"bitrate must be 0.01 to {MAX_BITRATE:.0f} kbps, not {self.bitrate_kbps}"
                )
            object.__setattr__(self, "bitrate_kbps", round(float(self.bitrate_kbps) * 100) / 100)
            if self.codebook_bits is not None:
                raise BitstreamError("codebook_bits is only for a constant number of codebooks")
            self._default("frames_per_packet", DEFAULT_FRAMES)
            self._whole("frames_per_packet", 1, MAX_FRAMES)
            return
        self._whole("n_codebooks", 1, 0xFF)
        self._default("codebook_bits", 11)
        self._whole("codebook_bits", 8, 16)
        most = (MAX_PAYLOAD - self.n_channels) * 8 // self._bits_per_frame
        self._default("frames_per_packet", min(CONSTANT_FRAMES, most))
        self._whole("frames_per_packet", 1, MAX_FRAMES)
        if self.frames_per_packet > most:
            raise BitstreamError(
                f"a packet of {self.frames_per_packet} frames would take "
                f"{self.payload_size(self.frames_per_packet)} bytes, the limit is {MAX_PAYLOAD}"
            )

    def _default(self, name: str, value: int) -> None:
        object.__setattr__(self, name, getattr(self, name) or value)

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

    @property
    def coding(self) -> Literal["planes", "constant"]:
        """How the payloads are coded."""
        return "planes" if self.n_codebooks is None else "constant"

    @property
    def _bits_per_frame(self) -> int:
        return self.n_channels * (self.n_codebooks or 0) * (self.codebook_bits or 0)

    def payload_size(self, n_frames: int) -> int:
        """Bytes of the payload of ``n_frames`` frames; of planes, of a whole packet on average."""
        if self.n_codebooks is None:
            return math.ceil(self.nominal_kbps * 125 * n_frames / self.frame_rate)
        return self.n_channels + (n_frames * self._bits_per_frame + 7) // 8

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @functools.cached_property
    def timeline(self) -> Timeline:
        """Where the frames lie in the audio; :meth:`with_timeline` puts another in its place."""
        return Timeline(
            sample_rate=self.sample_rate,
            input_sample_rate=self.input_sample_rate,
            hop_length=self.hop_length,
            n_samples=self.n_samples,
            n_input_samples=self.n_input_samples,
            segments=self.segments,
        )

    @property
    def duration_s(self) -> float | None:
        """Seconds of audio, ``None`` if the counts are not known."""
        duration = self.timeline.duration
        return None if duration is None else float(duration)

    @property
    def nominal_kbps(self) -> float:
        """Kilobits per second, all channels: what was asked for, or those of the codes alone."""
        if self.bitrate_kbps is not None:
            return self.bitrate_kbps * self.n_channels
        return self._bits_per_frame * self.frame_rate / 1000

    def measured_kbps(self, n_bytes: int) -> float | None:
        """Kilobits per second of a file of ``n_bytes``; ``None`` without (known) duration."""
        return n_bytes * 8 / self.duration_s / 1000 if self.duration_s else None

    def replace(self, **changes: Any) -> StreamInfo:
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)

    def with_timeline(self, timeline: Timeline) -> StreamInfo:
        """A copy with the sample counts and segments of ``timeline``."""
        return replace(
            self,
            n_samples=timeline.n_samples,
            n_input_samples=timeline.n_input_samples,
            segments=timeline.segments,
        )

    def with_counts(self, n_samples: int, n_input_samples: int) -> StreamInfo:
        """A copy with the sample counts filled in, checked again."""
        return replace(self, n_samples=n_samples, n_input_samples=n_input_samples)

    def capped(self, n_frames: int) -> StreamInfo:
        """A copy with the counts of what is left when only ``n_frames`` frames are there."""
        return self.with_timeline(self.timeline.capped(n_frames))
