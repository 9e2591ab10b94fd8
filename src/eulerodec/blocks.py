"""Long audio through the network block by block, so that memory does not grow with its length.

The network sees a bounded number of frames around each frame. A block is given that many frames
on both sides and only its inner part is kept, so there are no seams: the result is that of the
whole file at once, up to the rounding of float sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .model import EuleroDec

__all__ = ["BLOCK_FRAMES", "Progress", "decode", "encode"]

Progress = Callable[[float], None]  # called with the fraction that is done, up to 1.0

BLOCK_FRAMES = 2730  # 30 s of the 24 kHz model; the extra context then costs 2 %


def encode(
    model: EuleroDec,
    wav: Tensor,
    n_codebooks: int,
    *,
    beam: int = 1,
    block_frames: int = BLOCK_FRAMES,
    progress: Progress | None = None,
) -> Tensor:
    """Waveform [B, 1, N] at the model's rate -> codes int64 [B, K, T], T = model.n_frames(N)."""
    hop, total = model.hop_length, model.n_frames(wav.shape[-1])
    if total <= block_frames:
        return _done(model.encode(wav, n_codebooks, beam), progress)
    # STFT frame t spans samples (t - 1) * hop to (t + 1) * hop, so one frame more on each side.
    back, ahead = model.encoder.look_back + 1, model.encoder.look_ahead + 1
    parts = []
    for a in range(0, total, block_frames):
        b = min(a + block_frames, total)
        first = max(a - back, 0)
        codes = model.encode(wav[..., first * hop : (b + ahead) * hop], n_codebooks, beam)
        parts.append(codes[..., a - first : b - first])
        if progress is not None:
            progress(b / total)
    return torch.cat(parts, dim=-1)


def decode(
    model: EuleroDec,
    codes: Tensor,
    n_samples: int,
    *,
    block_frames: int = BLOCK_FRAMES,
    progress: Progress | None = None,
) -> Tensor:
    """Codes [B, K, T], T >= model.n_frames(n_samples) -> waveform [B, 1, n_samples]."""
    hop, total = model.hop_length, -(-n_samples // model.hop_length)
    if total <= block_frames:
        return _done(model.decode(codes, n_samples), progress)
    # Samples t * hop to (t + 1) * hop are made of STFT frames t and t + 1.
    back, ahead = model.decoder.look_back + 1, model.decoder.look_ahead + 2
    parts = []
    for a in range(0, total, block_frames):
        b = min(a + block_frames, total)
        first = max(a - back, 0)
        until = min(b * hop, n_samples)
        wav = model.decode(codes[..., first : b + ahead], until - first * hop)
        parts.append(wav[..., (a - first) * hop :])
        if progress is not None:
            progress(b / total)
    return torch.cat(parts, dim=-1)


def _done(result: Tensor, progress: Progress | None) -> Tensor:
    if progress is not None:
        progress(1.0)
    return result
