"""``eulerodec play``: hear an ``.eul`` file."""

from __future__ import annotations

import sys
from fractions import Fraction
from functools import partial

import click

from ..errors import AudioError
from ..files import is_pipe
from ._common import given, load_codec, lower_rate_options, open_stream, weights_options
from ._times import Seconds


@click.command()
@click.argument("file", metavar="FILE")
@click.option("-o", "output", type=click.Choice(["-"]), help="WAV to standard output, no player.")
@lower_rate_options
@click.option("--from", "start", type=Seconds(), help="Only from here: seconds or H:MM:SS.")
@click.option("--to", "stop", type=Seconds(), help="Only up to here; the end by default.")
@click.option("--apply-gain", is_flag=True, help="Apply the gain in the header of the file.")
@click.option("--recover", is_flag=True, help="Play what can be read of a damaged file.")
@weights_options
def play(
    file: str,
    output: str | None,
    bitrate: float | None,
    codebooks: int | None,
    start: Fraction | None,
    stop: Fraction | None,
    apply_gain: bool,
    recover: bool,
    weights: str | None,
    threads: int | None,
    device: str,
) -> None:
    """Decode an .eul file and play it.

    Plays by the first of these that works: the Python package sounddevice, aplay, paplay, ffplay,
    afplay. Where none does, and standard output is a pipe, the WAV goes there.
    """
    if not is_pipe(file):
        with open_stream(file):
            pass  # what is missing is said before the network loads

    from ..audio.playback import play as play_by_any

    options = given(
        bitrate_kbps=bitrate, n_codebooks=codebooks, start_s=start, stop_s=stop,
        apply_gain=apply_gain, recover=recover,
    )  # fmt: skip
    codec = load_codec(weights, threads, device)
    decode = partial(codec.decode_file, file, **options)

    def note(text: str) -> None:
        click.echo(text, err=True)

    if output is None:
        if play_by_any(decode, note, again=not is_pipe(file)) is not None:
            return
        if sys.stdout.isatty() or is_pipe(file):
            raise AudioError(
                f"no player works here; give the WAV to one: eulerodec play {file} -o - | PLAYER"
            )
        note("no player works here: the WAV goes to standard output")
    decode("-")
