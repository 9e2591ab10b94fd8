"""Parquet files of audio, as ``datasets`` writes them: opened, and the column that holds it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..errors import AudioError, ConfigError

__all__ = ["audio_column", "key_column", "open_parquet", "pyarrow"]

_KEYS = ("key", "__key__", "id")


def pyarrow() -> Any:
    """The package, with ``pyarrow.parquet`` loaded.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            "Parquet needs pyarrow, which is not installed: pip install 'eulerodec[tokens]'"
        ) from None
    return pyarrow


@contextlib.contextmanager
def open_parquet(path: str) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetFile``.

    Raises:
        AudioError: it is damaged, then or while it is read.
    """
    pa = pyarrow()
    try:
        with pa.parquet.ParquetFile(path) as file:
            yield file
    except pa.ArrowInvalid as error:
        raise AudioError(f"{path}: no sound Parquet file: {error}") from error


def audio_column(file: Any, path: str) -> str:
    """Name of the column with audio: a struct of ``bytes`` and ``path``, or binary of that name.

    Raises:
        ConfigError: there is none, or there are several and none of them is called ``audio``.
    """
    types = pyarrow().types
    found = []
    for column in file.schema_arrow:
        names = {field.name for field in column.type} if types.is_struct(column.type) else set()
        binary = types.is_binary(column.type) or types.is_large_binary(column.type)
        if {"bytes", "path"} <= names or (binary and column.name == "audio"):
            found.append(column.name)
    if "audio" in found:
        return "audio"
    if len(found) != 1:
        what = f"several columns of audio ({', '.join(found)})" if found else "no column of audio"
        raise ConfigError(f"{path}: {what}; one called audio is needed, a struct of bytes and path")
    return found[0]


def key_column(file: Any) -> str | None:
    """Name of the column that names the clips, if there is one."""
    names = file.schema_arrow.names
    return next((name for name in _KEYS if name in names), None)
