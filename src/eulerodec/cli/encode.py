"""``eulerodec encode``: audio to ``.eul``."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from ..errors import BitstreamError, ConfigError
from ..files import is_pipe
from ._common import block_option, given, load_codec, weights_options
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
    default=6,
    show_default=True,
    help="kbps of each channel, a whole number from 1 to 12.",
)
@click.option(
    "--beam",
    type=int,
    metavar="N",
    help="Paths of the code search, 3 by default: more is slower and a little better. With 1, "
    "lowering the rate of a file gives the file encoded at that rate.",
)
@click.option(
    "--packet-frames",
    type=int,
    metavar="N",
    help="Frames of 11 ms in one packet: fewer for less delay, more for less overhead. "
    "By default 256 for files and 16 for live input.",
)
@click.option(
    "--entropy",
    is_flag=True,
    help="Pack the same codes into fewer bytes; the size then depends on the audio.",
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
@block_option
@weights_options
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
@click.pass_context
def encode(
    ctx: click.Context,
    inputs: tuple[str, ...],
    output: str | None,
    bitrate: float,
    beam: int | None,
    packet_frames: int | None,
    entropy: bool,
    title: str,
    gain: float,
    recover: bool,
    jobs: int,
    skip_existing: bool,
    block_frames: int | None,
    weights: str | None,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Encode audio files to .eul files.

    IN is audio of any rate and channel count (WAV, FLAC, Ogg, MP3, AIFF; with PyAV or ffmpeg also
    M4A, MP4 and WebM), a folder (searched; subfolders are kept), or - for standard input. WAV in a
    pipe is encoded as it arrives. Title and comment are carried over.
    """
    from ..bitstream import Metadata

    if as_json and output is not None and is_pipe(output):
        raise ConfigError("--json and -o - both need standard output")
    try:
        metadata = Metadata(title=title, gain_db=gain)
    except BitstreamError as error:
        raise ConfigError(f"--title or --gain: {error}") from error
    plan = plan_jobs(inputs, output, AUDIO_TO_EUL, skip_existing=skip_existing)
    options = given(
        bitrate_kbps=bitrate, beam=beam, frames_per_packet=packet_frames, entropy_coding=entropy,
        metadata=metadata, recover=recover, block_frames=block_frames,
    )  # fmt: skip
    make_work = partial(_make_work, weights, threads, device, min(jobs, len(plan)), options)
    ctx.exit(run_jobs(plan, make_work, verb="encode", as_json=as_json, n_processes=jobs))


def _make_work(
    weights: str | None, threads: int | None, device: str, share: int, options: dict[str, Any]
) -> Work:
    codec = load_codec(weights, threads, device, share)
    codec.n_codebooks_for(options["bitrate_kbps"])  # said once, not for every file

    def work(job: Job, progress: FileProgress) -> Result:
        report = codec.encode_file(
            job.source, job.target, make_folder=job.make_folder, progress=progress, **options
        )
        return report.to_dict()

    return work
