"""What the tests of loss share: frames of packets, frames without some, and the audio for them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from eulerodec.bitstream import Packet
from eulerodec.codec.streaming import StreamDecoder


def frames_of(decoder: StreamDecoder, packets: Iterable[Packet]) -> Tensor:
    """What packets tell, ``[C, M, T]``."""
    return torch.cat([decoder.frames.lost(0), *map(decoder.frames, packets)], -1)


def lose(decoder: StreamDecoder, frames: Tensor, *spans: tuple[int, int]) -> Tensor:
    """``frames`` without those of each span (first, end)."""
    frames = frames.clone()
    for start, stop in spans:
        stop = min(stop, frames.shape[-1])
        frames[..., start:stop] = decoder.frames.lost(stop - start)
    return frames


def play(decoder: StreamDecoder, frames: Tensor, size: int = 0) -> Tensor:
    """All audio of ``frames``, pushed in pieces of ``size`` frames."""
    pieces = frames.split(size or max(frames.shape[-1], 1), -1)
    parts = [decoder.push_frames(piece) for piece in pieces]
    return torch.cat([*parts, decoder.flush()], 1)
