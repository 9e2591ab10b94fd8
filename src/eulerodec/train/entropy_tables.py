"""Fitting the tables of the entropy coder to codes of audio: floats here, frozen integers after.

The network of :mod:`eulerodec.bitstream.tables` is trained by the bits that it costs, on the very
integers that it will see; its weights are then rounded. Clips are read in whole, the network sees
every frame with the frame before it, at a random number of stages as files have it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import audio
from ..bitstream.tables import TABLES_FILE, EntropyTables, load_tables
from ..codec import Codec
from ..codec.weights import find_weights
from ..errors import AudioError
from ..files import PathLike, write_bytes
from ..model.fit import code_vectors

__all__ = ["fit_tables", "write_tables"]

N_FEATURES = 16
N_HIDDEN = 32
N_SIZES = 33  # 0 is no code
N_LEVELS = 64
BATCH = 1024  # frames
LEARNING_RATE = 1.5e-2
OPENINGS = 1 / 64  # frames that are coded without the frame before, as in the coder
# Of the integers: weights of the first layer, its sums, of the second layer, its scores.
SCALES = {"w": 64, "hidden": 4096, "out": 32, "score": 512}
MOST = 127

Codes = NDArray[np.int64]


def write_tables(
    weights: PathLike,
    clips: Sequence[Path],
    *,
    minutes: float = 60,
    steps: int = 1000,
    progress: Callable[[float], None] = lambda done: None,
) -> Path:
    """Fit tables to the audio files ``clips`` and write them into the directory of ``weights``.

    Args:
        weights: name or directory, as for :class:`Codec`.
        clips: audio files like those that will be coded.
        minutes: of audio at most, from the start of every clip.
        steps: of the fit.
        progress: called with the share that is done.

    Returns:
        The file.

    Raises:
        AudioError: less than 10 s of audio, or a file that cannot be read.
        WeightsError: as for :meth:`Codec.from_pretrained`.
    """
    directory = find_weights(weights)
    codec = Codec.from_pretrained(directory)
    codes = []
    for number, clip in enumerate(clips, 1):
        start, rate = _start_of(clip, 60 * minutes / len(clips))
        encoded = codec.encode(start, rate, n_codebooks=codec.model.n_codebooks)
        codes.append(encoded.codes[0].numpy())
        progress(0.5 * number / len(clips))
    vectors = code_vectors(codec.model).numpy()
    tables = fit_tables(codes, vectors, steps, progress=lambda done: progress(0.5 + 0.5 * done))
    path = directory / TABLES_FILE
    write_bytes(path, tables.to_bytes())
    load_tables(directory)
    return path


def _start_of(clip: Path, seconds: float) -> tuple[NDArray[np.float32], int]:
    """Mono samples [N] of a clip's start and their rate; the rest is not read."""
    parts: list[NDArray[np.float32]] = []
    with audio.open_reader(clip) as reader:
        most = max(1, int(seconds * reader.sample_rate))
        for block in reader.blocks():
            parts.append(block.mean(0, keepdims=True))
            if sum(part.shape[1] for part in parts) >= most:
                break
        rate = reader.sample_rate
    if not parts:
        raise AudioError(f"{clip}: it has no samples")
    return np.concatenate(parts, 1)[0, :most], rate


def fit_tables(
    clips: Sequence[Codes],
    vectors: NDArray[np.float32],
    steps: int,
    *,
    progress: Callable[[float], None] = lambda done: None,
) -> EntropyTables:
    """Tables for codes like those of ``clips``; the same input gives the same on one machine.

    Args:
        clips: codes, each ``[K, T]``.
        vectors: what the S codes of each stage stand for, ``[K, S, N]``.
        steps: of the fit.
        progress: called with the share that is done.

    Raises:
        AudioError: too few codes.
    """
    clips = [clip for clip in clips if clip.shape[1] > 1]
    if sum(clip.shape[1] for clip in clips) < BATCH:
        raise AudioError("too little audio for entropy tables: at least some minutes are needed")
    counts = np.stack(
        [np.bincount(np.concatenate([c[k] for c in clips]), minlength=vectors.shape[1])
         for k in range(vectors.shape[0])]
    )  # fmt: skip
    frozen = _frozen(vectors.astype(np.float64), counts)
    generator = torch.Generator().manual_seed(0)
    network = _Network(frozen, counts, generator)
    first = np.concatenate([clip[:, :-1] for clip in clips], 1).T  # [T, K], the frame before
    second = np.concatenate([clip[:, 1:] for clip in clips], 1).T
    network.train(torch.from_numpy(first), torch.from_numpy(second), steps, progress)
    return network.rounded()


