"""Latents and band energies of a packet to its payload, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eulerodec.bitstream.code_tables import ABSENT, CodeTables
from eulerodec.bitstream.payload import CodesEndError, PacketCodes, PayloadCoder
from eulerodec.quantize import DEFAULT_BEAM, search_tables

from .allocation import SPARE, Allocation, Depths
from .energies import BlockEnergies
from .ragged import ragged_decode, ragged_search

__all__ = ["Decoded", "PacketCoder"]


@dataclass
class Decoded:
    """What a decoder network gets of a packet.

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
    """Codes packets with one model's tables and codebooks.

    Args:
        tables: integers that order and code the symbols.
        codebooks: of latents of unit power ``[K, size, D]``.
        energy_weight: what an error counts in each band ``[N]``.
    """

    def __init__(
        self, tables: CodeTables, codebooks: Tensor, energy_weight: np.ndarray | None = None
    ) -> None:
        self.tables, self.codebooks = tables, codebooks
        self.payload = PayloadCoder(tables)
        self._energies = BlockEnergies(tables, energy_weight)
        self._allocation = Allocation(tables)
        self._search_tables = search_tables(codebooks)

    def encode(self, z: Tensor, bands: Tensor, n_bytes: int, beam: int = DEFAULT_BEAM) -> bytes:
        """A payload of at most ``n_bytes``.

        Args:
            z: latents ``[C, D, T]``.
            bands: log10 energies ``[C, N, T]``.
            n_bytes: most bytes.
            beam: paths of the search.
        """
        return self._search(z, bands, n_bytes, beam)[1]

    def codes(
        self, z: Tensor, bands: Tensor, n_bytes: int, beam: int = DEFAULT_BEAM
    ) -> PacketCodes:
        """The codes that ``n_bytes`` hold, and a few more; see :meth:`encode`."""
        return self._search(z, bands, n_bytes, beam)[0]

    def _search(
        self, z: Tensor, bands: Tensor, n_bytes: int, beam: int
    ) -> tuple[PacketCodes, bytes]:
        n_channels, _, n_frames = z.shape
        codes = PacketCodes.empty(self.tables, n_channels, n_frames)
        rest = self._energies.search(bands.transpose(1, 2).cpu().numpy(), codes)
        layout = self.payload.layout(codes)
        gain = self._energies.gain(codes, layout)
        unit = z.transpose(1, 2) / torch.from_numpy(np.maximum(gain, 1e-12)).to(z)[..., None]
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

    def _fill(
        self, codes: PacketCodes, unit: Tensor, rest: np.ndarray, depths: Depths, beam: int
    ) -> None:
        depth = torch.from_numpy(depths.latents).to(unit.device).flatten()
        found = ragged_search(unit.flatten(0, 1), self.codebooks, depth, beam, self._search_tables)
        found = found.view(*unit.shape[:2], -1).transpose(1, 2)
        codes.latents[:] = found.cpu().numpy()
        self._energies.refine(rest, codes, depths.energies)

    def decode(self, payload: bytes, n_channels: int, n_frames: int) -> Decoded:
        """What the decoder network needs of a payload."""
        return self.look_up(self.payload.decode(payload, n_channels, n_frames))

    def look_up(self, codes: PacketCodes) -> Decoded:
        """What codes stand for."""
        layout = self.payload.layout(codes)
        energies = self._energies.decode(codes, layout)
        device = self.codebooks.device
        latents = torch.from_numpy(codes.latents).to(device).transpose(1, 2)  # [C, T, K]
        z = ragged_decode(latents.flatten(0, 1), self.codebooks).view(*latents.shape[:2], -1)
        z = z * torch.from_numpy(energies.gain).to(z)[..., None]
        return Decoded(
            z.transpose(1, 2),
            torch.from_numpy(energies.bands).to(z).transpose(1, 2),
            (latents != ABSENT).sum(2),
            torch.from_numpy(energies.n_codes).to(device),
        )
