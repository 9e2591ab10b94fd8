"""What the commands share: errors as text, options, ``.eul`` files as input, JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import AudioError, BitstreamError, ConfigError, EuleroDecError, WeightsError
from ..files import is_pipe, read_bytes

if TYPE_CHECKING:
    from ..codec import Codec

__all__ = [
    "Failure",
    "advised",
    "block_option",
    "describe",
    "load_codec",
    "load_weights_tables",
    "named",
    "open_stream",
    "print_json",
    "tables_option",
    "weights_options",
]

_EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (ConfigError, 2),
    (AudioError, 3),
    (BitstreamError, 3),
    (WeightsError, 4),
    (EuleroDecError, 1),
)


@dataclass(frozen=True)
class Failure:
    """An error as one line and an exit code."""

    text: str
    code: int


def describe(error: BaseException) -> Failure | None:
    """An error a user can cause as a line and an exit code; ``None`` for any other, a bug."""
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind):
            return Failure(" ".join(str(error).splitlines()), code)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return Failure(f"{error.filename}: {reason}" if error.filename else reason, 1)
    # torch says RuntimeError when it cannot allocate
    if isinstance(error, MemoryError) or ("memory" in str(error) and "alloc" in str(error)):
        return Failure("not enough memory", 1)
    return None


def print_json(value: Any) -> None:
    """One JSON object on standard output (ASCII, so any file name can be printed)."""
    click.echo(json.dumps(_strict(value), indent=2))


def _strict(value: Any) -> Any:
    """NaN and infinity are no JSON: null."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def block_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--block-frames`` of the commands that code files and streams."""
    return click.option(
        "--block-frames",
        type=click.IntRange(1, 4096),
        metavar="N",
        help="Frames of 11 ms computed together: fewer for less delay, more for speed. "
        "By default 128 for files and 32 for pipes.",
    )(command)


def weights_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that runs the network."""
    for option in (
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, or auto."),
        click.option("--threads", type=click.IntRange(1), help="CPU threads; all by default."),
        click.option(
            "--weights", metavar="DIR", help="Directory or name of weights; bundled by default."
        ),
    ):
        command = option(command)
    return command


def load_codec(weights: str | None, threads: int | None, device: str) -> Codec:
    """The codec that :func:`weights_options` ask for."""
    import torch

    from ..codec import Codec
    from ..codec.weights import DEFAULT_WEIGHTS

    if threads is not None:
        torch.set_num_threads(threads)
    return Codec.from_pretrained(weights or DEFAULT_WEIGHTS, device)


def load_weights_tables(weights: str) -> None:
    """Makes the entropy coder's tables of these weights known, if they have any."""
    from ..bitstream import load_tables
    from ..codec.weights import find_weights

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
