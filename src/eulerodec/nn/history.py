"""What a layer keeps of the past of a stream, so that whole recordings and streams share one code.

A layer that mixes frames needs some frames before and after each one. With the whole recording at
hand, zeros stand for what is outside of it. In a stream the layer is given the frames of one block
after the other; it keeps the last ones in a :class:`History`, and its result is *delayed* by as
many frames as it looks ahead. The functions here do one or the other: ``past`` is None for a whole
recording.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Clock", "History", "StreamState", "context", "delay", "mask_frames"]


@dataclass
class History:
    """The last frames of a stream, as many as a layer needs; None stands for zeros (the start)."""

    frames: Tensor | None = None

    def extend(self, x: Tensor, count: int, dim: int = -1) -> Tensor:
        """``x`` with the ``count`` frames that came before it along ``dim``."""
        if count == 0:
            return x
        past = self.frames
        if past is None:
            shape = list(x.shape)
            shape[dim] = count
            past = x.new_zeros(shape)
        x = torch.cat([past, x], dim)
        self.frames = x.narrow(dim, x.shape[dim] - count, count)
        return x


@dataclass
class Clock:
    """Where a stream is.

    Attributes:
        start: first frame of the block that goes in.
        end: frames of the recording, once that is known; one number for each item of a batch if
            they differ.
    """

    start: int = 0
    end: int | tuple[int, ...] | None = None


@dataclass
class StreamState:
    """Base of what a module keeps of a stream: one named field for each thing it remembers."""

    @classmethod
    def whole(cls) -> Self:
        """In place of a state, for a whole recording: every field is None."""
        return cls(**dict.fromkeys(field.name for field in fields(cls)))


def context(x: Tensor, left: int, right: int, past: History | None, dim: int = -1) -> Tensor:
    """``x`` with ``left + right`` more frames along ``dim``, for a layer that needs them around.

    Whole recording: zeros on both sides. Stream: the frames before, so the layer's result is
    delayed by ``right`` frames.
    """
    if past is not None:
        return past.extend(x, left + right, dim)
    return F.pad(x, (0, 0) * (-1 - dim) + (left, right))


def delay(x: Tensor, frames: int, past: History | None) -> Tensor:
    """``x`` delayed like a layer with ``frames`` of look-ahead; as it is without ``past``.

    One history belongs to one tensor: see :class:`History`.
    """
    if past is None or frames == 0:
        return x
    return past.extend(x, frames)[..., : x.shape[-1]]


def mask_frames(x: Tensor, delayed: int, clock: Clock | None) -> Tensor:
    """Zero in the frames of ``x`` that are before the start or after the end of the recording.

    A layer reaches a little beyond both ends, but a whole recording has nothing there, and zeros
    are what the next layer must find.

    Args:
        x: ``[B, C, T]``.
        delayed: frames that ``x`` is delayed by.
        clock: None for a whole recording, which is returned as it is.
    """
    if clock is None:
        return x
    first, count, end = clock.start - delayed, x.shape[-1], clock.end
    nearest = min(end) if isinstance(end, tuple) else end
    if first >= 0 and (nearest is None or first + count <= nearest):
        return x
    index = torch.arange(first, first + count, device=x.device)
    inside = index >= 0
    if isinstance(end, tuple):
        inside = inside & (index < torch.tensor(end, device=x.device)[:, None, None])
    elif end is not None:
        inside &= index < end
    return torch.where(inside, x, 0.0)
