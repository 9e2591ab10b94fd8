"""What the verbs share that work on ``.eul`` files without decoding them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import BitstreamError
from ..files import atomic_output, is_pipe, read_bytes
from ._common import Job, Result

if TYPE_CHECKING:
    from ..bitstream import StreamInfo
    from ..bitstream.writer import WritableBytes

__all__ = [
    "Seconds",
    "advised",
    "edit",
    "load_weights_tables",
    "named",
    "open_stream",
    "sample_range",
    "tables_option",
]


class Seconds(click.ParamType):
    """``90``, ``1:30`` or ``0:01:30.25`` as exact seconds."""

    name = "time"

    def convert(
        self, value: str | Fraction, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        if isinstance(value, Fraction):
            return value
        found = re.fullmatch(r"(?:(?:(\d{1,9}):)?(\d{1,9}):)?(\d{1,9}(?:\.\d{0,99})?)", value)
        if not found:
            self.fail(f"{value!r} is no time: use seconds (90.5) or H:MM:SS (0:01:30.5)")
        hours, minutes, seconds = (Fraction(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + seconds


def sample_range(start: Fraction, stop: Fraction | None, rate: int) -> tuple[int, int | None]:
    """Times of ``--from`` and ``--to`` as the nearest samples."""
    return round(start * rate), None if stop is None else round(stop * rate)


def load_weights_tables(weights: str) -> None:
    """Makes the entropy coder's tables of these weights known, if they have any."""
    from ..bitstream import load_tables
    from ..pretrained import find_weights

    load_tables(find_weights(weights))


def _load_tables(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        load_weights_tables(value)


def tables_option(command: Any) -> Any:
    """``--weights``, whose entropy coder's tables are then known."""
    return click.option(
        "--weights",
        metavar="DIR",
        expose_value=False,
        callback=_load_tables,
        help="Weights with the tables of an entropy coded file, if they are not bundled.",
    )(command)


def open_stream(path: str) -> IO[bytes]:
    """An ``.eul`` file that can seek; standard input is read as a whole.

    Errors: :class:`BitstreamError` for what is no file, ``OSError``.
    """
    if is_pipe(path):
        return io.BytesIO(read_bytes(path))
    if os.path.isdir(path):
        raise BitstreamError(f"{path}: it is a directory, an .eul file is needed")
    if not os.path.exists(path):
        raise BitstreamError(f"{path}: no such file")
    return open(path, "rb")


def edit(job: Job, write: Callable[[WritableBytes], StreamInfo]) -> Result:
    """Let ``write`` make the target; facts about it for :func:`run_jobs`."""
    start = time.perf_counter()
    with atomic_output(job.target) as target:
        sink = _Counter(target)
        info = write(sink)
    elapsed = max(time.perf_counter() - start, 1e-9)
    seconds = info.duration_s or 0.0
    return {
        "bytes": sink.n_bytes,
        "seconds": seconds,
        "sample_rate": info.input_sample_rate,
        "channels": info.n_channels,
        "samples": info.n_input_samples,
        "bitrate_kbps": info.nominal_kbps / info.n_channels,
        "kbps": info.measured_kbps(sink.n_bytes) or 0.0,
        "speed": seconds / elapsed,
    }


@contextlib.contextmanager
def named(path: str) -> Iterator[None]:
    """Let a :class:`BitstreamError` say which file it is about, and what a user can do."""
    with advised():
        try:
            yield
        except BitstreamError as error:
            name = "standard input" if is_pipe(path) else path
            raise BitstreamError(f"{name}: {error}") from error


@contextlib.contextmanager
def advised() -> Iterator[None]:
    """Let a :class:`BitstreamError` say what a user of the command line can do."""
    try:
        yield
    except BitstreamError as error:
        text = str(error).replace("recover=True", "decode --recover")
        raise BitstreamError(text) from error


class _Counter:
    """Counts the bytes that go to a file."""

    def __init__(self, fileobj: IO[bytes]) -> None:
        self.n_bytes = 0
        self._file = fileobj

    def write(self, data: bytes, /) -> int:
        done = self._file.write(data)
        self.n_bytes += done
        return done
