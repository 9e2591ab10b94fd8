"""``eulerodec decode``: ``.eul`` to WAV or FLAC."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Any

import click

from ..errors import ConfigError
from ..files import is_pipe
from ._common import block_option, given, load_codec, lower_rate_options, weights_options
from ._jobs import EUL_TO_AUDIO, Job, Result, Work, many_options, plan_jobs, run_jobs
from ._progress import FileProgress
from ._times import Seconds


@click.command()
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="File, folder for several inputs, or -. Default: IN, ending in .wav.",
)
@click.option("--sample-rate", type=int, metavar="HZ", help="Output rate; the input's by default.")
@lower_rate_options
@click.option("--float", "as_float", is_flag=True, help="32-bit float samples, not 16-bit.")
@click.option("--from", "start", type=Seconds(), help="Start: seconds or H:MM:SS.")
@click.option("--to", "stop", type=Seconds(), help="Stop: seconds or H:MM:SS.")
@click.option("--apply-gain", is_flag=True, help="Apply the gain in the header of the file.")
@click.option("--recover", is_flag=True, help="Decode whatever a damaged file still holds.")
@many_options
@block_option
@weights_options
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
@click.pass_context
def decode(
    ctx: click.Context,
    inputs: tuple[str, ...],
    output: str | None,
    sample_rate: int | None,
    bitrate: float | None,
    codebooks: int | None,
    as_float: bool,
    start: Fraction | None,
    stop: Fraction | None,
    apply_gain: bool,
    recover: bool,
    jobs: int,
    skip_existing: bool,
    block_frames: int | None,
    weights: str | None,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Decode .eul files to WAV files, or FLAC if OUT ends in .flac.

    IN is an .eul file, a folder (searched; subfolders are kept), or - for standard input. The
    output has exactly the length and the sample rate of the audio that was encoded.

    With --bitrate the audio is that of the file which `rate --bitrate` makes. With --from or --to
    only the necessary part of a file is read and decoded; its samples are those of the whole file.
    """
    if as_json and output is not None and is_pipe(output):
        raise ConfigError("--json and -o - both need standard output")
    plan = plan_jobs(inputs, output, EUL_TO_AUDIO, skip_existing=skip_existing)
    options = given(
        bitrate_kbps=bitrate, n_codebooks=codebooks, sample_rate=sample_rate,
        start_s=start, stop_s=stop,
        subtype="FLOAT" if as_float else "PCM_16", apply_gain=apply_gain, recover=recover,
        block_frames=block_frames,
    )  # fmt: skip
    make_work = partial(_make_work, weights, threads, device, min(jobs, len(plan)), options)
    ctx.exit(run_jobs(plan, make_work, verb="decode", as_json=as_json, n_processes=jobs))


def _make_work(
    weights: str | None, threads: int | None, device: str, share: int, options: dict[str, Any]
) -> Work:
    codec = load_codec(weights, threads, device, share)

    def work(job: Job, progress: FileProgress) -> Result:
        report = codec.decode_file(
            job.source, job.target, make_folder=job.make_folder, progress=progress, **options
        )
        return report.to_dict()

    return work
