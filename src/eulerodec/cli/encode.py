"""``eulerodec encode``: audio to ``.eul``."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from ..errors import BitstreamError, ConfigError
from ..files import is_pipe
from ._common import given, load_codec, weights_options
from ._jobs import AUDIO_TO_EUL, Job, Result, Work, many_options, plan_jobs, run_jobs
from ._progress import FileProgress


@click.command()
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="File, folder for several inputs, or -. Default: IN, ending in .eul.",
)
@click.option(
    "--bitrate",
    type=float,
    metavar="KBPS",
    help="kbps of each channel, any number from 1 to 16; 6 by default.",
)
@click.option(
    "--codebooks",
    type=int,
    metavar="K",
    help="In place of a bitrate: K codes of 11 bits for each frame of 11 ms, as tokens for other "
    "models.",
)
@click.option(
    "--beam",
    type=int,
    metavar="N",
    help="Paths of the code search, 3 by default: more is slower and a little better.",
)
@click.option(
    "--packet",
    type=int,
    metavar="FRAMES",
    help="Frames of 11 ms in one packet, up to 255: fewer for less delay, more for less overhead. "
    "By default 92, a second; 24 for live input, and 248 for files with --codebooks.",
)
@click.option(
    "--carry/--no-carry",
    default=None,
    help="Give what silence leaves of the bitrate to the packets after it (the default), or save "
    "it: a smaller file.",
)
@click.option("--title", default="", metavar="TEXT", help="Title to store in the header.")
@click.option(
    "--gain",
    type=float,
    default=0.0,
    metavar="DB",
    help="Gain to store in the header, for players and `decode --apply-gain`.",
)
@click.option("--recover", is_flag=True, help="Encode whatever a damaged recording still holds.")
@many_options
@weights_options
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
@click.pass_context
def encode(
    ctx: click.Context,
    inputs: tuple[str, ...],
    output: str | None,
    bitrate: float | None,
    codebooks: int | None,
    beam: int | None,
    packet: int | None,
    carry: bool | None,
    title: str,
    gain: float,
    recover: bool,
    jobs: int,
    skip_existing: bool,
    weights: str | None,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Encode audio files to .eul files.

    IN is audio of any rate and channel count (WAV, FLAC, Ogg, MP3, AIFF; with PyAV or ffmpeg also
    M4A, MP4 and WebM), a folder (searched; subfolders are kept), or - for standard input. WAV in a
    pipe is encoded as it arrives. Title and comment are carried over.

    A file takes its bitrate to the byte: D seconds of a channel at R kbps are at most R * D / 8 kB
    and 64 bytes (28 from five seconds on). `rate` makes a file of any lower bitrate of it.
    """
    if as_json and output is not None and is_pipe(output):
        raise ConfigError("--json and -o - both need standard output")
    plan = plan_jobs(inputs, output, AUDIO_TO_EUL, skip_existing=skip_existing)

    from ..bitstream import Metadata  # here: a file that is not there is known without it

    try:
        metadata = Metadata(title=title, gain_db=gain)
    except BitstreamError as error:
        raise ConfigError(f"--title or --gain: {error}") from error
    options = given(
        bitrate_kbps=bitrate, n_codebooks=codebooks, beam=beam, frames_per_packet=packet,
        carry=carry, metadata=metadata,
    )  # fmt: skip
    share = min(jobs, len(plan))
    make_work = partial(_make_work, weights, threads, device, share, recover, options)
    ctx.exit(run_jobs(plan, make_work, verb="encode", as_json=as_json, n_processes=jobs))


def _make_work(
    weights: str | None,
    threads: int | None,
    device: str,
    share: int,
    recover: bool,
    options: dict[str, Any],
) -> Work:
    codec = load_codec(weights, threads, device, share)
    codec.streaming_encoder(**options)  # a wrong option is said once, not for every file

    def work(job: Job, progress: FileProgress) -> Result:
        report = codec.encode_file(
            job.source, job.target, recover=recover, make_folder=job.make_folder,
            progress=progress, **options,
        )  # fmt: skip
        return report.to_dict()

    return work
