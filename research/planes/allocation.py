"""How far a packet's codes must be searched, before anyone knows what they will be.

What the payload holds is decided by its order and its bytes alone (see
:mod:`research.planes.payload`). The encoder only has to have the codes that will fit, and a few
more; by the mean number of bits of each code it knows about how many those are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eulerodec.bitstream.code_tables import TOTAL, CodeTables
from eulerodec.bitstream.payload import Layout

__all__ = ["SPARE", "Allocation", "Depths"]

Ints = NDArray[np.int64]

SPARE = 1.04  # codes are searched for so many times the bits that there are,
_SPARE_BITS = 160  # and so many more


@dataclass
class Depths:
    """Stages of latents of each frame ``[C, T]``, stages after the base of each block
    ``[C, blocks]``, and whether that is all there is."""

    latents: Ints
    energies: Ints
    complete: bool


class Allocation:
    """Depths of search for budgets, by the tables of one model."""

    def __init__(self, tables: CodeTables) -> None:
        self._base = tables.n_base
        self._latent_bits = _mean_bits(tables.latent_counts)  # [K, classes]
        self._energy_bits = _mean_bits(tables.energy_counts).mean(1)  # [Q]
        self._levels_bits = 8

    def depths(self, layout: Layout, n_blocks: int, n_bytes: int, spare: float = SPARE) -> Depths:
        """Depths whose codes fill ``n_bytes`` and a little more.

        Args:
            layout: of the packet.
            n_blocks: of each channel.
            n_bytes: of the payload.
            spare: factor on the bits; larger after a search that fell short.
        """
        n_channels, n_frames = layout.delays.shape
        _, kind, stage, channel, at = layout.order.T
        energy = self._energy_bits[np.minimum(stage, len(self._energy_bits) - 1)]
        latent_stage = np.where(kind == 1, stage, 0)
        frame = np.where(kind == 1, at, 0)
        latent = self._latent_bits[latent_stage, layout.classes[channel, frame]]
        bits = np.where(kind == 1, latent, energy)
        before = n_channels * (self._levels_bits + n_blocks * self._energy_bits[: self._base].sum())
        wanted = before + bits.cumsum() - bits < 8.0 * n_bytes * spare + _SPARE_BITS
        latents = np.zeros((n_channels, n_frames), np.int64)
        energies = np.zeros((n_channels, n_blocks), np.int64)
        here = wanted & (kind == 1)
        np.maximum.at(latents, (channel[here], at[here]), stage[here] + 1)
        here = wanted & (kind == 0)
        np.maximum.at(energies, (channel[here], at[here]), stage[here] + 1 - self._base)
        return Depths(latents, energies, bool(wanted.all()))


def _mean_bits(counts: NDArray[np.uint16]) -> NDArray[np.float64]:
    p = (counts + 1.0) / TOTAL
    return -(p * np.log2(p)).sum(-1)
