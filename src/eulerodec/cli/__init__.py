"""The command line: one module per command, torch imported only by commands that need it.

Everything a user can cause ends in one line on standard error and an exit code: 0 done, 2 wrong
use, 3 bad audio or bad stream, 4 weights missing or not the right ones, 1 anything else (disk,
memory, training), 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

import click

from .. import __version__
from ._common import describe, warnings_as_lines
from .codebooks import codebooks
from .concat import concat
from .cut import cut
from .decode import decode
from .demo import demo
from .detokenize import detokenize
from .doctor import doctor
from .encode import encode
from .evaluate import evaluate
from .export import export
from .fit import fit
from .info import info
from .pack import pack
from .play import play
from .rate import rate
from .tokenize import tokenize
from .train import train

__all__ = ["cli", "main"]


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="eulerodec")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Speech and audio at 1 to 16 kbps through a complex-valued neural codec.

    \b
    eulerodec demo                                  hear it: a clip at four rates, from one file
    eulerodec encode talk.wav -o talk.eul --bitrate 6
    eulerodec decode talk.eul -o talk.wav
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (
    encode, decode, play, info, demo, doctor, pack, fit, train, cut, concat, rate, evaluate,
    codebooks, tokenize, detokenize, export,
):  # fmt: skip
    cli.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on ``argv`` (by default the process's); returns the exit code."""
    arguments = None if argv is None else list(argv)
    try:
        with _terminable(), warnings_as_lines():
            code = cli.main(arguments, prog_name="eulerodec", standalone_mode=False)
            return code if isinstance(code, int) else 0
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        message = " ".join(error.format_message().split())
        click.echo(f"error: {message}{hint}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("error: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; keep Python from failing again as it flushes at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        known = describe(error)
        if known is None:  # a bug: the traceback is what a report needs
            raise
        click.echo(f"error: {known.text}", err=True)
        return known.code


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
