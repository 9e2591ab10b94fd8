"""What is fixed by the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["CodecInfo"]


@dataclass(frozen=True)
class CodecInfo:
    """What is fixed by the weights. Rates in Hz and kbps, fields in samples, times in ms."""

    name: str
    weights_sha256: str
    sample_rate: int
    hop_length: int
    frame_rate: float
    n_codebooks: int
    codebook_size: int
    bitrates_kbps: tuple[float, ...]
    parameters: int
    receptive_field: int
    look_ahead: int
    receptive_field_ms: float
    look_ahead_ms: float
    latency_ms: float  # of the algorithm
    block_frames: int  # that streams compute together by default
    buffering_ms: float  # that these blocks add to latency_ms
    stage_perplexity: tuple[float, ...]  # of the codes in training, at most codebook_size
    about: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As plain types for JSON."""
        return asdict(self)
