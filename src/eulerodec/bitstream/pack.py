"""Codes to bits and back: fixed width, most significant bit first, no gap between codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BitstreamError

__all__ = ["pack_codes", "packed_size", "unpack_codes"]

Codes = npt.NDArray[np.int64]


def packed_size(count: int, bits: int) -> int:
    """Bytes that ``count`` codes of ``bits`` bits take, the last one padded with zero bits."""
    return (count * bits + 7) // 8


def pack_codes(codes: npt.NDArray[Any], bits: int) -> bytes:
    """Pack integers in C order, each as ``bits`` bits, first bit in the top bit of the first byte.

    ``codes``: any shape, integer type. Errors: :class:`BitstreamError` for a code that is negative
    or needs more than ``bits`` bits, and for codes that are not integers.
    """
    if codes.dtype.kind not in "iu":
        raise BitstreamError(f"codes must be integers, not {codes.dtype}")
    flat = codes.reshape(-1)
    if flat.size == 0:
        return b""
    low, high = int(flat.min()), int(flat.max())
    if low < 0 or high >= 1 << bits:
        bad = low if low < 0 else high
        raise BitstreamError(f"code {bad} does not fit in {bits} bits (0 to {(1 << bits) - 1})")
    shifts = np.arange(bits - 1, -1, -1, dtype=np.int64)
    table = (flat.astype(np.int64)[:, None] >> shifts) & 1  # [count, bits]
    return np.packbits(table.astype(np.uint8)).tobytes()


def unpack_codes(data: bytes, count: int, bits: int) -> Codes:
    """The first ``count`` codes of ``bits`` bits, int64 [count].

    Errors: :class:`BitstreamError` if ``data`` holds fewer.
    """
    size = packed_size(count, bits)
    if len(data) < size:
        raise BitstreamError(f"{count} codes of {bits} bits need {size} bytes, not {len(data)}")
    table = np.unpackbits(np.frombuffer(data, np.uint8, count=size), count=count * bits)
    weights = 1 << np.arange(bits - 1, -1, -1, dtype=np.int64)
    return table.reshape(count, bits).astype(np.int64) @ weights
