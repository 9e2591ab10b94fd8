"""What the bits of a file mean: the integer tables and the codebooks, hashed together.

Nothing here depends on the decoder network, which may be trained on: files stay what they are.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bitstream.code_tables import CodeTables
from ..errors import WeightsError
from .code_file import codes_sha256, read_codes

__all__ = ["CodeBook"]


@dataclass(frozen=True, eq=False)
class CodeBook:
    """Tables and codebooks of one model.

    Attributes:
        tables: integers that order and code the symbols.
        codebooks: of latents of unit power, float16 ``[K, S, D]``; others are rounded to it.
        energy_weight: what an error of energies counts in each band, float32 ``[N]``; only the
            encoder uses it.

    Raises:
        WeightsError: shapes that do not fit together, numbers that are not finite.
    """

    tables: CodeTables
    codebooks: Tensor
    energy_weight: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "codebooks", self.codebooks.half())
        shape, tables = tuple(self.codebooks.shape), self.tables
        if len(shape) != 3 or shape[:2] != (tables.n_latents, 1 << tables.codebook_bits):
            raise WeightsError(f"codes: codebooks of shape {list(shape)} do not fit the tables")
        if self.energy_weight.shape != (tables.n_bands,):
            raise WeightsError(f"codes: energy_weight must have {tables.n_bands} numbers")
        # stage by stage: what is made on the way is small
        finite = all(bool(book.isfinite().all()) for book in self.codebooks)
        if not finite or not np.isfinite(self.energy_weight).all():
            raise WeightsError("codes: NaN or infinite numbers")

    def __deepcopy__(self, memo: object) -> CodeBook:
        """This one: it is frozen, and large."""
        return self

    @property
    def n_codebooks(self) -> int:
        """Most stages of latents."""
        return self.tables.n_latents

    @property
    def n_energies(self) -> int:
        """Most energy codes of a block."""
        return self.tables.n_energies

    @functools.cached_property
    def sha256(self) -> str:
        """64 hex digits, of all numbers."""
        return codes_sha256(self.tables, self.codebooks.numpy())

    @property
    def hash(self) -> bytes:
        """Identity that files carry: the first 8 bytes of :attr:`sha256`."""
        return bytes.fromhex(self.sha256)[:8]

    def to_bytes(self) -> bytes:
        """As a safetensors file; equal numbers give equal bytes."""
        from safetensors.numpy import save

        arrays = dict(self.tables.arrays())
        arrays["codebooks"] = self.codebooks.numpy()
        arrays["energy_weight"] = self.energy_weight.astype(np.float32)
        return save(arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> CodeBook:
        """Codes of a safetensors file.

        Raises:
            WeightsError: damaged, or no such codes.
        """
        tables, books, weight = read_codes(data)
        return cls(tables, torch.from_numpy(books.copy()), weight)
