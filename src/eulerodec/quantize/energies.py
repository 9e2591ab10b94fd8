"""Band energies of blocks of frames: the encoder's search, and what codes stand for.

A block's base codes correct what the block before leads to expect, so they are chosen block after
block, with the feedback of what was decoded; the stages after them refine each block by itself.
Everything is in numpy and whole numbers of 1/16 dB, so that encoder and decoder agree to the bit on
what follows from the energies: loudness, delays and classes of frames.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bitstream.code_tables import ABSENT, LEVEL_STEP, LEVEL_ZERO, QUIET, CodeTables
from ..bitstream.payload import Layout, PacketCodes

__all__ = ["BlockEnergies", "Energies", "Multiply", "latent_gain"]

FLOOR = -70 * 16  # of what is coded, against the loudest frame; below it energies level off
SILENT = -80 * 16 + 8  # a channel whose loudest frame is softer holds nothing: energies end there
EXPONENT = 0.75  # compression of the latents

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Multiply = Callable[[Floats, Floats], Floats]  # of matrices


@dataclass
class Energies:
    """What a decoder knows of a packet's energies.

    Attributes:
        bands: log10 of the power of a bin, float32 ``[C, T, N]``.
        gain: modulus that latents of unit power stand for, float32 ``[C, T]``.
        n_codes: energy codes known of a frame's block, ``[C, T]``.
    """

    bands: Floats
    gain: Floats
    n_codes: Ints


def latent_gain(loudness: Ints, levels: Ints) -> Floats:
    """Modulus of latents by loudness ``[C, T]`` against levels ``[C]``; 0 for silence.

    No frame is louder than the loudest, whose loudness the level is to half a step.
    """
    absolute = np.clip(loudness, QUIET, LEVEL_STEP // 2)
    absolute = absolute + (LEVEL_STEP * (levels - LEVEL_ZERO))[:, None]
    gain = 10.0 ** (EXPONENT / 320.0 * absolute)
    return np.where(levels[:, None] > 0, gain, 0.0).astype(np.float32)


class BlockEnergies:
    """Energies of packets to codes and back, by one model's tables.

    Args:
        tables: of the model.
        weight: what an error counts in each band ``[N]``; all alike by default.
        multiply: the product of matrices.
    """

    def __init__(
        self, tables: CodeTables, weight: Floats | None = None, multiply: Multiply = np.matmul
    ) -> None:
        self.tables = tables
        self._multiply = multiply
        weight = np.ones(tables.n_bands, np.float32) if weight is None else weight
        self._weight = np.tile(weight, tables.block_frames).astype(np.float32)

    @functools.cached_property
    def _search(self) -> list[tuple[Floats, Floats, Floats]]:
        """Of each stage, what only an encoder needs: weighted vectors ``[S, V]``, their squared
        lengths ``[S]`` and -2 times the vectors ``[V, S]``."""
        books = [book * self._weight for book in self.tables.energy_books.astype(np.float32)]
        return [
            (book, np.square(book).sum(1), np.ascontiguousarray((-2.0 * book).T)) for book in books
        ]

    def levels(self, bands: Floats) -> Ints:
        """Level of each channel ``[C]`` from log10 energies ``[C, T, N]``: its loudest frame's."""
        loudest = self.tables.loudness(_whole(bands)).max(1)
        level = np.clip(LEVEL_ZERO + np.rint(loudest / LEVEL_STEP), 1, 255).astype(np.int64)
        return np.where(loudest < SILENT, 0, level)

    def search(self, bands: Floats, codes: PacketCodes) -> Floats:
        """Fills in levels, and the base codes of channels that are not silent.

        Args:
            bands: log10 energies ``[C, T, N]``.
            codes: of the packet, so far absent.

        Returns:
            What the base codes leave for :meth:`refine`, float32 ``[C, blocks, V]``.
        """
        tables = self.tables
        codes.levels[:] = self.levels(bands)
        target = self._relative(bands, codes.levels)
        rest = np.empty(target.shape, np.float32)
        before = None
        for b in range(target.shape[1]):
            expected = np.broadcast_to(tables.expected(before), target[:, b].shape)
            found = self._nearest(target[:, b] - expected, range(tables.n_base))
            found[codes.levels == 0] = ABSENT
            codes.energies[:, : tables.n_base, b] = found
            before = tables.decode_block(before, found)
            rest[:, b] = target[:, b] - before
        return rest

    def refine(self, rest: Floats, codes: PacketCodes, n_stages: Ints) -> None:
        """Fills in the energy codes after the base, ``n_stages`` ``[C, blocks]`` of each block."""
        stages = range(self.tables.n_base, self.tables.n_base + int(n_stages.max(initial=0)))
        found = self._nearest(rest.reshape(-1, rest.shape[-1]), stages)
        found = found.reshape(*rest.shape[:2], -1).transpose(0, 2, 1)
        wanted = np.arange(len(stages))[None, :, None] < n_stages[:, None]
        part = codes.energies[:, stages.start : stages.stop]
        part[wanted] = found[wanted]

    def gain(self, codes: PacketCodes, layout: Layout) -> Floats:
        """Modulus that latents of unit power stand for, float32 ``[C, T]``."""
        return latent_gain(layout.loudness, codes.levels)

    def decode(self, codes: PacketCodes, layout: Layout) -> Energies:
        """All that the energy codes tell; a packet's :class:`Layout` has the base already."""
        tables, size = self.tables, self.tables.block_frames
        n_channels, n_frames, _ = layout.bands.shape
        total = np.zeros((n_channels, codes.energies.shape[2], size * tables.n_bands), np.int64)
        for stage in range(tables.n_base, tables.n_energies):
            code = codes.energies[:, stage]
            if (code != ABSENT).any():
                book = tables.energy_books[stage]
                total += np.where((code >= 0)[..., None], book[np.maximum(code, 0)], 0)
        total = total.reshape(n_channels, -1, tables.n_bands)[:, :n_frames] + layout.bands
        excess = np.maximum(tables.loudness(total) - LEVEL_STEP // 2, 0)  # see latent_gain
        total -= excess[..., None]
        level = LEVEL_STEP * (np.maximum(codes.levels, 0) - LEVEL_ZERO)
        n_codes = (codes.energies != ABSENT).sum(1).repeat(size, 1)[:, :n_frames]
        return Energies(
            ((total + level[:, None, None]) / 160.0).astype(np.float32),
            self.gain(codes, layout),
            n_codes,
        )

    def _relative(self, bands: Floats, levels: Ints) -> Floats:
        """Energies of whole blocks against the levels ``[C, blocks, V]``, in 1/16 dB."""
        size = self.tables.block_frames
        short = -bands.shape[1] % size
        wide = np.pad(bands, ((0, 0), (0, short), (0, 0)), "edge")
        x = 160.0 * wide.astype(np.float64) - LEVEL_STEP * (levels - LEVEL_ZERO)[:, None, None]
        # a smooth floor, so that what lies just above it still counts
        soft = 160.0 * np.log10(10.0 ** (np.minimum(x, 0.0) / 160.0) + 10.0 ** (FLOOR / 160.0))
        return (
            (np.maximum(x, 0.0) + soft)
            .reshape(len(bands), -1, size * x.shape[2])
            .astype(np.float32)
        )

    def _nearest(self, x: Floats, stages: range) -> Ints:
        """Codes ``[n, len(stages)]`` of vectors ``[n, V]``, one stage after the other."""
        rest = (x * self._weight).astype(np.float32)
        codes = np.empty((len(x), len(stages)), np.int64)
        for k, stage in enumerate(stages):
            book, norms, factors = self._search[stage]
            codes[:, k] = (self._multiply(rest, factors) + norms).argmin(1)
            rest = rest - book[codes[:, k]]
        return codes


def _whole(bands: Floats) -> Ints:
    return np.rint(160.0 * bands.astype(np.float64)).astype(np.int64)
