"""The clips of a unit, one after the other, each as a file to read."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import AudioError
from .columns import audio_column, key_column, open_parquet
from .plan import Unit, is_audio, member_key

__all__ = ["Clip", "clips_of"]

_PARQUET_ROWS = 16  # that are in memory


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        source: the input that it was found in.
        key: its name there.
        audio: a path, or a file in memory.
    """

    source: str
    key: str
    audio: str | BinaryIO


class _Memory(io.BytesIO):
    """Bytes with a name for messages, whose ending says what they are."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def clips_of(unit: Unit) -> Iterator[Clip]:
    """All clips of a unit, in order.

    Raises:
        AudioError: the tar or the Parquet file is damaged.
        OSError: the tar or the Parquet file cannot be read.
    """
    for source, key, path in unit.files:
        yield Clip(source, key, path)
    if unit.tar:
        yield from _in_tar(unit)
    if unit.parquet:
        yield from _in_parquet(unit)


def _in_tar(unit: Unit) -> Iterator[Clip]:
    left = unit.count
    with open(unit.tar, "rb") as file:
        file.seek(unit.first)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while left and (member := tar.next()) is not None:
                    tar.members = []  # type: ignore[misc]  # it would remember all of them
                    if not (member.isreg() and is_audio(member.name)):
                        continue
                    left -= 1
                    data = tar.extractfile(member)
                    assert data is not None  # of regular files there is
                    audio = _Memory(data.read(), f"{unit.tar}/{member.name}")
                    yield Clip(unit.tar, member_key(member.name), audio)
        except tarfile.TarError as error:
            raise AudioError(f"{unit.tar}: no sound tar: {error}") from error


def _in_parquet(unit: Unit) -> Iterator[Clip]:
    with open_parquet(unit.parquet) as file:
        column, names = audio_column(file, unit.parquet), key_column(file)
        columns = [column] if names is None else [column, names]
        groups = range(unit.first, unit.first + unit.count)
        row = sum(file.metadata.row_group(i).num_rows for i in range(unit.first))
        for batch in file.iter_batches(_PARQUET_ROWS, row_groups=list(groups), columns=columns):
            for found in batch.to_pylist():
                value = found[column]
                if not isinstance(value, dict):
                    value = {"bytes": value, "path": None}
                path = value["path"]
                key = str(found[names] if names else path or row)
                where = path or str(row)
                if value["bytes"] is None and path:
                    audio = os.path.join(os.path.dirname(unit.parquet), path)
                else:
                    audio = _Memory(value["bytes"] or b"", f"{unit.parquet}/{where}")
                yield Clip(unit.parquet, key, audio)
                row += 1