def _frozen(vectors: NDArray[np.float64], counts: NDArray[np.int64]) -> dict[str, NDArray]:
    """What is not trained: order, features and sizes of codes, levels, powers of two."""
    n_stages, n_codes, _ = vectors.shape
    share = counts / counts.sum(1, keepdims=True)
    moments = np.einsum("ks,ksi,ksj->ij", share, vectors, vectors)
    axes = np.linalg.eigh(moments)[1][:, ::-1][:, :N_FEATURES]
    features = vectors @ axes
    # A typical frame has a level of about 2^14: 60 dB below it there are still steps.
    scale = min(
        2**14 / (share[..., None] * np.abs(features)).sum((1, 2)).max(),
        32_000 / np.abs(features).max(),
    )
    norms = np.linalg.norm(vectors, axis=2)
    sizes = np.zeros((n_stages, n_codes), np.uint8)
    for k in range(n_stages):
        order = np.argsort(norms[k], kind="stable")
        below = np.cumsum(counts[k][order]) - counts[k][order]
        sizes[k, order] = 1 + below * (N_SIZES - 1) // (counts[k].sum() + 1)
    members = 1 << (n_codes.bit_length() - 1) // 2
    return {
        "rank": np.stack([_ranks(v, members) for v in vectors]),
        "features": np.round(features * scale).astype(np.int16),
        "sizes": sizes,
        "levels": np.round(8 * 2 ** (np.arange(N_LEVELS) / 4)).astype(np.int32),
        "powers": np.round(65536 * 2 ** (-np.arange(512) / 32)).astype(np.int32),
    }


