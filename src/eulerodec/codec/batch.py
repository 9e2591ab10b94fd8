"""Many recordings at once: one run of the network for several of them, of any lengths.

Recordings of similar length go through the network together, each channel as an item of its batch
that ends where it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .. import audio
from ..model import EuleroDec
from .encoded import Encoded
from .frames import PacketFrames
from .lengths import output_length
from .segments import decodable
from .streaming import StreamDecoder

__all__ = ["decode_rows"]

MAX_ROWS = 32  # channels that go through the network together


def decode_rows(
    model: EuleroDec, items: Sequence[Encoded], sample_rate: int | None, block_frames: int
) -> list[Tensor]:
    """Recordings without loss, of one piece each -> audio ``[C_i, N_i]``."""
    sounds: list[Tensor] = [torch.empty(0)] * len(items)
    for group in _groups([(x.n_channels, x.n_frames) for x in items]):
        rows, lengths = [], []
        for i in group:
            item = items[i]
            n_samples, _ = decodable(model, item.info, item.n_frames, False)
            read = PacketFrames(model, item.info)
            frames = torch.cat([read.lost(0), *map(read, item.packets)], -1)
            rows += list(frames[..., : model.n_frames(n_samples)])
            lengths += [n_samples] * item.n_channels
        # no packet has so many channels
        like = items[group[0]].info.replace(n_channels=len(rows), frames_per_packet=1)
        decoder = StreamDecoder(
            model, like, sample_rate=model.sample_rate, block_frames=block_frames
        )
        decoded = iter(decoder.decode_batch(rows, lengths))
        for i in group:
            item = items[i]
            wav = np.stack([next(decoded) for _ in range(item.n_channels)])
            rate = sample_rate or item.sample_rate
            n = output_length(item.info, rate, item.n_samples_model, item.n_samples)
            resampler = audio.Resampler(model.sample_rate, rate, item.n_channels)
            parts = [resampler.push(wav), resampler.flush(n)]
            sounds[i] = torch.from_numpy(np.concatenate(parts, 1))
    return sounds


def _groups(shapes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Indices of recordings ``[C, N]`` that go together: the shortest first, few rows each."""
    group: list[int] = []
    rows = 0
    for i in sorted(range(len(shapes)), key=lambda i: shapes[i][1]):
        if group and rows + shapes[i][0] > MAX_ROWS:
            yield group
            group, rows = [], 0
        group.append(i)
        rows += shapes[i][0]
    if group:
        yield group
