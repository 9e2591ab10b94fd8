"""Latents and band energies of packets to payloads, and back, on plain arrays.

All but two things happen here, whatever the network runs on: the search for codes of latents, and
the sums of their vectors, which :class:`Coding` leaves to those who know where the codebooks are.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bitstream import ConstantCodes
from ..bitstream.code_tables import ABSENT, CodeTables
from ..bitstream.payload import CodesEndError, Layout, PacketCodes, PayloadCoder
from .allocation import SPARE, Allocation, Depths
from .energies import BlockEnergies, Multiply

__all__ = ["DEFAULT_BEAM", "MAX_BEAM", "WIDE_STAGES", "Coding", "Known"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

# A few paths gain most of what many would, and most of that in the first stages: four, then two,
# lose 0.02 dB at most to six, then two; two all the way lose 0.1 dB (docs/experiments.md).
DEFAULT_BEAM = 4
WIDE_STAGES = 3
MAX_BEAM = 64  # far more than pays

_ENERGY_ROWS = (0, 6)  # of the constant coding's codes; the others are latents


@dataclass
class Known:
    """What a decoder network gets of frames.

    Attributes:
        z: latents, float32 ``[C, D, T]``.
        bands: log10 energies, float32 ``[C, N, T]``.
        n_stages: stages of latents in each frame ``[C, T]``.
        n_energies: energy codes known of each frame's block ``[C, T]``.
    """

    z: Floats
    bands: Floats
    n_stages: Ints
    n_energies: Ints

    @property
    def n_frames(self) -> int:
        return self.z.shape[-1]

    def part(self, start: int, stop: int) -> Known:
        """Some of the frames."""
        at = slice(start, stop)
        return Known(
            self.z[..., at], self.bands[..., at], self.n_stages[..., at], self.n_energies[..., at]
        )

    @classmethod
    def joined(cls, parts: Sequence[Known]) -> Known:
        """Frames one after the other."""
        return cls(
            np.concatenate([part.z for part in parts], -1),
            np.concatenate([part.bands for part in parts], -1),
            np.concatenate([part.n_stages for part in parts], -1),
            np.concatenate([part.n_energies for part in parts], -1),
        )


class Coding(ABC):
    """Codes packets by one model's tables, as planes or with a constant number of codes.

    Args:
        tables: of the model.
        energy_weight: what an error of energies counts in each band ``[N]``.
        multiply: the product of matrices; numpy's by default.
    """

    def __init__(
        self, tables: CodeTables, energy_weight: Floats, multiply: Multiply = np.matmul
    ) -> None:
        self.tables = tables
        self.payload = PayloadCoder(tables)
        self._energies = BlockEnergies(tables, energy_weight, multiply)

    @functools.cached_property
    def _allocation(self) -> Allocation:
        """Made when an encoder needs it."""
        return Allocation(self.tables)

    @abstractmethod
    def _found(self, x: Floats, depth: Ints, beam: int) -> Ints:
        """Codes ``[n, K]`` of vectors ``[n, D]``, ``depth [n]`` of each, -1 after them."""

    @abstractmethod
    def _vectors(self, codes: Ints) -> Floats:
        """Sums of the code vectors ``[n, D]`` of codes ``[n, K]``; -1 adds nothing."""

    # ---- planes -------------------------------------------------------------------------------

    def search(
        self, z: Floats, bands: Floats, n_bytes: int, beam: int = DEFAULT_BEAM
    ) -> tuple[PacketCodes, bytes]:
        """The codes that ``n_bytes`` hold, with a few more, and the payload.

        Args:
            z: latents ``[C, D, T]``.
            bands: log10 energies ``[C, N, T]``.
            n_bytes: most bytes of the payload.
            beam: paths of the search.
        """
        codes, rest, layout, unit = self._start(z, bands)
        spare = SPARE
        while True:
            depths = self._allocation.depths(layout, rest.shape[1], n_bytes, spare)
            self._fill(codes, unit, rest, depths, beam)
            try:
                return codes, self.payload.encode(codes, n_bytes, layout)
            except CodesEndError:
                # rare: these codes took fewer bits than codes do in the mean
                if depths.complete:
                    raise
                spare *= 1.1

    def _start(self, z: Floats, bands: Floats) -> tuple[PacketCodes, Floats, Layout, Floats]:
        """Codes with their base energies, what these leave, what follows from them, and the
        latents at unit power ``[C, T, D]``."""
        n_channels, _, n_frames = z.shape
        codes = PacketCodes.empty(self.tables, n_channels, n_frames)
        rest = self._energies.search(bands.transpose(0, 2, 1), codes)
        layout = self.payload.layout(codes)
        gain = self._energies.gain(codes, layout)
        unit = z.transpose(0, 2, 1) / np.maximum(gain, np.float32(1e-12))[..., None]
        unit = unit.astype(np.float32, copy=False)
        return codes, rest, layout, unit

    def _fill(
        self, codes: PacketCodes, unit: Floats, rest: Floats, depths: Depths, beam: int
    ) -> None:
        vectors = np.ascontiguousarray(unit.reshape(-1, unit.shape[-1]))
        found = self._found(vectors, depths.latents.ravel(), beam)
        codes.latents[:] = found.reshape(*unit.shape[:2], -1).transpose(0, 2, 1)
        self._energies.refine(rest, codes, depths.energies)

    def decode(self, payload: bytes, n_channels: int, n_frames: int) -> Known:
        """What the decoder network needs of a payload."""
        return self.look_up(self.payload.decode(payload, n_channels, n_frames))

    def look_up(self, codes: PacketCodes) -> Known:
        """What codes stand for."""
        layout = self.payload.layout(codes)
        energies = self._energies.decode(codes, layout)
        latents = codes.latents.transpose(0, 2, 1)  # [C, T, K]
        z = self._vectors(latents.reshape(-1, latents.shape[-1])).reshape(*latents.shape[:2], -1)
        z = z * energies.gain[..., None]
        return Known(
            z.transpose(0, 2, 1),
            energies.bands.transpose(0, 2, 1),
            (latents != ABSENT).sum(2),
            energies.n_codes,
        )

    # ---- the constant coding ------------------------------------------------------------------

    def encode_constant(
        self, z: Floats, bands: Floats, n_codebooks: int, beam: int = DEFAULT_BEAM
    ) -> ConstantCodes:
        """The same number of codes for every frame.

        Row 0 of the codes, and row 6 if there are so many, say the energies: a block of F frames
        has its energy code j in frame j mod F of the row. The other rows are stages of latents.

        Args:
            z: latents ``[C, D, T]``.
            bands: log10 energies ``[C, N, T]``.
            n_codebooks: rows K of the codes.
            beam: paths of the search.
        """
        codes, rest, _, unit = self._start(z, bands)
        energy_rows, latent_rows = self.constant_rows(n_codebooks)
        n_channels, n_frames = unit.shape[:2]
        depths = Depths(
            np.full((n_channels, n_frames), len(latent_rows)),
            np.full(rest.shape[:2], len(energy_rows) * self._size - self.tables.n_base),
            complete=False,
        )
        self._fill(codes, unit, rest, depths, beam)
        out = np.zeros((n_channels, n_codebooks, n_frames), np.int64)
        out[:, latent_rows] = codes.latents[:, : len(latent_rows)]
        frames = np.arange(n_frames)
        for k, row in enumerate(energy_rows):
            stage = k * self._size + frames % self._size
            out[:, row] = codes.energies[:, stage, frames // self._size]
        # a silent channel has no codes; any do, as its level says that it is silent
        return ConstantCodes(codes.levels, np.maximum(out, 0))

    def decode_constant(self, constant: ConstantCodes) -> Known:
        """What codes ``[C, K, T]`` of one packet and their levels stand for."""
        n_channels, n_codebooks, n_frames = constant.codes.shape
        energy_rows, latent_rows = self.constant_rows(n_codebooks)
        codes = PacketCodes.empty(self.tables, n_channels, n_frames)
        codes.levels[:] = constant.levels
        codes.latents[:, : len(latent_rows)] = constant.codes[:, latent_rows]
        frames = np.arange(n_frames)
        for k, row in enumerate(energy_rows):
            stage = k * self._size + frames % self._size
            codes.energies[:, stage, frames // self._size] = constant.codes[:, row]
        return self.look_up(codes)

    @property
    def max_codebooks(self) -> int:
        """Most rows of the constant coding."""
        return self.tables.n_latents + min(len(_ENERGY_ROWS), self.tables.n_energies // self._size)

    @property
    def _size(self) -> int:
        return self.tables.block_frames

    def constant_rows(self, n_codebooks: int) -> tuple[list[int], list[int]]:
        """Of the constant coding with K codebooks: its rows of energies, and those of latents."""
        most = self.tables.n_energies // self._size
        energies = [row for row in _ENERGY_ROWS[:most] if row < n_codebooks]
        return energies, [row for row in range(n_codebooks) if row not in energies]
