"""What a job works on: files, folders, manifests, tars and Parquet files, in units of a shard.

A plan is made once and kept, so that a job that was cut off goes on with the same clips in the same
units. It names what there is and holds no audio.
"""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..audio import AUDIO_SUFFIXES
from ..errors import AudioError, ConfigError
from .columns import audio_column, open_parquet

__all__ = ["Entry", "Unit", "is_audio", "member_key", "plan_units"]

UNIT_BYTES = 256 << 20  # of input in a unit, unless one clip or row group has more

Entry = tuple[str, str, str]  # source, key and path of a file


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Clips that become one shard: files, or a part of a tar or of a Parquet file.

    Attributes:
        files: of a list of files.
        tar: a tar file: from byte ``first`` on, ``count`` members that are audio.
        parquet: a Parquet file: from row group ``first`` on, ``count`` groups.
    """

    files: tuple[Entry, ...] = ()
    tar: str = ""
    parquet: str = ""
    first: int = 0
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain types, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Unit:
        files = tuple((source, key, path) for source, key, path in values.pop("files", ()))
        return cls(files=files, **values)


def plan_units(inputs: Iterable[str], most: int) -> Iterator[Unit]:
    """Units of all clips of the inputs, each clip in one.

    Args:
        inputs: audio files, folders (searched for audio, ``.tar`` and ``.parquet``), manifests
            (``.csv`` and ``.jsonl`` with ``path``), tars as of WebDataset, Parquet files.
        most: clips in a unit.

    Raises:
        AudioError: an input that is missing or damaged.
        ConfigError: a manifest without paths, a Parquet file without audio.
    """
    files: list[Entry] = []
    held = 0
    for source, key, path in _found(inputs):
        suffix = os.path.splitext(path)[1].lower()
        if suffix == ".tar":
            yield from _tar_units(path, most)
        elif suffix == ".parquet":
            yield from _parquet_units(path, most)
        else:
            size = os.path.getsize(path) if os.path.isfile(path) else 0
            if files and (len(files) == most or held + size > UNIT_BYTES):
                yield Unit(files=tuple(files))
                files, held = [], 0
            files.append((source, key, path))
            held += size
    if files:
        yield Unit(files=tuple(files))


def is_audio(name: str) -> bool:
    """By its ending."""
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES


def member_key(name: str) -> str:
    """Key of a member of a tar, as WebDataset has it: all before the first dot of the file name."""
    folder, file = os.path.split(name)
    return os.path.join(folder, file.split(".")[0])


def _found(inputs: Iterable[str]) -> Iterator[Entry]:
    """Files, tars and Parquet files."""
    for given in inputs:
        suffix = os.path.splitext(given)[1].lower()
        if os.path.isdir(given):
            yield from _in_folder(given)
        elif not os.path.exists(given):
            raise AudioError(f"{given}: no such file or folder")
        elif suffix in (".csv", ".jsonl"):
            yield from _in_manifest(given, suffix)
        else:
            yield given, os.path.basename(given), given


def _in_folder(folder: str) -> Iterator[Entry]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if is_audio(name) or name.lower().endswith((".tar", ".parquet")):
                path = os.path.join(place, name)
                yield folder, os.path.relpath(path, folder), path


def _in_manifest(manifest: str, suffix: str) -> Iterator[Entry]:
    with open(manifest, encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines) if suffix == ".csv" else map(_json_row, lines)
        for number, row in enumerate(rows, 1):
            if row == {}:  # an empty line
                continue
            path = row.get("path") if isinstance(row, dict) else None
            if not isinstance(path, str) or not path:
                raise ConfigError(f"{manifest}: row {number} has no path")
            key = row.get("key") or row.get("id") or path
            yield manifest, str(key), os.path.join(os.path.dirname(manifest), path)


def _json_row(line: str) -> Any:
    try:
        return json.loads(line) if line.strip() else {}
    except json.JSONDecodeError:
        return None


def _tar_units(path: str, most: int) -> Iterator[Unit]:
    try:
        with tarfile.open(path, "r:") as tar:
            first = count = held = 0
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[misc]  # it would remember all of them
                if not (member.isreg() and is_audio(member.name)):
                    continue
                if count == most or (count and held + member.size > UNIT_BYTES):
                    yield Unit(tar=path, first=first, count=count)
                    count = held = 0
                if count == 0:
                    first = member.offset
                count += 1
                held += member.size
    except tarfile.TarError as error:
        raise AudioError(f"{path}: no sound tar: {error}") from error
    if count:
        yield Unit(tar=path, first=first, count=count)


def _parquet_units(path: str, most: int) -> Iterator[Unit]:
    with open_parquet(path) as file:
        audio_column(file, path)
        meta = file.metadata
        sizes = [meta.row_group(i) for i in range(meta.num_row_groups)]
        first = rows = held = 0
        for i, group in enumerate(sizes):
            more = rows + group.num_rows > most or held + group.total_byte_size > UNIT_BYTES
            if i > first and more:
                yield Unit(parquet=path, first=first, count=i - first)
                first, rows, held = i, 0, 0
            rows += group.num_rows
            held += group.total_byte_size
        if rows:
            yield Unit(parquet=path, first=first, count=len(sizes) - first)
