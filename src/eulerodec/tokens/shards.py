"""Shards: Parquet files of codes, a row for each clip or channel.

Codes are int16, all of codebook 0, then all of codebook 1: ``reshape(n_codebooks, n_frames)``. In
the file they are indices into a dictionary, which take as many bits as a code has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import BitstreamError
from ..files import PathLike, atomic_output
from .columns import pyarrow

__all__ = ["FORMAT", "CodecFacts", "Row", "read_facts", "read_rows", "write_shard"]

FORMAT = 1
_FACTS = b"eulerodec"  # key of the facts in the metadata of a file
_ROWS = 64  # that are read at a time


@dataclass(frozen=True, kw_only=True)
class CodecFacts:
    """What the codes of a shard were made with.

    Attributes:
        name, weights_sha256, codes_sha256: of the weights; codes mean the same with all weights of
            the same ``codes_sha256``.
        sample_rate, hop_length: of the model: a frame is ``hop_length / sample_rate`` seconds.
        n_codebooks, codebook_size: K codes of a frame, each below S.
        frames_per_packet: frames that share a level.
        channels: ``mix``: the mean of all channels is coded; ``each``: a row for each.
        beam: paths of the code search.
    """

    name: str
    weights_sha256: str
    codes_sha256: str
    sample_rate: int
    hop_length: int
    n_codebooks: int
    codebook_size: int
    frames_per_packet: int
    channels: str
    beam: int


@dataclass(frozen=True, eq=False)
class Row:
    """The codes of one channel of one clip.

    Attributes:
        key, source: of the clip.
        channel: of the clip; 0 where channels are mixed.
        sample_rate, n_samples: of the clip.
        codes: int16 ``[K, T]``.
        levels: uint8, one for each packet.
    """

    key: str
    source: str
    channel: int
    sample_rate: int
    n_samples: int
    codes: NDArray[np.int16]
    levels: NDArray[np.uint8]

    @property
    def seconds(self) -> float:
        return self.n_samples / self.sample_rate


def write_shard(path: PathLike, rows: Sequence[Row], facts: CodecFacts) -> dict[str, Any]:
    """Write a shard, whole or not at all.

    Returns:
        Its ``sha256``, ``bytes``, ``rows`` and ``seconds``.

    Raises:
        ConfigError: there is no pyarrow.
        OSError: it cannot be written.
    """
    pa = pyarrow()
    schema = _schema(facts)
    columns = {
        "key": [row.key for row in rows],
        "source": [row.source for row in rows],
        "channel": [row.channel for row in rows],
        "seconds": [row.seconds for row in rows],
        "sample_rate": [row.sample_rate for row in rows],
        "n_samples": [row.n_samples for row in rows],
        "n_codebooks": [row.codes.shape[0] for row in rows],
        "n_frames": [row.codes.shape[1] for row in rows],
        "codes": _lists([row.codes.reshape(-1) for row in rows], np.int16),
        "levels": _lists([row.levels for row in rows], np.uint8),
    }
    table = pa.Table.from_pydict(columns, schema=schema)
    with atomic_output(path) as file:
        sink = _Hashed(file)
        pa.parquet.write_table(
            table, pa.PythonFile(sink, mode="w"), compression="zstd",
            use_dictionary=["source", "codes.list.element"],
        )  # fmt: skip
    return {
        "sha256": sink.digest.hexdigest(),
        "bytes": sink.n_bytes,
        "rows": len(rows),
        "seconds": sum(row.seconds for row in rows),
    }


def read_facts(path: PathLike) -> CodecFacts:
    """What a shard was made with.

    Raises:
        BitstreamError: it is no such file, or of a later version.
    """
    pa = pyarrow()
    try:
        metadata = pa.parquet.read_schema(path).metadata or {}
        values = json.loads(metadata[_FACTS])
        version = values.pop("format")
        if version != FORMAT:
            raise BitstreamError(f"{path}: codes of format {version}, this release reads {FORMAT}")
        return CodecFacts(**values)
    except FileNotFoundError:
        raise BitstreamError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise BitstreamError(f"{path}: no shard of codes, or a damaged one") from error


def read_rows(path: PathLike) -> Iterator[Row]:
    """All rows of a shard, in order.

    Raises:
        BitstreamError: it is no shard, or damaged.
    """
    pa = pyarrow()
    facts = read_facts(path)
    try:
        with pa.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS):
                for i in range(batch.num_rows):
                    yield _row(batch, i, facts)
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError, OSError) as error:
        raise BitstreamError(f"{path}: damaged: {error}") from error


def _row(batch: Any, i: int, facts: CodecFacts) -> Row:
    def value(name: str) -> Any:
        return batch.column(name)[i].as_py()

    def array(name: str) -> NDArray[Any]:
        return batch.column(name)[i].values.to_numpy()

    shape = facts.n_codebooks, value("n_frames")
    return Row(
        value("key"), value("source"), value("channel"), value("sample_rate"), value("n_samples"),
        array("codes").reshape(shape), array("levels"),
    )  # fmt: skip


def _schema(facts: CodecFacts) -> Any:
    pa = pyarrow()
    fields = {
        "key": pa.string(),
        "source": pa.string(),
        "channel": pa.int16(),
        "seconds": pa.float64(),
        "sample_rate": pa.int32(),
        "n_samples": pa.int64(),
        "n_codebooks": pa.int16(),
        "n_frames": pa.int32(),
        "codes": pa.list_(pa.int16()),
        "levels": pa.list_(pa.uint8()),
    }
    return pa.schema(fields, metadata={_FACTS: json.dumps({"format": FORMAT, **vars(facts)})})


def _lists(arrays: Sequence[NDArray[Any]], kind: type[np.generic]) -> Any:
    """Arrays as one column of lists, without a Python object for each number."""
    pa = pyarrow()
    ends = np.cumsum([0, *map(len, arrays)]).astype(np.int32)
    flat = np.concatenate([np.zeros(0, kind), *arrays])
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat))


class _Hashed:
    """Counts and hashes the bytes that go to a file."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.n_bytes = 0
        self.digest = hashlib.sha256()
        self._file = file

    def write(self, data: Any) -> int:
        data = bytes(data)
        self.digest.update(data)
        self.n_bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self.n_bytes

    def close(self) -> None:
        """Not the file: its owner closes it."""


def sha256_of(path: Path) -> str:
    """Of a file, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
