"""Bytes in and out: whole files or pipes, never a half-written output.

An output is written to a temporary file in the same directory and renamed over the target when it
is complete, so a full disk or a failure leaves the old file, or none. Only what cannot be made
again is kept, under another name. The name ``-`` is standard input or output.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeGuard

from .errors import BitstreamError, ConfigError, EuleroDecError, WeightsError

__all__ = [
    "PIPE",
    "PathLike",
    "Sink",
    "Source",
    "atomic_output",
    "input_name",
    "is_path",
    "is_pipe",
    "naming",
    "open_input",
    "write_bytes",
]

PathLike = str | os.PathLike[str]
Source = PathLike | BinaryIO  # a path, ``-`` for standard input, or a binary file object
Sink = PathLike | BinaryIO
PIPE = "-"


def is_pipe(path: Source) -> bool:
    """True for ``-``, the name of standard input and output."""
    return isinstance(path, str | os.PathLike) and os.fspath(path) == PIPE


def is_path(path: Source) -> TypeGuard[PathLike]:
    """True for the name of a file, not for ``-`` and file objects."""
    return isinstance(path, str | os.PathLike) and not is_pipe(path)


def input_name(source: Source) -> str:
    """What messages call an input."""
    if is_pipe(source):
        return "standard input"
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the input"


@contextlib.contextmanager
def open_input(
    source: Source, what: str, error: type[EuleroDecError], *, seek: bool = False
) -> Iterator[BinaryIO]:
    """A binary file to read from; one that was given open stays open.

    Args:
        source: a path, ``-`` for standard input, or a binary file object.
        what: is needed, for the message.
        error: for a path that has no file.
        seek: the file must seek, so a pipe is read as a whole first.

    Raises:
        OSError: for a file that may not be read.
    """
    with contextlib.ExitStack() as stack:
        if not isinstance(source, str | os.PathLike):
            file = source
        elif is_pipe(source):
            file = sys.stdin.buffer
        else:
            path = os.fspath(source)
            if os.path.isdir(path):
                raise error(f"{path}: it is a directory, {what} is needed")
            if not os.path.exists(path):
                raise error(f"{path}: no such file")
            file = stack.enter_context(open(path, "rb"))
        yield io.BytesIO(file.read()) if seek and (is_pipe(source) or not file.seekable()) else file


@contextlib.contextmanager
def naming(source: Source) -> Iterator[None]:
    """Let an error about a stream say which input it is about."""
    try:
        yield
    except (BitstreamError, ConfigError, WeightsError) as error:
        error.args = (f"{input_name(source)}: {error}",)
        raise


@contextlib.contextmanager
def atomic_output(
    path: Sink, *, keep: bool = False, make_folder: bool = False
) -> Iterator[BinaryIO]:
    """A binary file to write to; it takes its name when the block ends without an error.

    A file object that is given is written to as it is, and stays open.

    ``keep``, for a live stream: the file is called ``path.part`` until then, and stays if the block
    or the machine fails. One that is there already is not touched: ``FileExistsError``.

    The directory must exist, or is made with ``make_folder``. A symbolic link is followed, the mode
    of a file that is replaced is kept, and a device or named pipe is written to directly.

    Raises:
        OSError: with the name of the target, not of the temporary file.
    """
    if not isinstance(path, str | os.PathLike):
        yield path
        path.flush()
        return
    if is_pipe(path):
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(21, "it is a directory, a file name is needed", os.fspath(path))
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        # A device (/dev/null, /dev/full) or pipe must not be replaced by a file of its name.
        with _named(path), open(target, "wb", buffering=0) as sink:
            yield sink
        return
    with _named(path):
        if make_folder:
            target.parent.mkdir(parents=True, exist_ok=True)
        name = f"{target.name}.part" if keep else f".eulerodec-{secrets.token_hex(8)}.tmp"
        temporary = target.with_name(name)
        if keep and temporary.exists():
            reason = f"{name} is there, of a stream that was cut off: rename or remove it"
            raise FileExistsError(17, reason, os.fspath(path))
        try:
            with open(temporary, "xb") as sink:
                yield sink
                sink.flush()
                os.fsync(sink.fileno())  # a full disk may only show here
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
        except BaseException:
            if not keep:
                temporary.unlink(missing_ok=True)
            raise


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write all of ``data`` to ``path`` (see :func:`atomic_output`)."""
    with atomic_output(path) as sink:
        sink.write(data)


@contextlib.contextmanager
def _named(path: PathLike) -> Iterator[None]:
    """Let an ``OSError`` name the file that the user asked for."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
