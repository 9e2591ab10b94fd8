"""What is fixed by the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["MAX_BITRATE_KBPS", "MIN_BITRATE_KBPS", "CodecInfo"]

MIN_BITRATE_KBPS, MAX_BITRATE_KBPS = 1, 16  # of one channel; any rate between


@dataclass(frozen=True)
class CodecInfo:
    """What is fixed by the weights. Rates in Hz and kbps, fields in samples, times in ms."""

    name: str
    weights_sha256: str  # of the network
    codes_sha256: str  # of what the bits of a file mean; files carry its first 8 bytes
    sample_rate: int
    hop_length: int
    frame_rate: float
    n_codebooks: int  # most codes of a frame in the constant coding
    codebook_size: int
    kbps_per_codebook: float  # of the constant coding
    bitrate_range_kbps: tuple[float, float]
    parameters: int
    receptive_field: int
    look_ahead: int
    receptive_field_ms: float
    look_ahead_ms: float
    latency_ms: float  # of the algorithm, packets aside
    packet_ms: float  # of a packet of a file
    live_packet_ms: float
    about: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As plain types for JSON."""
        return asdict(self)
