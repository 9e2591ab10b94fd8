"""The parts of a fit of codes: k-means, energy codebooks, classes of frames, frequencies.

:mod:`eulerodec.train.fit` puts them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..bitstream.code_tables import ABSENT, FEATURE_LIMIT, TOTAL, CodeTables
from ..bitstream.payload import PacketCodes, PayloadCoder

__all__ = [
    "EnergyFit",
    "PlaneRule",
    "count_codes",
    "first_tables",
    "fit_classes",
    "fit_energies",
    "kmeans",
]

Floats = NDArray[np.float32]
_DECIBEL = 16  # a whole number of the tables is 1/16 dB
_LOUDNESS_STEPS = 600
_POWERS = 960


@dataclass(frozen=True)
class PlaneRule:
    """How frames share the bits of a packet.

    Attributes:
        slope: planes that a frame waits for each dB that it is softer than the loudest.
        max_delay: at most so many.
        energy_planes: plane of each energy stage after the base.
        n_latents: stages of latents.
    """

    slope: float = 0.25
    max_delay: int = 6
    energy_planes: tuple[int, ...] = (2, 4, 6, 8, 10, 12, 14, 16)
    n_latents: int = 20

    @property
    def latent_plane(self) -> NDArray[np.uint8]:
        delays = np.arange(self.max_delay + 1)
        return (np.arange(self.n_latents)[:, None] + delays).astype(np.uint8)

    @property
    def energy_plane(self) -> NDArray[np.uint8]:
        """Energies of soft frames wait half as long as their latents."""
        delays = np.arange(self.max_delay + 1) // 2
        return (np.array(self.energy_planes)[:, None] + delays).astype(np.uint8)


@dataclass(frozen=True)
class EnergyFit:
    """Energies of blocks in dB against the packet's level: what to expect, and code vectors.

    Attributes:
        mean: ``[V]``, before the first block.
        matrix: ``[V + 1, V]``, from a block's energies (and 1) to what to expect of the next.
        books: ``[Q, S, V]``, the first ``n_base`` stages with feedback.
        n_base: stages in the loop from block to block.
    """

    mean: Floats
    matrix: Floats
    books: Floats
    n_base: int


def kmeans(
    x: Floats,
    size: int,
    weight: Floats | None = None,
    rounds: Sequence[tuple[int, int]] = ((8, 4), (2, 2), (1, 1)),
) -> Floats:
    """Code vectors ``[size, D]`` of ``x [n, D]`` by Lloyd's iteration (Lloyd 1982).

    Args:
        x: what is to be coded.
        size: number of code vectors.
        weight: of each vector, ``[n]``.
        rounds: (every how many-th vector is seen, iterations), one after the other.

    Returns:
        The code vectors; the same for the same input.
    """
    start = np.linspace(0, len(x) - 1, size).astype(int)
    book = x[start] + 1e-6 * np.random.default_rng(0).standard_normal((size, x.shape[1]))
    book = book.astype(np.float32)
    for stride, iterations in rounds:
        few = len(x) < stride * 24 * size
        part = x if few else x[::stride]
        w = np.ones(len(x), np.float32) if weight is None else weight
        w = w if few else w[::stride]
        for _ in range(iterations):
            book = _means(part, w, nearest(part, book), book)
    return book


def nearest(x: Floats, book: Floats) -> NDArray[np.int64]:
    """Index of the nearest code vector of each row."""
    products, norms = np.ascontiguousarray(-2.0 * book.T), np.square(book).sum(1)
    parts = [(part @ products + norms).argmin(1) for part in _split(x)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _split(x: Floats, size: int = 2048) -> Iterable[Floats]:
    return (x[k : k + size] for k in range(0, len(x), size))


def _means(x: Floats, weight: Floats, index: NDArray[np.int64], book: Floats) -> Floats:
    size = len(book)
    count = np.bincount(index, weight, size)
    total = np.zeros(book.shape)
    np.add.at(total, index, x * weight[:, None])
    new = (total / np.maximum(count, 1e-12)[:, None]).astype(np.float32)
    empty = np.bincount(index, minlength=size) == 0
    # a code that nothing uses moves next to one of the most used
    new[empty] = 1.01 * new[count.argsort()[::-1][: int(empty.sum())]]
    return new


def fit_energies(
    blocks: Floats, weight: Floats, size: int, n_base: int = 2, n_more: int = 8, turns: int = 2
) -> EnergyFit:
    """Fits prediction and codebooks to energies of packets.

    Args:
        blocks: dB against the level, ``[packets, blocks, V]``.
        weight: what an error counts, ``[V]``.
        size: codes of a stage.
        n_base, n_more: stages with feedback, and after them.
        turns: rounds of fitting with the feedback of what was decoded.

    Returns:
        The fit, its first ``n_base`` codebooks those with feedback.
    """
    mean = blocks.reshape(-1, blocks.shape[2]).mean(0)
    noise = np.random.default_rng(0).standard_normal(blocks.shape).astype(np.float32)
    first = np.broadcast_to(mean, (len(blocks), 1, blocks.shape[2]))
    before: Floats = np.concatenate([first, (blocks + 3.0 * noise)[:, :-1]], 1).astype(np.float32)
    books: list[Floats] = []
    matrix = np.zeros((len(mean) + 1, len(mean)), np.float32)
    for turn in range(turns + 1):
        matrix = _regression(_flat(before), _flat(blocks))
        rest = _flat(blocks - _expected(matrix, before)) * weight
        for j in range(n_base):
            if turn == 0:
                books.append(kmeans(rest, size, rounds=((4, 5), (1, 2))))
            else:
                for _ in range(3):
                    index = nearest(rest, books[j])
                    books[j] = _means(rest, np.ones(len(rest), np.float32), index, books[j])
            rest = rest - books[j][nearest(rest, books[j])]
        before, decoded = _with_feedback(blocks, mean, matrix, books, weight)
    rest = _flat(blocks - decoded) * weight
    for _ in range(n_more):
        books.append(kmeans(rest, size, rounds=((4, 4), (1, 2))))
        rest = rest - books[-1][nearest(rest, books[-1])]
    return EnergyFit(mean, matrix, np.stack(books) / weight, n_base)


def _flat(x: Floats) -> Floats:
    return x.reshape(-1, x.shape[-1])


def _expected(matrix: Floats, before: Floats) -> Floats:
    return before @ matrix[:-1] + matrix[-1]


def _regression(x: Floats, y: Floats) -> Floats:
    """Least squares with a small ridge: weights and a constant, ``[V + 1, V]``."""
    wide = np.concatenate([x, np.ones((len(x), 1))], 1).astype(np.float64)
    square = wide.T @ wide
    square[np.arange(len(square) - 1), np.arange(len(square) - 1)] += 1e-2 * len(x)
    return np.linalg.solve(square, wide.T @ y.astype(np.float64)).astype(np.float32)


def _with_feedback(
    blocks: Floats, mean: Floats, matrix: Floats, books: Sequence[Floats], weight: Floats
) -> tuple[Floats, Floats]:
    """What stood before each block, and what each decodes to, ``[packets, blocks, V]``."""
    before = np.empty(blocks.shape, np.float32)
    decoded = np.empty(blocks.shape, np.float32)
    past: Floats = np.broadcast_to(mean, blocks[:, 0].shape).astype(np.float32)
    for t in range(blocks.shape[1]):
        before[:, t] = past
        rest = (blocks[:, t] - _expected(matrix, past)) * weight
        for book in books:
            rest = rest - book[nearest(rest, book)]
        decoded[:, t] = blocks[:, t] - rest / weight
        past = decoded[:, t]
    return before, decoded


def first_tables(
    fit: EnergyFit, band_width: Floats, rule: PlaneRule, n_classes: int = 16, n_contexts: int = 9
) -> CodeTables:
    """Tables with all frequencies alike and classes not fitted yet; see :func:`count_codes`.

    Args:
        fit: of the energies.
        band_width: STFT bins in each band ``[N]``.
        rule: the order of codes.
        n_classes: of frames.
        n_contexts: of blocks before a block, with one for none.

    Returns:
        The tables.
    """
    size = fit.books.shape[1]
    width = np.maximum(np.rint(16.0 * band_width), 1).astype(np.int32)
    fall = 0.075 / _DECIBEL  # log10 of the compressed power that 1/16 dB stands for
    powers = np.rint(2.0**20 * 10.0 ** (-fall * np.arange(_POWERS)))
    below = np.arange(_LOUDNESS_STEPS)[::-1] + 0.5
    steps = np.ceil(float(width.sum()) * 2.0**20 * 10.0 ** (-fall * below))
    n_bands = len(width)
    last = fit.books[0][:, -n_bands:]  # where a block ends is where the next one starts
    classes = 1 + nearest(last, kmeans(last, n_contexts - 1, rounds=((1, 20),)))
    return CodeTables(
        energy_mean=np.rint(_DECIBEL * fit.mean).astype(np.int16),
        energy_matrix=_matrix(fit.matrix),
        energy_books=np.rint(_DECIBEL * fit.books).astype(np.int16),
        energy_class=classes.astype(np.uint8),
        energy_counts=_uniform(len(fit.books), n_contexts, size),
        band_width=width,
        loudness_power=powers.astype(np.int32),
        loudness_steps=steps.astype(np.int64),
        delay_slope=np.array([round(4096 * rule.slope / _DECIBEL)], np.int32),
        latent_plane=rule.latent_plane,
        energy_plane=rule.energy_plane,
        class_centres=np.zeros((n_classes, 3 * n_bands), np.int16),
        latent_counts=_uniform(rule.n_latents, n_classes, size),
    )


def _matrix(matrix: Floats) -> NDArray[np.int32]:
    scaled = 4096.0 * matrix
    scaled[-1] *= _DECIBEL
    return np.rint(scaled).astype(np.int32)


def _uniform(*shape: int) -> NDArray[np.uint16]:
    return np.full(shape, TOTAL // shape[-1] - 1, np.uint16)


def fit_classes(
    tables: CodeTables, packets: Iterable[PacketCodes], weigh: float = 0.02
) -> CodeTables:
    """Tables with classes of frames by the energies around them.

    Args:
        tables: with energies.
        packets: codes with the base energies.
        weigh: how a frame's weight falls, in nepers a dB that it is softer.

    Returns:
        The same tables with other ``class_centres``.
    """
    coder = PayloadCoder(tables)
    features, weights = [], []
    for codes in packets:
        layout = coder.layout(codes)
        for bands, loudness in zip(layout.bands, layout.loudness, strict=True):
            features.append(tables.features(bands, loudness))
            weights.append(np.exp(weigh * np.maximum(loudness, -400) / _DECIBEL))
    x, w = np.concatenate(features).astype(np.float32), np.concatenate(weights).astype(np.float32)
    centres = kmeans(x, len(tables.class_centres), w, rounds=((4, 20), (1, 3)))
    limit = FEATURE_LIMIT
    return replace(tables, class_centres=np.clip(np.rint(centres), -limit, limit).astype(np.int16))


def count_codes(tables: CodeTables, packets: Iterable[PacketCodes]) -> CodeTables:
    """Tables with frequencies as they are in codes of the encoder's choice.

    Args:
        tables: with energies and classes.
        packets: codes as the encoder chooses them at a high rate.

    Returns:
        The same tables with other counts.
    """
    coder = PayloadCoder(tables)
    latents = np.zeros(tables.latent_counts.shape)
    energies = np.zeros(tables.energy_counts.shape)
    for codes in packets:
        layout = coder.layout(codes)
        c, k, t = np.nonzero(codes.latents != ABSENT)
        np.add.at(latents, (k, layout.classes[c, t], codes.latents[c, k, t]), 1.0)
        first = tables.energy_class[codes.energies[:, 0]].astype(int)  # [C, blocks]
        before = np.concatenate([np.zeros_like(first[:, :1]), first[:, :-1]], 1)
        c, q, b = np.nonzero(codes.energies != ABSENT)
        context = np.where(q == 0, before[c, b], first[c, b])
        np.add.at(energies, (q, context, codes.energies[c, q, b]), 1.0)
    return replace(
        tables, latent_counts=_frequencies(latents), energy_counts=_frequencies(energies)
    )


def _frequencies(counts: NDArray[np.float64], prior: float = 400.0) -> NDArray[np.uint16]:
    """Frequencies less one from counts ``[stages, contexts, S]``, drawn to those of the stage."""
    size = counts.shape[-1]
    stage = counts.sum(1, keepdims=True) + 0.5
    p = counts + prior * stage / stage.sum(-1, keepdims=True)
    p = p / p.sum(-1, keepdims=True) * (TOTAL - size)
    whole = np.floor(p).astype(np.int64)
    short = TOTAL - size - whole.sum(-1)
    # the largest remainders are rounded up
    order = np.argsort(whole - p, -1, kind="stable")
    rank = np.argsort(order, -1, kind="stable")
    return (whole + (rank < short[..., None])).astype(np.uint16)