def _ranks(vectors: NDArray[np.float64], members: int) -> NDArray[np.uint16]:
    """Places such that every ``members`` neighbours are alike: halves along the widest axis."""
    groups = [np.arange(len(vectors))]
    while len(groups[0]) > members:
        halves = []
        for group in groups:
            points = vectors[group] - vectors[group].mean(0)
            axis = np.linalg.eigh(points.T @ points)[1][:, -1]
            group = group[np.argsort(points @ axis, kind="stable")]
            halves += [group[: len(group) // 2], group[len(group) // 2 :]]
        groups = halves
    ranks = np.zeros(len(vectors), np.uint16)
    ranks[np.concatenate(groups)] = np.arange(len(vectors))
    return ranks


class _Network:
    """The float form of :class:`EntropyTables`; all stages at once."""

    def __init__(
        self, frozen: dict[str, NDArray], counts: NDArray[np.int64], generator: torch.Generator
    ) -> None:
        self.frozen = frozen
        self.generator = generator
        n_stages, n_codes = counts.shape
        n_features = frozen["features"].shape[2]
        self.members = 1 << (n_codes.bit_length() - 1) // 2
        parts = n_codes // self.members
        self.rank = torch.from_numpy(frozen["rank"].astype(np.int64))
        self.features = torch.from_numpy(frozen["features"].astype(np.int64))
        self.sizes = torch.from_numpy(frozen["sizes"].astype(np.int64))
        self.levels = torch.from_numpy(frozen["levels"].astype(np.int64))
        ranked = np.take_along_axis(counts, np.argsort(frozen["rank"], 1), 1) + 0.5
        grouped = torch.from_numpy(ranked).float().reshape(n_stages, parts, self.members)

        def noise(*shape: int, deviation: float) -> Tensor:
            return torch.randn(shape, generator=generator) * deviation

        self.weights: dict[str, Tensor] = {
            "w_before": noise(n_stages, n_features, N_HIDDEN, deviation=0.2),
            "w_now": noise(n_stages, n_features, N_HIDDEN, deviation=0.2),
            "level_before": noise(n_stages, N_LEVELS, N_HIDDEN, deviation=0.1) + 0.25,
            "level_now": noise(n_stages, N_LEVELS, N_HIDDEN, deviation=0.1) + 0.25,
            "size_before": torch.zeros(n_stages, N_SIZES, N_HIDDEN),
            "size_above": torch.zeros(n_stages, N_SIZES, N_HIDDEN),
            "w_part": noise(n_stages, N_HIDDEN, parts, deviation=0.1),
            "b_part": torch.log2(grouped.sum(2)),
            "w_member": noise(n_stages, parts, N_HIDDEN, self.members, deviation=0.1),
            "b_member": torch.log2(grouped),
        }
        for name in ("b_part", "b_member"):
            self.weights[name] -= self.weights[name].mean(-1, keepdim=True)
        for weight in self.weights.values():
            weight.requires_grad_()

    def train(
        self, before: Tensor, now: Tensor, steps: int, progress: Callable[[float], None]
    ) -> None:
        """Minimise the bits of frames ``now`` [T, K], given the frames ``before`` them."""
        parameters = list(self.weights.values())
        optimizer = torch.optim.Adam(parameters, LEARNING_RATE, betas=(0.9, 0.99))
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
            at = torch.randint(len(now), (BATCH,), generator=self.generator)
            loss = self.bits(before[at], now[at]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for name in ("w_before", "w_now"):
                    self.weights[name].clamp_(-MOST / SCALES["w"], MOST / SCALES["w"])
                for name in ("w_part", "w_member"):
                    self.weights[name].clamp_(-MOST / SCALES["out"], MOST / SCALES["out"])
            progress((step + 1) / steps)

    def bits(self, before: Tensor, now: Tensor) -> Tensor:
        """Bits of every code, [K, B], of frames [B, K] each."""
        w = self.weights
        n, n_stages = now.shape
        stage = torch.arange(n_stages)
        old, new = self.features[stage, before], self.features[stage, now]  # [B, K, D]
        used = self._stages_of_file(n, n_stages)  # [B, K], at least the stage's own number
        opening = torch.rand((n, 1), generator=self.generator) < OPENINGS
        old = old.cumsum(1).gather(1, (used - 1)[..., None].expand_as(old))
        old = old.masked_fill(opening[..., None], 0)
        old_size = self.sizes[stage, before].masked_fill(opening, 0)
        above = torch.zeros_like(now)
        above[:, 1:] = self.sizes[stage, now][:, :-1]
        old_direction, old_level = self._state(old)
        new_direction, new_level = self._state(new.cumsum(1) - new)
        total = (
            torch.einsum("bkd,kdh->kbh", old_direction, w["w_before"])
            + torch.einsum("bkd,kdh->kbh", new_direction, w["w_now"])
            + w["level_before"][stage, old_level].transpose(0, 1)
            + w["level_now"][stage, new_level].transpose(0, 1)
            + w["size_before"][stage, old_size].transpose(0, 1)
            + w["size_above"][stage, above].transpose(0, 1)
        )
        hidden = total.clamp(0, MOST * 256 / SCALES["hidden"])  # [K, B, H]
        place = self.rank[stage, now].T  # [K, B]
        part, member = place // self.members, place % self.members
        scores = torch.baddbmm(w["b_part"][:, None], hidden, w["w_part"])
        bits = _bits(scores, part)
        row = (stage[:, None] * scores.shape[2] + part).reshape(-1)
        weight = w["w_member"].flatten(0, 1).index_select(0, row)  # [K B, H, M]
        bias = w["b_member"].flatten(0, 1).index_select(0, row)
        scores = torch.bmm(hidden.reshape(-1, 1, N_HIDDEN), weight)[:, 0] + bias
        return bits + _bits(scores, member.reshape(-1)).reshape(bits.shape)

    def _stages_of_file(self, n: int, n_stages: int) -> Tensor:
        """Stages of the file that a code is in: all of them, half of them, or any number."""
        own = torch.arange(1, n_stages + 1).expand(n, -1)
        chance = torch.rand((n, n_stages), generator=self.generator)
        any_number = own + (chance * 5 % 1 * (n_stages - own + 1)).long()
        half = torch.full_like(own, n_stages // 2)
        used = torch.where((chance < 0.4) & (own <= half), half, n_stages)
        return torch.where(chance >= 0.8, any_number, used).clamp(max=n_stages)

    def _state(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """As in :class:`EntropyTables`, the direction in units of the first layer."""
        level = sums.abs().sum(-1)
        direction = (
            (sums * 512).div(level[..., None] + 16, rounding_mode="floor").clamp(-MOST, MOST)
        )
        place = torch.searchsorted(self.levels[:-1], level, right=True)
        return direction.float() * (SCALES["w"] / SCALES["hidden"]), place

    def rounded(self) -> EntropyTables:
        scale = {"w_before": "w", "w_now": "w", "w_part": "out", "w_member": "out"}
        scale |= {"b_part": "score", "b_member": "score"}
        arrays = {}
        for name, weight in self.weights.items():
            small = name.startswith("w_")
            limit, dtype = (MOST, np.int8) if small else (32767, np.int16)
            numbers = np.round(weight.detach().numpy() * SCALES[scale.get(name, "hidden")])
            arrays[name] = np.clip(numbers, -limit, limit).astype(dtype)
        return EntropyTables(**self.frozen, **arrays)


def _bits(scores: Tensor, target: Tensor) -> Tensor:
    """Bits of ``target`` [...] under scores [..., n] in bits."""
    logs = torch.log_softmax(scores * math.log(2), -1)
    return -logs.gather(-1, target[..., None])[..., 0] / math.log(2)
