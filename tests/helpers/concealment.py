"""What the tests of loss share: codes with lost frames, and the decoder's audio for them."""

from __future__ import annotations

import torch
from torch import Tensor

from eulerodec.bitstream import LOST
from eulerodec.codec.streaming import StreamDecoder


def lose(codes: Tensor, *spans: tuple[int, int]) -> Tensor:
    """``codes`` [C, K, T] without the frames of each span (first, end)."""
    codes = codes.clone()
    for start, stop in spans:
        codes[..., start:stop] = LOST
    return codes


def play(decoder: StreamDecoder, codes: Tensor, size: int = 0) -> Tensor:
    """All audio of ``codes``, pushed in pieces of ``size`` frames."""
    parts = [decoder.push(part) for part in codes.split(size or max(codes.shape[-1], 1), -1)]
    return torch.cat([*parts, decoder.flush()], 1)
