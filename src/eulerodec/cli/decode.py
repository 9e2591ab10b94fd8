"""``eulerodec decode``: ``.eul`` to WAV."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import IO

import click

from ..errors import BitstreamError, ConfigError, WeightsError
from ..files import is_pipe
from ._common import block_option, open_stream, weights_options
from ._jobs import Job, Result, plan_jobs, run_jobs
from ._progress import FileProgress
from ._times import Seconds


@click.command()
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="File, folder for several inputs, or -."
)
@click.option("--sample-rate", type=int, metavar="HZ", help="Output rate; the input's by default.")
@click.option("--bitrate", type=float, help="Use only so many kbps of each channel of the file.")
@click.option("--float", "as_float", is_flag=True, help="32-bit float samples, not 16-bit.")
@click.option("--from", "start", type=Seconds(), help="Only from here: seconds or H:MM:SS.")
@click.option("--to", "stop", type=Seconds(), help="Only up to here; the end by default.")
@click.option("--apply-gain", is_flag=True, help="Apply the gain in the header of the file.")
@click.option("--recover", is_flag=True, help="Decode what can be read of a damaged file.")
@block_option
@weights_options
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
@click.pass_context
def decode(
    ctx: click.Context,
    inputs: tuple[str, ...],
    output: str,
    sample_rate: int | None,
    bitrate: float | None,
    as_float: bool,
    start: Fraction | None,
    stop: Fraction | None,
    apply_gain: bool,
    recover: bool,
    block_frames: int | None,
    weights: str | None,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Decode .eul files to WAV files.

    IN is an .eul file, a folder (searched, its tree is kept), or - for standard input. The output
    has exactly the length and the sample rate of the audio that was encoded.

    With --from or --to only what is needed of a file is read and decoded; the samples are those of
    the whole.
    """
    from .. import audio

    if as_json and is_pipe(output):
        raise ConfigError("--json and -o - both need standard output")
    jobs = plan_jobs(inputs, output, suffixes={".eul"}, new_suffix=".wav")
    if sample_rate is not None:
        audio.check_sample_rate(sample_rate, "--sample-rate")

    from ..codec.files import decode_file
    from ._common import load_codec

    codec = load_codec(weights, threads, device)
    stages = None if bitrate is None else codec.n_codebooks_for(bitrate)
    part = None if start is None and stop is None else (start or Fraction(0), stop)
    subtype = "FLOAT" if as_float else "PCM_16"

    def work(job: Job, progress: FileProgress) -> Result:
        name = "standard input" if is_pipe(job.source) else job.source
        with open_stream(job.source) if part else _open(job.source) as source:
            try:
                result = decode_file(
                    codec, source, job.source, job.target, n_codebooks=stages,
                    sample_rate=sample_rate, subtype=subtype, recover=recover, part=part,
                    apply_gain=apply_gain, block_frames=block_frames,
                    make_folder=len(jobs) > 1, progress=progress,
                )  # fmt: skip
            except (BitstreamError, WeightsError) as error:
                text = str(error).replace("recover=True", "--recover")
                raise type(error)(f"{name}: {text}") from error
        for message in result["damage"]:
            click.echo(f"warning: {name}: {message}", err=True)
        return result

    ctx.exit(run_jobs(jobs, work, verb="decode", as_json=as_json))


@contextlib.contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    """An ``.eul`` file, or standard input for ``-``, as it arrives."""
    if is_pipe(path):
        yield sys.stdin.buffer
        return
    with open_stream(path) as source:
        yield source
