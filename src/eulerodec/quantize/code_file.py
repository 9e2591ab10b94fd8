"""The file of what codes stand for, as arrays."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ..bitstream.code_tables import CodeTables
from ..errors import WeightsError

__all__ = ["codes_sha256", "read_codes"]

_OWN = ("codebooks", "energy_weight")

Codes = tuple[CodeTables, NDArray[np.float16], NDArray[np.float32]]


def read_codes(data: bytes) -> Codes:
    """Tables, codebooks of latents and weights of energies of a safetensors file.

    Raises:
        WeightsError: damaged, or no such codes.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"codes are damaged: {error}") from error
    if missing := [name for name in _OWN if name not in arrays]:
        raise WeightsError(f"codes: {missing[0]} is missing")
    books, weight = (arrays.pop(name) for name in _OWN)
    if books.dtype != np.float16 or weight.dtype != np.float32:
        raise WeightsError("codes: codebooks must be float16, energy_weight float32")
    return CodeTables.from_arrays(arrays), books, weight


def codes_sha256(tables: CodeTables, codebooks: NDArray[np.float16]) -> str:
    """64 hex digits: of all numbers, little-endian, the tables' first."""
    digest = hashlib.sha256(tables.digest())
    for book in codebooks:
        digest.update(book.astype("<f2").tobytes())
    return digest.hexdigest()
