"""Latents and band energies of a packet to its payload, and back."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..bitstream import ConstantCodes
from ..bitstream.code_tables import ABSENT
from ..bitstream.payload import CodesEndError, Layout, PacketCodes, PayloadCoder
from .allocation import SPARE, Allocation, Depths
from .code_book import CodeBook
from .energies import BlockEnergies
from .search import DEFAULT_BEAM, SearchTables, beam_search, look_up, search_tables

__all__ = ["Coded", "PacketCoder"]

_ENERGY_ROWS = (0, 6)  # of the constant coding's codes; the others are latents


@dataclass
class Coded:
    """What a decoder network gets of frames, or of what stands for them.

    Attributes:
        z: latents ``[C, D, T]``.
        bands: log10 energies ``[C, N, T]``.
        n_stages: stages of latents in each frame, int ``[C, T]``.
        n_energies: energy codes known of each frame's block, int ``[C, T]``.
    """

    z: Tensor
    bands: Tensor
    n_stages: Tensor
    n_energies: Tensor


class PacketCoder:
    """Codes packets with one model's code book, as planes or with a constant number of codes."""

    def __init__(self, book: CodeBook) -> None:
        self.tables, self.codebooks = book.tables, book.codebooks
        self.payload = PayloadCoder(book.tables)
        self._energies = BlockEnergies(book.tables, book.energy_weight)

    def __deepcopy__(self, memo: object) -> PacketCoder:
        """This one: nothing in it is trained, and it is large."""
        return self

    def to(self, device: torch.device) -> PacketCoder:
        """Moves the codebooks; returns this coder."""
        self.codebooks = self.codebooks.to(device)
        vars(self).pop("_search_tables", None)
        return self

    # Only an encoder needs these, so they are made when one does.

    @functools.cached_property
    def _allocation(self) -> Allocation:
        return Allocation(self.tables)

    @functools.cached_property
    def _search_tables(self) -> SearchTables:
        return search_tables(self.codebooks)

    def encode(self, z: Tensor, bands: Tensor, n_bytes: int, beam: int = DEFAULT_BEAM) -> bytes:
        """A payload of at most ``n_bytes``.

        Args:
            z: latents ``[C, D, T]``.
            bands: log10 energies ``[C, N, T]``.
            n_bytes: most bytes.
            beam: paths of the search.
        """
        return self.search(z, bands, n_bytes, beam)[1]

    def search(
        self, z: Tensor, bands: Tensor, n_bytes: int, beam: int = DEFAULT_BEAM
    ) -> tuple[PacketCodes, bytes]:
        """The codes that ``n_bytes`` hold, with a few more, and the payload; see :meth:`encode`."""
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

    def _start(self, z: Tensor, bands: Tensor) -> tuple[PacketCodes, np.ndarray, Layout, Tensor]:
        """Codes with their base energies, what these leave, what follows from them, and the
        latents at unit power ``[C, T, D]``."""
        n_channels, _, n_frames = z.shape
        codes = PacketCodes.empty(self.tables, n_channels, n_frames)
        rest = self._energies.search(bands.transpose(1, 2).cpu().numpy(), codes)
        layout = self.payload.layout(codes)
        gain = self._energies.gain(codes, layout)
        unit = z.transpose(1, 2) / torch.from_numpy(np.maximum(gain, 1e-12)).to(z)[..., None]
        return codes, rest, layout, unit

    def _fill(
        self, codes: PacketCodes, unit: Tensor, rest: np.ndarray, depths: Depths, beam: int
    ) -> None:
        depth = torch.from_numpy(depths.latents).to(unit.device).flatten()
        found = beam_search(unit.flatten(0, 1), self.codebooks, beam, self._search_tables, depth)
        found = found.view(*unit.shape[:2], -1).transpose(1, 2)
        codes.latents[:] = found.cpu().numpy()
        self._energies.refine(rest, codes, depths.energies)

    def decode(self, payload: bytes, n_channels: int, n_frames: int) -> Coded:
        """What the decoder network needs of a payload."""
        return self.look_up(self.payload.decode(payload, n_channels, n_frames))

    def look_up(self, codes: PacketCodes) -> Coded:
        """What codes stand for."""
        layout = self.payload.layout(codes)
        energies = self._energies.decode(codes, layout)
        device = self.codebooks.device
        latents = torch.from_numpy(codes.latents).to(device).transpose(1, 2)  # [C, T, K]
        z = look_up(latents.flatten(0, 1), self.codebooks).view(*latents.shape[:2], -1)
        z = z * torch.from_numpy(energies.gain).to(z)[..., None]
        return Coded(
            z.transpose(1, 2),
            torch.from_numpy(energies.bands).to(z).transpose(1, 2),
            (latents != ABSENT).sum(2),
            torch.from_numpy(energies.n_codes).to(device),
        )

    # ---- the constant coding ------------------------------------------------------------------

    def encode_constant(
        self, z: Tensor, bands: Tensor, n_codebooks: int, beam: int = DEFAULT_BEAM
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

    def decode_constant(self, constant: ConstantCodes) -> Coded:
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
