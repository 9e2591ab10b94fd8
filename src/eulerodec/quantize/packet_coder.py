"""Latents and band energies of a packet to its payload, and back, on tensors."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bitstream import ConstantCodes
from ..bitstream.payload import PacketCodes
from .code_book import CodeBook
from .coding import DEFAULT_BEAM, Coding, Floats, Ints, Known
from .search import SearchTables, beam_search, look_up, search_tables

__all__ = ["Coded", "PacketCoder"]


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
    """Codes packets with one model's code book, as planes or with a constant number of codes.

    :class:`~eulerodec.quantize.coding.Coding` on tensors, whose codebooks may be on any device.
    """

    def __init__(self, book: CodeBook) -> None:
        self._coding = _TorchCoding(book)
        self.tables, self.payload = book.tables, self._coding.payload

    def __deepcopy__(self, memo: object) -> PacketCoder:
        """This one: nothing in it is trained, and it is large."""
        return self

    @property
    def codebooks(self) -> Tensor:
        """Of latents ``[K, S, D]``, on the device of the search."""
        return self._coding.codebooks

    @property
    def max_codebooks(self) -> int:
        """Most rows of the constant coding."""
        return self._coding.max_codebooks

    def constant_rows(self, n_codebooks: int) -> tuple[list[int], list[int]]:
        """Of the constant coding with K codebooks: its rows of energies, and those of latents."""
        return self._coding.constant_rows(n_codebooks)

    def to(self, device: torch.device) -> PacketCoder:
        """Moves the codebooks; returns this coder."""
        self._coding.to(device)
        return self

    def encode(self, z: Tensor, bands: Tensor, n_bytes: int, beam: int = DEFAULT_BEAM) -> bytes:
        """A payload of at most ``n_bytes``; arguments as for :meth:`search`."""
        return self.search(z, bands, n_bytes, beam)[1]

    def search(
        self, z: Tensor, bands: Tensor, n_bytes: int, beam: int = DEFAULT_BEAM
    ) -> tuple[PacketCodes, bytes]:
        """The codes that ``n_bytes`` hold, with a few more, and the payload.

        Args:
            z: latents ``[C, D, T]``.
            bands: log10 energies ``[C, N, T]``.
            n_bytes: most bytes of the payload.
            beam: paths of the search.
        """
        return self._coding.search(_array(z), _array(bands), n_bytes, beam)

    def decode(self, payload: bytes, n_channels: int, n_frames: int) -> Coded:
        """What the decoder network needs of a payload."""
        return self._coded(self._coding.decode(payload, n_channels, n_frames))

    def look_up(self, codes: PacketCodes) -> Coded:
        """What codes stand for."""
        return self._coded(self._coding.look_up(codes))

    def encode_constant(
        self, z: Tensor, bands: Tensor, n_codebooks: int, beam: int = DEFAULT_BEAM
    ) -> ConstantCodes:
        """The same number of codes for every frame, see ``Coding.encode_constant``."""
        return self._coding.encode_constant(_array(z), _array(bands), n_codebooks, beam)

    def decode_constant(self, constant: ConstantCodes) -> Coded:
        """What codes ``[C, K, T]`` of one packet and their levels stand for."""
        return self._coded(self._coding.decode_constant(constant))

    def _coded(self, known: Known) -> Coded:
        arrays = known.z, known.bands, known.n_stages, known.n_energies
        return Coded(*(torch.from_numpy(x).to(self.codebooks.device) for x in arrays))


class _TorchCoding(Coding):
    def __init__(self, book: CodeBook) -> None:
        super().__init__(book.tables, book.energy_weight, _multiply)
        self.codebooks = book.codebooks

    def to(self, device: torch.device) -> None:
        self.codebooks = self.codebooks.to(device)
        vars(self).pop("_search_tables", None)

    @functools.cached_property
    def _search_tables(self) -> SearchTables:
        """Made when an encoder needs them."""
        return search_tables(self.codebooks)

    def _found(self, x: Floats, depth: Ints, beam: int) -> Ints:
        device, tables = self.codebooks.device, self._search_tables
        vectors, depths = torch.from_numpy(x).to(device), torch.from_numpy(depth).to(device)
        return beam_search(vectors, self.codebooks, beam, tables, depths).cpu().numpy()

    def _vectors(self, codes: Ints) -> Floats:
        return (
            look_up(torch.from_numpy(codes).to(self.codebooks.device), self.codebooks).cpu().numpy()
        )


def _array(x: Tensor) -> Floats:
    return x.detach().cpu().numpy()


def _multiply(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """torch multiplies with the threads it was told to take, numpy with all there are."""
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()
