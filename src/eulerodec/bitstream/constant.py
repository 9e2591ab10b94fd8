"""The constant coding: the same number of codebooks for every frame, codes of a fixed width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BitstreamError
from .header import StreamInfo

__all__ = ["ConstantCoder", "ConstantCodes", "pack_codes", "packed_size", "unpack_codes"]

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ConstantCodes:
    """What a packet of the constant coding holds.

    Args:
        levels: int64 [C], 0 to 255: the level of each channel, see the model.
        codes: int64 [C, K, T]: one code of each codebook for each frame.
    """

    levels: Codes
    codes: Codes


class ConstantCoder:
    """Codes of a packet to its payload and back, for files whose header has ``n_codebooks``.

    Args:
        info: the header.
        n_codebooks: decode only so many codebooks, the first ones.

    Raises:
        BitstreamError: the file is not of this coding, or has fewer codebooks.
    """

    def __init__(self, info: StreamInfo, n_codebooks: int | None = None) -> None:
        if info.n_codebooks is None or info.codebook_bits is None:
            raise BitstreamError("the file holds planes, not a constant number of codebooks")
        if n_codebooks is not None and not 1 <= n_codebooks <= info.n_codebooks:
            raise BitstreamError(
                f"the file has {info.n_codebooks} codebooks, {n_codebooks} cannot be read"
            )
        self._info = info
        self._bits = info.codebook_bits
        self.n_codebooks = n_codebooks or info.n_codebooks

    def encode(self, codes: ConstantCodes) -> bytes:
        """The payload of the codes of one packet.

        Raises:
            BitstreamError: shapes or values do not fit.
        """
        levels, array = np.asarray(codes.levels), np.asarray(codes.codes)
        want = (self._info.n_channels, self._info.n_codebooks)
        if array.ndim != 3 or array.shape[:2] != want:
            raise BitstreamError(
                f"codes must have shape [{want[0]}, {want[1]}, T], not {list(array.shape)}"
            )
        fit = levels.dtype.kind in "iu" and bool(((levels >= 0) & (levels <= 0xFF)).all())
        if levels.shape != want[:1] or not fit:
            raise BitstreamError(
                f"levels must be {want[0]} whole numbers 0 to 255: {levels.tolist()}"
            )
        # Codebook before channel before frame: the first k codebooks are a prefix of the payload.
        packed = pack_codes(array.transpose(1, 0, 2), self._bits)
        return levels.astype(np.uint8).tobytes() + packed

    def decode(self, payload: bytes, n_frames: int) -> ConstantCodes:
        """The codes of a payload.

        Raises:
            BitstreamError: the payload is too short for ``n_frames`` frames.
        """
        n_channels = self._info.n_channels
        shape = (self.n_codebooks, n_channels, n_frames)
        flat = unpack_codes(payload[n_channels:], shape[0] * shape[1] * shape[2], self._bits)
        return ConstantCodes(
            np.frombuffer(payload, np.uint8, count=n_channels).astype(np.int64),
            np.ascontiguousarray(flat.reshape(shape).transpose(1, 0, 2)),
        )

    def cut(self, payload: bytes, n_frames: int) -> bytes:
        """The payload with its first ``n_codebooks`` codebooks only, without unpacking it."""
        n_bits = self.n_codebooks * self._info.n_channels * n_frames * self._bits
        size = self._info.n_channels + (n_bits + 7) // 8
        short = bytearray(payload[:size])
        if n_bits % 8:
            short[-1] &= 0xFF << 8 - n_bits % 8 & 0xFF
        return bytes(short)


def packed_size(count: int, bits: int) -> int:
    """Bytes that ``count`` codes of ``bits`` bits take, the last one padded with zero bits."""
    return (count * bits + 7) // 8


def pack_codes(codes: npt.NDArray[Any], bits: int) -> bytes:
    """Pack integers in C order, each as ``bits`` bits, first bit in the top bit of the first byte.

    Args:
        codes: any shape, integer type.
        bits: of one code.

    Raises:
        BitstreamError: a code is negative or needs more bits, or codes are not integers.
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

    Raises:
        BitstreamError: ``data`` holds fewer.
    """
    size = packed_size(count, bits)
    if len(data) < size:
        raise BitstreamError(f"{count} codes of {bits} bits need {size} bytes, not {len(data)}")
    table = np.unpackbits(np.frombuffer(data, np.uint8, count=size), count=count * bits)
    weights = 1 << np.arange(bits - 1, -1, -1, dtype=np.int64)
    return table.reshape(count, bits).astype(np.int64) @ weights
