"""Small code tables and codes for them, drawn in whole numbers: the same on every machine."""

from __future__ import annotations

import numpy as np

from eulerodec.bitstream.code_tables import TOTAL, CodeTables
from eulerodec.bitstream.payload import PacketCodes


class Draw:
    """Whole numbers of a linear congruential generator (Knuth's MMIX)."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """``low`` to ``high - 1``, int64."""
        numbers = [low + self._next() % (high - low) for _ in range(int(np.prod(shape)))]
        return np.array(numbers, np.int64).reshape(shape)

    def frequencies(self, *shape: int) -> np.ndarray:
        """Very unequal frequencies less one, of tables ``[..., size]``."""
        size = shape[-1]
        share = self.integers(0, 1000, *shape) ** 6 // 10**9 + 1
        counts = share * (TOTAL - size) // share.sum(-1, keepdims=True)
        counts[..., 0] += TOTAL - size - counts.sum(-1)
        return counts.astype(np.uint16)

    def _next(self) -> int:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self._state >> 33


def random_tables(
    seed: int = 0,
    *,
    n_latents: int = 5,
    n_delays: int = 4,
    size: int = 256,
    n_bands: int = 3,
    block_frames: int = 2,
    n_energies: int = 4,
    n_classes: int = 3,
    n_contexts: int = 4,
) -> CodeTables:
    """Two base stages of energies; frames from 0 to 50 dB below the level, with all delays."""
    draw = Draw(seed)
    v, more = block_frames * n_bands, n_energies - 2
    width = np.arange(1, n_bands + 1)
    steps = width.sum() * 2.0**20 * 10 ** (-0.075 / 16 * (np.arange(400)[::-1] + 0.5))
    delays = np.arange(n_delays)
    constant = 4096 * draw.integers(-600, -50, 1, v)
    return CodeTables(
        energy_mean=draw.integers(-600, -50, v).astype(np.int16),
        energy_matrix=np.concatenate([draw.integers(-900, 900, v, v), constant]).astype(np.int32),
        energy_books=draw.integers(-250, 250, n_energies, size, v).astype(np.int16),
        energy_class=draw.integers(1, n_contexts, size).astype(np.uint8),
        energy_counts=draw.frequencies(n_energies, n_contexts, size),
        band_width=width.astype(np.int32),
        loudness_power=np.rint(2.0**20 * 10 ** (-0.075 / 16 * np.arange(800))).astype(np.int32),
        loudness_steps=np.ceil(steps).astype(np.int64),
        delay_slope=np.array([50], np.int32),
        latent_plane=(np.arange(n_latents)[:, None] + delays).astype(np.uint8),
        energy_plane=(2 + 2 * np.arange(more)[:, None] + delays // 2).astype(np.uint8),
        class_centres=draw.integers(-60, 60, n_classes, 3 * n_bands).astype(np.int16),
        latent_counts=draw.frequencies(n_latents, n_classes, size),
    )


def random_codes(seed: int, tables: CodeTables, n_channels: int, n_frames: int) -> PacketCodes:
    """A packet with all of its codes."""
    draw = Draw(seed)
    size, blocks = tables.energy_class.size, -(-n_frames // tables.block_frames)
    return PacketCodes(
        draw.integers(140, 170, n_channels),
        draw.integers(0, size, n_channels, tables.n_energies, blocks),
        draw.integers(0, size, n_channels, tables.n_latents, n_frames),
    )


def arrays(codes: PacketCodes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return codes.levels, codes.energies, codes.latents


def n_codes(codes: PacketCodes) -> int:
    return sum(int((x >= 0).sum()) for x in arrays(codes))


def assert_beginning(part: PacketCodes, whole: PacketCodes) -> None:
    """All codes of ``part`` are those of ``whole``, or absent."""
    for got, given in zip(arrays(part), arrays(whole), strict=True):
        np.testing.assert_array_equal(got, np.where(got == -1, -1, given))
