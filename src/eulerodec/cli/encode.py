"""``eulerodec encode``: audio to ``.eul``."""

from __future__ import annotations

import click

from ..errors import BitstreamError, ConfigError
from ..files import is_pipe
from ._common import block_option, weights_options
from ._jobs import Job, Result, plan_jobs, run_jobs
from ._progress import FileProgress


@click.command()
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="File, folder for several inputs, or -."
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
    type=click.IntRange(1, 64),
    metavar="N",
    help="Paths of the code search, 3 by default: more is slower and a little better; with 1, a "
    "file cut to fewer stages is the same as one encoded with so many.",
)
@click.option(
    "--packet-frames",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Frames of 11 ms in one packet: fewer for less delay, more for less overhead. "
    "By default 256 for files and 16 for live input.",
)
@click.option(
    "--entropy",
    is_flag=True,
    help="Smaller files with the same codes; the size then depends on the audio.",
)
@click.option("--title", default="", metavar="TEXT", help="Title in the header.")
@click.option(
    "--gain",
    type=float,
    default=0.0,
    metavar="DB",
    help="Gain in the header, for players; `decode --apply-gain` applies it.",
)
@block_option
@weights_options
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
@click.pass_context
def encode(
    ctx: click.Context,
    inputs: tuple[str, ...],
    output: str,
    bitrate: float,
    beam: int | None,
    packet_frames: int,
    entropy: bool,
    title: str,
    gain: float,
    block_frames: int | None,
    weights: str | None,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Encode audio files to .eul files.

    IN is audio of any rate and channel count (WAV, FLAC, Ogg, MP3, AIFF), a folder (searched, its
    tree is kept), or - for standard input. WAV in a pipe is encoded as it arrives.
    """
    from ..audio import AUDIO_SUFFIXES
    from ..bitstream import Metadata

    if as_json and is_pipe(output):
        raise ConfigError("--json and -o - both need standard output")
    try:
        metadata = Metadata(title=title, gain_db=gain)
    except BitstreamError as error:
        raise ConfigError(f"--title or --gain: {error}") from error
    jobs = plan_jobs(inputs, output, suffixes=AUDIO_SUFFIXES, new_suffix=".eul")

    from ..codec.files import encode_file
    from ._common import load_codec

    codec = load_codec(weights, threads, device)
    stages = codec.n_codebooks_for(bitrate)  # a wrong bitrate is said once, not for every file

    def work(job: Job, progress: FileProgress) -> Result:
        return encode_file(
            codec, job.source, job.target, stages, beam=beam, packet_frames=packet_frames,
            entropy=entropy, metadata=metadata, block_frames=block_frames,
            make_folder=len(jobs) > 1, progress=progress,
        )  # fmt: skip

    ctx.exit(run_jobs(jobs, work, verb="encode", as_json=as_json))
