"""What the commands share: errors as text, options, the codec, ``.eul`` files as input, JSON."""

from __future__ import annotations

import contextlib
import gc
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..errors import (
    AudioError,
    AudioWarning,
    BitstreamError,
    ConfigError,
    EuleroDecError,
    WeightsError,
)
from ..files import open_input

if TYPE_CHECKING:
    from ..codec import Codec

__all__ = [
    "Failure",
    "block_option",
    "describe",
    "given",
    "load_codec",
    "lower_rate_options",
    "open_stream",
    "print_json",
    "show_as_lines",
    "threads_option",
    "warnings_as_lines",
    "weights_options",
]

_EXIT_CODES: tuple[tuple[type[EuleroDecError], int], ...] = (
    (ConfigError, 2),
    (AudioError, 3),
    (BitstreamError, 3),
    (WeightsError, 4),
    (EuleroDecError, 1),
)

# Arguments of the library, and the options that set them.
_OPTIONS = {
    "bitrate_kbps": "--bitrate",
    "n_codebooks": "--codebooks",
    "frames_per_packet": "--packet",
    "block_frames": "--block-frames",
    "threads": "--threads",
}
_ARGUMENT = re.compile(rf"(?<!\S)({'|'.join(_OPTIONS)})(?=[ :])")


@dataclass(frozen=True)
class Failure:
    """An error as one line and an exit code."""

    text: str
    code: int


def describe(error: BaseException) -> Failure | None:
    """An error a user can cause as a line and an exit code; ``None`` for any other, a bug."""
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind):
            return Failure(_advised(error), code)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return Failure(f"{error.filename}: {reason}" if error.filename else reason, 1)
    # torch says RuntimeError when it cannot allocate
    if isinstance(error, MemoryError) or ("memory" in str(error) and "alloc" in str(error)):
        return Failure("not enough memory", 1)
    return None


def _advised(error: EuleroDecError | AudioWarning) -> str:
    """The text of an error or warning on one line: arguments by the names of their options, and
    the option that helps, if there is one."""
    text = " ".join(str(error).splitlines())
    if isinstance(error, ConfigError):
        text = _ARGUMENT.sub(lambda found: _OPTIONS[found[1]], text)
    if error.recoverable:
        command = "decode" if isinstance(error, BitstreamError) else "encode"
        text += f"; `{command} --recover` reads what is there"
    return text


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print an :class:`AudioWarning` as one line on standard error, whatever the filters say."""
    with warnings.catch_warnings():
        show_as_lines()
        yield


def show_as_lines() -> None:
    """:func:`warnings_as_lines` for good, in a process of ours."""
    other = warnings.showwarning

    def show(message: Warning | str, *where: Any) -> None:
        if isinstance(message, AudioWarning):
            click.echo(f"warning: {_advised(message)}", err=True)
        else:
            other(message, *where)

    warnings.simplefilter("always", AudioWarning)
    warnings.showwarning = show


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
        type=int,
        metavar="N",
        help="Frames of 11 ms to compute together: fewer for less delay, more for speed. "
        "By default 128 for files and 24 for pipes.",
    )(command)


def lower_rate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--bitrate`` and ``--codebooks`` of the commands that take less of a file than it has."""
    for option in (
        click.option(
            "--codebooks",
            type=click.IntRange(1),
            metavar="K",
            help="Only the first K codes of each frame (constant coding).",
        ),
        click.option(
            "--bitrate",
            type=float,
            callback=_positive,
            metavar="KBPS",
            help="Only so many kbps of each channel: any number.",
        ),
    ):
        command = option(command)
    return command


def _positive(ctx: click.Context, param: click.Parameter, kbps: float | None) -> float | None:
    """Said before any file is opened, and once for many."""
    if kbps is not None and not 0 < kbps < float("inf"):
        raise ConfigError(f"--bitrate must be above 0, not {kbps:g}")
    return kbps


def threads_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--threads`` of the commands that compute."""
    return click.option(
        "--threads", type=int, metavar="N", help="CPU threads, up to 1024; all by default."
    )(command)


def weights_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that runs the network."""
    for option in (
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, or auto."),
        threads_option,
        click.option(
            "--weights", metavar="DIR", help="Directory or name of weights; bundled by default."
        ),
    ):
        command = option(command)
    return command


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; the library knows the defaults of the others."""
    return {name: value for name, value in options.items() if value is not None}


def load_codec(weights: str | None, threads: int | None, device: str, share: int = 1) -> Codec:
    """The codec that :func:`weights_options` ask for; ``share``: processes that share the CPU."""
    from ..codec.threads import set_threads
    from ..codec.weights import DEFAULT_WEIGHTS

    with _no_garbage():
        set_threads(threads, share)

        from ..codec import Codec

    return Codec.from_pretrained(weights or DEFAULT_WEIGHTS, device)


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    """For the first import of torch: it makes a million objects that stay. To look for garbage
    among them, while it goes on and again as the process ends, takes a fifth of the start."""
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def open_stream(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    """An ``.eul`` file that can seek; standard input is read as a whole."""
    return open_input(path, "an .eul file", BitstreamError, seek=True)
