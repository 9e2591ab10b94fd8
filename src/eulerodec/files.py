"""Bytes in and out: whole files or pipes, never a half-written output.

An output is written to a temporary file in the same directory and renamed over the target when it
is complete, so a full disk or a failure leaves the old file, or none. Only what cannot be made
again is kept, under another name. The name ``-`` is standard input or output.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["PIPE", "PathLike", "atomic_output", "is_pipe", "read_bytes", "write_bytes"]

PathLike = str | os.PathLike[str]
PIPE = "-"


def is_pipe(path: PathLike) -> bool:
    """True for ``-``, the name of standard input and output."""
    return os.fspath(path) == PIPE


def read_bytes(path: PathLike) -> bytes:
    """All bytes of a file, or of standard input for ``-``. Errors: ``OSError``."""
    return sys.stdin.buffer.read() if is_pipe(path) else Path(path).read_bytes()


@contextlib.contextmanager
def atomic_output(path: PathLike, *, keep: bool = False) -> Iterator[IO[bytes]]:
    """A binary file to write to; it takes its name when the block ends without an error.

    ``keep``, for a live stream: the file is called ``path.part`` until then, and stays if the block
    or the machine fails. One that is there already is not touched: ``FileExistsError``.

    The directory must exist. A symbolic link is followed, the mode of a file that is replaced is
    kept, and a device or named pipe is written to directly. Errors: ``OSError`` with the name of
    the target, not of the temporary file.
    """
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
