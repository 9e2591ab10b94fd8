"""Many recordings at once: one run of the network for several of them, of any lengths.

Recordings of similar length go through the network together, each channel as an item of its batch
that ends where it ends, so the codes are those of one recording alone (but for near ties of two
codes, which rounding may decide otherwise in a batch of another size).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import audio
from ..model import EuleroDec
from .encoded import Encoded
from .segments import decodable, output_length
from .streaming import StreamDecoder, StreamEncoder

__all__ = ["decode_rows", "encode_rows"]

MAX_ROWS = 32  # channels that go through the network together

Array = NDArray[np.float32]


def encode_rows(
    recordings: Sequence[Array],
    sample_rate: int,
    model_rate: int,
    encoder_for: Callable[[int], StreamEncoder],
) -> list[Tensor]:
    """Checked recordings ``[C_i, N_i]`` -> their codes ``[C_i, K, T_i]``.

    Args:
        sample_rate, model_rate: of the recordings and of the model, Hz.
        encoder_for: makes the encoder for so many channels at the model's rate.
    """
    codes: list[Tensor] = [torch.empty(0)] * len(recordings)
    for group in _groups([x.shape for x in recordings]):
        rows = []
        for i in group:
            resampler = audio.Resampler(sample_rate, model_rate, len(recordings[i]))
            x = recordings[i]
            n = audio.resampled_length(x.shape[1], sample_rate, model_rate)
            rows += list(np.concatenate([resampler.push(x), resampler.flush(n)], 1)[:, :n])
        coded = iter(encoder_for(len(rows)).encode_batch(rows))
        for i in group:
            codes[i] = torch.stack([next(coded) for _ in recordings[i]])
    return codes


def decode_rows(
    model: EuleroDec, items: Sequence[Encoded], sample_rate: int | None, block_frames: int
) -> list[Tensor]:
    """Recordings with the same number of stages, whole and without loss -> audio ``[C_i, N_i]``."""
    sounds: list[Tensor] = [torch.empty(0)] * len(items)
    for group in _groups([(x.n_channels, x.codes.shape[-1]) for x in items]):
        rows, lengths = [], []
        for i in group:
            n_samples, _ = decodable(model, items[i].info, items[i].codes.shape[-1], False)
            most = model.n_frames(n_samples)
            rows += list(items[i].codes[..., :most])
            lengths += [n_samples] * items[i].n_channels
        decoder = StreamDecoder(
            model, items[group[0]].n_codebooks, n_channels=len(rows), block_frames=block_frames
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
