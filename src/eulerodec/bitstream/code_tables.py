"""Frozen integers from which a packet's symbols, their order and their frequencies follow.

``docs/bitstream.md`` specifies every step. There is no float here: two machines, or
two versions of a library, cannot differ. Levels and energies are whole numbers of 1/16 dB.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import WeightsError

__all__ = ["ABSENT", "LEVEL_STEP", "LEVEL_ZERO", "QUIET", "TOTAL", "CodeTables"]

ABSENT = -1  # stands for a code that is not there
TOTAL = 1 << 16  # what the frequencies of a table sum to
LEVEL_STEP = 12  # of a channel's level in a packet: 0.75 dB
LEVEL_ZERO = 160  # the level of a full-scale square wave; 0 is digital silence
LOWEST, HIGHEST = -1920, 960  # of decoded energies against the level: -120 and 60 dB
QUIET = -960  # nothing counts as softer than this, against the packet's level: 60 dB
FEATURE_LIMIT = 80
MAX_BYTES = 1 << 26
HASH_SIZE = 8
Ints = NDArray[Any]

# N bands, F frames of a block, V = F * N; S codes; Q energy stages, R of them after the base
_SHAPES = {
    "energy_mean": ("int16", "V"),
    "energy_matrix": ("int32", "UV"),  # U = V + 1, the last row is a constant; 1/4096
    "energy_books": ("int16", "QSV"),
    "energy_class": ("uint8", "S"),  # of the first code of a block
    "energy_counts": ("uint16", "QES"),  # E classes, the first for a packet's first block
    "band_width": ("int32", "N"),
    "loudness_power": ("int32", "L"),
    "loudness_steps": ("int64", "M"),
    "delay_slope": ("int32", "1"),
    "latent_plane": ("uint8", "KD"),  # K stages of latents, D delays
    "energy_plane": ("uint8", "RD"),
    "class_centres": ("int16", "CW"),  # C classes of frames, W = 3 * N
    "latent_counts": ("uint16", "KCS"),
}


@dataclass(frozen=True, eq=False)
class CodeTables:
    """Everything that reading and writing payloads needs to know of the model.

    Attributes:
        energy_mean: energies before a packet's first block ``[V]``.
        energy_matrix: what a block's energies ``[V]``, and a constant, lead to expect of the next.
        energy_books: vectors of energy codes ``[Q, S, V]``; the first Q - R stages are the base.
        energy_class: class of a block by its first code ``[S]``, from 1; 0 is no block.
        energy_counts: frequencies less one of energy codes, by the class before.
        band_width: weights of the bands in the loudness of a frame.
        loudness_power: 10^(-0.075 i / 16), times 2^20.
        loudness_steps: sums from which on the loudness is a step higher.
        delay_slope: planes that a frame waits for each 1/16 dB that it is softer, times 4096.
        latent_plane: plane of stage k of a frame with delay d ``[K, D]``.
        energy_plane: plane of the energy stages after the base ``[R, D]``.
        class_centres: of the classes of frames, from energies around them ``[C, W]``.
        latent_counts: frequencies less one of latent codes ``[K, C, S]``.

    Raises:
        WeightsError: tables that do not fit together.
    """

    energy_mean: Ints
    energy_matrix: Ints
    energy_books: Ints
    energy_class: Ints
    energy_counts: Ints
    band_width: Ints
    loudness_power: Ints
    loudness_steps: Ints
    delay_slope: Ints
    latent_plane: Ints
    energy_plane: Ints
    class_centres: Ints
    latent_counts: Ints

    def __post_init__(self) -> None:
        known: dict[str, int] = {"1": 1}
        for name, (dtype, shape) in _SHAPES.items():
            array = getattr(self, name)
            if array.dtype != np.dtype(dtype) or array.ndim != len(shape):
                raise WeightsError(f"code tables: {name} must be {dtype} with {len(shape)} axes")
            for letter, size in zip(shape, array.shape, strict=True):
                if known.setdefault(letter, size) != size or size == 0:
                    raise WeightsError(f"code tables: {name} has the shape {array.shape}")
        n, v = known["N"], known["V"]
        sizes = known["U"] == v + 1 and known["W"] == 3 * n and known["R"] < known["Q"]
        if v % n or not sizes:
            raise WeightsError(f"code tables: {known} are impossible sizes")
        if known["S"] != 1 << self.codebook_bits or not 8 <= self.codebook_bits <= 16:
            raise WeightsError(f"code tables: {known['S']} codes, not a power of two from 256 on")
        if int(self.energy_class.min()) < 1 or int(self.energy_class.max()) >= known["E"]:
            raise WeightsError("code tables: energy_class is out of range")
        for counts in (self.energy_counts, self.latent_counts):
            if (counts.astype(np.int64).sum(-1) + counts.shape[-1] != TOTAL).any():
                raise WeightsError(f"code tables: frequencies must sum to {TOTAL}")
        for planes in (self.latent_plane, self.energy_plane):
            if (np.diff(planes.astype(int), axis=0) < 0).any():
                raise WeightsError("code tables: a stage must not come before the one it builds on")
        if (np.diff(self.loudness_steps) < 0).any():
            raise WeightsError("code tables: loudness_steps must rise")

    @property
    def codebook_bits(self) -> int:
        return self.energy_class.size.bit_length() - 1

    @property
    def n_bands(self) -> int:
        return self.band_width.size

    @property
    def block_frames(self) -> int:
        """Frames whose energies are coded together."""
        return self.energy_mean.size // self.band_width.size

    @property
    def n_base(self) -> int:
        """Energy stages that come before all else in a packet."""
        return self.n_energies - self.energy_plane.shape[0]

    @property
    def n_energies(self) -> int:
        return self.energy_counts.shape[0]

    @property
    def n_latents(self) -> int:
        return self.latent_counts.shape[0]

    def arrays(self) -> dict[str, Ints]:
        """All numbers by name, as :meth:`from_arrays` takes them."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in _SHAPES}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Ints]) -> CodeTables:
        """Tables from their numbers by name.

        Raises:
            WeightsError: not such tables.
        """
        if set(arrays) != set(_SHAPES):
            raise WeightsError(f"code tables: tensors must be {', '.join(_SHAPES)}")
        return cls(**arrays)

    def digest(self) -> bytes:
        """All numbers, little-endian, one after the other: what a hash is made of."""
        parts = (getattr(self, name) for name in _SHAPES)
        return b"".join(x.astype(x.dtype.newbyteorder("<")).tobytes() for x in parts)

    # ---- energies of the base ------------------------------------------------------------------

    def expected(self, before: Ints | None) -> Ints:
        """Energies ``[..., V]`` to expect of a block after one of energies ``before``."""
        if before is None:
            before = self.energy_mean.astype(np.int64)
        product = before.astype(np.int64) @ self._matrix[:-1] + self._matrix[-1]
        return (product + 2048) >> 12

    def decode_block(self, before: Ints | None, codes: Ints) -> Ints:
        """Base energies ``[C, V]`` of a block with base codes ``[C, stages]``; -1 adds nothing."""
        return _limited(self.expected(before) + self._added(codes))

    def decode_blocks(self, codes: Ints) -> Ints:
        """Base energies ``[C, blocks, V]`` of a packet with base codes ``[C, stages, blocks]``."""
        blocks, before = self._added(codes.transpose(0, 2, 1)), None
        for b in range(blocks.shape[1]):
            blocks[:, b] = before = _limited(self.expected(before) + blocks[:, b])
        return blocks

    def _added(self, codes: Ints) -> Ints:
        """Sum of the vectors of base codes ``[..., stages]``."""
        total = np.zeros((*codes.shape[:-1], self.energy_mean.size), np.int64)
        for stage, book in zip(range(codes.shape[-1]), self.energy_books, strict=False):
            code = codes[..., stage, None]
            total += np.where(code >= 0, book[np.maximum(code[..., 0], 0)], 0)
        return total

    @functools.cached_property
    def _matrix(self) -> Ints:
        return self.energy_matrix.astype(np.int64)

    # ---- frames -------------------------------------------------------------------------------

    def loudness(self, bands: Ints) -> Ints:
        """Loudness of frames with energies ``[..., N]``, as that of white noise of equal power.

        The power is that of the compressed spectrum: sum over bands of width * 10^(0.75 e / 10).
        """
        top = bands.max(-1)
        below = np.minimum(top[..., None] - bands, self.loudness_power.size - 1)
        total = (self.loudness_power.astype(np.int64)[below] * self.band_width).sum(-1)
        steps = np.searchsorted(self.loudness_steps, total, "right")
        return top - (self.loudness_steps.size - steps)

    def delays(self, loudness: Ints) -> Ints:
        """Planes by which frames wait, 0 to D - 1."""
        waiting = (-np.maximum(loudness, QUIET) * int(self.delay_slope[0])) >> 12
        return np.clip(waiting, 0, self.latent_plane.shape[1] - 1)

    def features(self, bands: Ints, loudness: Ints) -> Ints:
        """What classes go by ``[T, 3 N]``: energies ``[T, N]`` of the frames before, at and after,
        against the loudness ``[T]``, in 1/2 dB."""
        relative = np.clip((bands - loudness[:, None]) >> 3, -FEATURE_LIMIT, FEATURE_LIMIT)
        wide = np.concatenate([relative[:1], relative, relative[-1:]])
        return np.concatenate([wide[:-2], wide[1:-1], wide[2:]], 1).astype(np.int64)

    def classes(self, bands: Ints, loudness: Ints) -> Ints:
        """Class of each frame ``[T]``: the first nearest centre."""
        scores = 2 * self.features(bands, loudness).astype(np.float64) @ self._centres.T
        return (scores - self._norms).argmax(1)

    @functools.cached_property
    def _centres(self) -> NDArray[np.float64]:
        """Sums of products are whole numbers below 2^53, exact in any order, and so much faster."""
        return self.class_centres.astype(np.float64)

    @functools.cached_property
    def _norms(self) -> NDArray[np.float64]:
        return np.square(self._centres).sum(1)


def _limited(energies: Ints) -> Ints:
    return np.minimum(np.maximum(energies, LOWEST), HIGHEST)
