"""Tables of an entropy coder: a small network in whole numbers that predicts codes.

``docs/bitstream.md`` specifies every step. There is no float here: the tables are frozen integers,
so that the frequencies are the same on any machine and for ever.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BitstreamError, WeightsError
from .constants import HASH_SIZE
from .header import StreamInfo
from .rangecoder import TOTAL

__all__ = ["TABLES_FILE", "EntropyTables", "add_tables", "load_tables", "tables_of"]

TABLES_FILE = "entropy.safetensors"
MAX_BYTES = 1 << 26
MAX_SIZE = 256  # of features, hidden units and levels: all sums then fit in 32 bits
Ints = npt.NDArray[Any]

_SHAPES = {  # K stages, S codes in P parts of M, D features, H hidden units, L levels, Z sizes
    "rank": ("uint16", "KS"),
    "features": ("int16", "KSD"),
    "sizes": ("uint8", "KS"),
    "levels": ("int32", "L"),
    "powers": ("int32", "E"),
    "w_before": ("int8", "KDH"),
    "w_now": ("int8", "KDH"),
    "level_before": ("int16", "KLH"),
    "level_now": ("int16", "KLH"),
    "size_before": ("int16", "KZH"),
    "size_above": ("int16", "KZH"),
    "w_part": ("int8", "KHP"),
    "b_part": ("int16", "KP"),
    "w_member": ("int8", "KPHM"),
    "b_member": ("int16", "KPM"),
}


@dataclass(frozen=True, eq=False)
class EntropyTables:
    """Frozen integers that give the frequencies of codes; shapes as in ``docs/bitstream.md``.

    Errors: :class:`WeightsError` for tables that do not fit together.
    """

    rank: Ints
    features: Ints
    sizes: Ints
    levels: Ints
    powers: Ints
    w_before: Ints
    w_now: Ints
    level_before: Ints
    level_now: Ints
    size_before: Ints
    size_above: Ints
    w_part: Ints
    b_part: Ints
    w_member: Ints
    b_member: Ints

    def __post_init__(self) -> None:
        known: dict[str, int] = {}
        for name, (dtype, shape) in _SHAPES.items():
            array = getattr(self, name)
            if array.dtype != np.dtype(dtype) or array.ndim != len(shape):
                raise WeightsError(f"entropy tables: {name} must be {dtype} with {len(shape)} axes")
            for letter, size in zip(shape, array.shape, strict=True):
                if known.setdefault(letter, size) != size or size == 0:
                    raise WeightsError(f"entropy tables: {name} has the shape {array.shape}")
        codes = known["S"]
        bits = codes.bit_length() - 1
        whole = 8 <= bits <= 16 and codes == 1 << bits and known["M"] == 1 << (bits // 2)
        if not whole or known["P"] * known["M"] != codes or known["K"] > 255:
            raise WeightsError(f"entropy tables: {known} are impossible sizes")
        if (
            max(known[letter] for letter in "DHLZ") > MAX_SIZE
            or int(self.sizes.max()) >= known["Z"]
        ):
            raise WeightsError(f"entropy tables: {known} are impossible sizes")
        if not (np.sort(self.rank, 1) == np.arange(codes)).all():
            raise WeightsError("entropy tables: rank must have every place once")
        if self.powers[0] < 1 or self.powers.min() < 0 or self.powers.max() > TOTAL:
            raise WeightsError("entropy tables: powers must be 0 to 65536, the first not 0")
        if (np.diff(self.levels) <= 0).any():
            raise WeightsError("entropy tables: levels must rise")

    @property
    def n_codebooks(self) -> int:
        """Stages at most."""
        return self.rank.shape[0]

    @property
    def codebook_bits(self) -> int:
        return self.rank.shape[1].bit_length() - 1

    @property
    def member_bits(self) -> int:
        """Bits of a code's place within its part."""
        return self.codebook_bits // 2

    @functools.cached_property
    def code(self) -> Ints:
        """Code of every rank, [K, S]."""
        return np.argsort(self.rank, 1)

    def to_bytes(self) -> bytes:
        """As the bytes of a safetensors file; equal tables give equal bytes."""
        from safetensors.numpy import save

        return save({f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self)})

    @classmethod
    def from_bytes(cls, data: bytes) -> EntropyTables:
        """Tables of a safetensors file. Errors: :class:`WeightsError`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(data)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"entropy tables are damaged: {error}") from error
        if set(arrays) != set(_SHAPES):
            raise WeightsError(f"entropy tables: tensors must be {', '.join(_SHAPES)}")
        return cls(**arrays)

    @functools.cached_property
    def hash(self) -> bytes:
        """Identity of these tables: first 8 bytes of the SHA-256 of all their numbers."""
        digest = hashlib.sha256()  # not of the file, whose layout is that of a library
        for name in _SHAPES:
            array = getattr(self, name)
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.digest()[:HASH_SIZE]

    def past(self, before: Ints) -> Ints:
        """What the sums [N, D] of the features of the frames before give the hidden units of all
        stages, [K, N, H]; zeros where there is none."""
        direction, level = self._state(before)
        return direction @ self._w_before + self.level_before[:, level]

    def hidden(self, k: int, past: Ints, now: Ints, size_before: Ints, size_above: Ints) -> Ints:
        """Hidden units [N, H], 0 to 127, for stage ``k``.

        ``past``: of :meth:`past`, [N, H]. ``now``: sums [N, D] of the features of the stages above
        in this frame. ``size_before``, ``size_above`` [N]: size class of the code of this stage in
        the frame before, and of the stage above; 0 where there is none.
        """
        direction, level = self._state(now)
        total = past + direction @ self._w_now[k] + self.level_now[k, level]
        total += self.size_before[k, size_before]
        total += self.size_above[k, size_above]
        return np.clip(total >> 8, 0, 127)

    def _state(self, sums: Ints) -> tuple[Ints, Ints]:
        """Direction [N, D], -127 to 127, and level class [N] of sums of features."""
        level = np.abs(sums).sum(1)
        direction = np.clip(sums * 512 // (level[:, None] + 16), -127, 127)
        return direction.astype(np.int32), np.searchsorted(self.levels[:-1], level, "right")

    def parts(self, k: int, hidden: Ints) -> Ints:
        """Where the frequencies of the parts start, [N, P + 1]."""
        return self._starts(hidden @ self._w_part[k] + self.b_part[k])

    def members(self, k: int, hidden: Ints, part: Ints) -> Ints:
        """Where the frequencies of the members of a part [N] start, [N, M + 1]."""
        scores = (hidden[:, None] @ self._w_member[k][part])[:, 0]
        return self._starts(scores + self.b_member[k, part])

    def _starts(self, scores: Ints) -> Ints:
        """Scores [N, n], 512 to a factor of two, as rising starts [N, n + 1] from 0 to 2^16."""
        n = scores.shape[1]
        best = scores.argmax(1)
        rows = np.arange(len(scores))
        below = (scores[rows, best][:, None] - scores) >> 4
        power = self.powers[np.minimum(below, self.powers.size - 1)].astype(np.int64)
        counts = 1 + power * (TOTAL - n) // power.sum(1, keepdims=True)
        counts[rows, best] += TOTAL - counts.sum(1)
        starts = np.zeros((len(scores), n + 1), np.int64)
        np.cumsum(counts, 1, out=starts[:, 1:])
        return starts

    # In 32 bits once, as products of int8 would overflow.
    @functools.cached_property
    def _w_before(self) -> Ints:
        return self.w_before.astype(np.int32)

    @functools.cached_property
    def _w_now(self) -> Ints:
        return self.w_now.astype(np.int32)

    @functools.cached_property
    def _w_part(self) -> Ints:
        return self.w_part.astype(np.int32)

    @functools.cached_property
    def _w_member(self) -> Ints:
        return self.w_member.astype(np.int32)


_known: dict[bytes, EntropyTables] = {}  # by their hash, so that what is here changes no result
_BUNDLED = Path(__file__).parents[1] / "weights"


def add_tables(tables: EntropyTables) -> None:
    """Let files be read and written that name these tables."""
    _known[tables.hash] = tables


def load_tables(directory: str | Path) -> EntropyTables | None:
    """The tables of a directory of weights, known from now on; ``None`` if it has none.

    Errors: :class:`WeightsError`.
    """
    path = Path(directory) / TABLES_FILE
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{path}: too large for entropy tables")
        tables = EntropyTables.from_bytes(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    add_tables(tables)
    return tables


def tables_of(info: StreamInfo) -> EntropyTables | None:
    """The tables that a file's header names: those that are known, and the bundled weights'.

    ``None`` for a file of fixed width. Errors: :class:`BitstreamError` that says whose weights have
    the tables, or that they do not fit the header.
    """
    name = info.entropy_tables
    if name is None:
        return None
    if name not in _known:
        for path in sorted(_BUNDLED.glob(f"*/{TABLES_FILE}")):
            load_tables(path.parent)
    if name not in _known:
        raise BitstreamError(
            f"entropy coded with the tables {name.hex()} of the weights {info.model_id!r}, which"
            " are not here: give these weights (--weights DIR, load_tables in Python)"
        )
    tables = _known[name]
    if info.codebook_bits != tables.codebook_bits or info.n_codebooks > tables.n_codebooks:
        raise BitstreamError(
            f"{info.n_codebooks} stages of {info.codebook_bits} bits do not fit the entropy tables:"
            f" up to {tables.n_codebooks} of {tables.codebook_bits}"
        )
    return tables
