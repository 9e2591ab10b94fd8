"""Packets coded with numpy alone: look-up and beam search over residual codebooks.

The search is that of :mod:`.search`, step by step; the two may differ where codes are equally near.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from ..bitstream.code_tables import CodeTables
from .coding import WIDE_STAGES, Coding, Floats, Ints

__all__ = ["ArrayCoding", "beam_search", "look_up"]

#: Of each stage: code vectors ``[size, D]`` and their squared lengths ``[size]``, float32.
SearchTables = list[tuple[Floats, Floats]]

_COLUMNS = 256


class ArrayCoding(Coding):
    """:class:`Coding` in numpy.

    Args:
        tables: of the model.
        codebooks: of latents, float16 ``[K, S, D]``.
        energy_weight: what an error of energies counts in each band ``[N]``.
    """

    def __init__(
        self, tables: CodeTables, codebooks: NDArray[np.float16], energy_weight: Floats
    ) -> None:
        super().__init__(tables, energy_weight)
        self.codebooks = codebooks

    @functools.cached_property
    def _search_tables(self) -> SearchTables:
        """Made when an encoder needs them."""
        books = (book.astype(np.float32) for book in self.codebooks)
        return [(book, np.square(book).sum(1)) for book in books]

    def _found(self, x: Floats, depth: Ints, beam: int) -> Ints:
        return beam_search(x, self._search_tables, beam, depth)

    def _vectors(self, codes: Ints) -> Floats:
        return look_up(codes, self.codebooks)


def look_up(codes: Ints, codebooks: NDArray[np.float16]) -> Floats:
    """Sums of code vectors, float32 ``[N, D]``, of codes ``[N, K]``; -1 adds nothing."""
    out = np.zeros((len(codes), codebooks.shape[2]), np.float32)
    for book, index in zip(codebooks, codes.T, strict=True):
        rows = np.flatnonzero(index >= 0)
        out[rows] += book[index[rows]]
    return out


def beam_search(x: Floats, tables: SearchTables, beam: int, depth: Ints) -> Ints:
    """Multi-path residual search, as :func:`eulerodec.quantize.beam_search`.

    Args:
        x: ``[N, D]`` float32.
        tables: of K stages.
        beam: paths kept per vector in the first stages.
        depth: stages that each vector takes ``[N]``, 0 to K.

    Returns:
        codes ``[N, K]``; -1 from a vector's depth on.
    """
    codes = np.full((len(x), len(tables)), -1, np.int64)
    order = np.argsort(-depth, kind="stable")
    ends = (depth[:, None] > np.arange(len(tables) + 1)).sum(0)
    residual = x[order[: ends[0]]]  # [n * b, D], the paths of a vector side by side
    error = np.zeros((ends[0], 1), np.float32)  # |residual|^2 - |x|^2
    steps: list[tuple[Ints, Ints]] = []  # rows of the parents, codes [n, b]
    for (book, norms), n, going_on in zip(tables, ends, ends[1:], strict=False):
        if n == 0:
            break
        width = error.shape[1]
        if len(steps) == WIDE_STAGES:
            beam = (beam + 1) // 2
        first = np.arange(n)[:, None]
        cost = residual @ book.T
        cost *= np.float32(-2.0)
        cost += norms
        if beam == width == 1:
            parent, index = first, cost.argmin(1)[:, None]
        else:
            # the best children of each parent contain the best of all
            value, child = _smallest(cost, min(beam, cost.shape[1]))
            value = (value.reshape(n, width, -1) + error[:, :, None]).reshape(n, -1)
            pick = _lowest(value, min(beam, value.shape[1]))
            error = np.take_along_axis(value, pick, 1)
            parent = first * width + pick // child.shape[1]
            index = np.take_along_axis(child.reshape(n, -1), pick, 1)
            residual = residual[parent.ravel()]
        residual = residual - book[index.ravel()]
        steps.append((parent, index))
        if going_on < n:  # the others are done
            width = index.shape[1]
            done = _best(residual[going_on * width :], n - going_on) + going_on * width
            codes[order[going_on:n], : len(steps)] = _traced(steps, done)
            residual, error = residual[: going_on * width], error[:going_on]
    return codes


def _traced(steps: list[tuple[Ints, Ints]], row: Ints) -> Ints:
    """Codes ``[n, stages]`` of the paths that end in these rows."""
    codes = []
    for parent, index in reversed(steps):
        codes.append(index.ravel()[row])
        row = parent.ravel()[row]
    return np.stack(codes[::-1], -1)


def _best(residual: Floats, n: int) -> Ints:
    """Row of the best path of each of ``n`` vectors."""
    error = np.square(residual).sum(1).reshape(n, -1)
    return np.arange(n) * error.shape[1] + error.argmin(1)


def _smallest(cost: Floats, count: int) -> tuple[Floats, Ints]:
    """The ``count`` smallest of each row ``[N, size]`` and their places.

    They lie in columns (of a row folded into several) with the smallest minima.
    """
    n, size = cost.shape
    if size % _COLUMNS or count > _COLUMNS:
        place = _lowest(cost, count)
        return np.take_along_axis(cost, place, 1), place
    folded = cost.reshape(n, -1, _COLUMNS)
    column = _lowest(folded.min(1), count)
    found = np.take_along_axis(folded, column[:, None], 2).reshape(n, -1)
    place = _lowest(found, count)
    value = np.take_along_axis(found, place, 1)
    return value, place // count * _COLUMNS + np.take_along_axis(column, place % count, 1)


def _lowest(x: Floats, count: int) -> Ints:
    """Places of the ``count`` smallest of each row, in any order."""
    if count == x.shape[1]:
        return np.broadcast_to(np.arange(count), x.shape)
    return np.argpartition(x, count - 1, axis=1)[:, :count]
