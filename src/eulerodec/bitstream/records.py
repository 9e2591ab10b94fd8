"""What reading a file gives: packets, and a record of what was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from .header import StreamInfo

__all__ = ["Damage", "EulFile", "Packet"]


@dataclass(frozen=True)
class Packet:
    """``n_frames`` frames of all channels, from ``start_frame`` on, coded on their own.

    Args:
        index: number of the packet in the file, from 0.
        start_frame: number of its first frame in the file.
        n_frames: 1 to 255.
        payload: bytes for the payload coder; ``None`` if the packet is lost.
    """

    index: int
    start_frame: int
    n_frames: int
    payload: bytes | None

    @property
    def lost(self) -> bool:
        """Whether the packet was damaged or is missing; its frames are to be concealed."""
        return self.payload is None

    @property
    def stop_frame(self) -> int:
        """Number of the frame after its last one."""
        return self.start_frame + self.n_frames


@dataclass(frozen=True)
class Damage:
    """Something that was wrong with a file, found while reading with ``recover=True``.

    ``n_frames`` frames from ``start_frame`` on are lost; it is 0 when no frame is known to be lost
    (extra bytes, or a cut file, which just ends early). ``start_s`` and ``lost_s`` say the same in
    seconds of the decoded audio; for a cut file ``lost_s`` is what the header promised beyond its
    end, 0 if it promised nothing (a live stream).
    """

    kind: Literal["corrupt", "missing", "truncated", "trailing", "counts"]
    start_frame: int
    n_frames: int
    message: str
    start_s: float = 0.0
    lost_s: float = 0.0


@dataclass(frozen=True)
class EulFile:
    """A file, or a range of one, in memory: ``info`` fits ``packets``.

    ``damage`` is empty unless it was read with ``recover=True`` and something was wrong.
    """

    info: StreamInfo
    packets: Sequence[Packet]
    damage: Sequence[Damage] = field(default_factory=list)

    @property
    def n_frames(self) -> int:
        """Frames of all packets."""
        return sum(packet.n_frames for packet in self.packets)

    @property
    def lost_s(self) -> float:
        """Seconds of audio that are lost."""
        return sum(damage.lost_s for damage in self.damage)
