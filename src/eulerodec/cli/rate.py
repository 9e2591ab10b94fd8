"""``eulerodec rate``: an ``.eul`` file at a lower bitrate, without encoding again."""

from __future__ import annotations

import click

from ..errors import ConfigError
from ..files import is_pipe, naming
from ._common import open_stream, tables_option
from ._jobs import EUL_TO_EUL, Job, Result, edit, plan_jobs, run_jobs
from ._progress import FileProgress


@click.command()
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="File, folder for several inputs, or -."
)
@click.option("--bitrate", type=float, required=True, help="kbps of each channel.")
@tables_option
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
@click.pass_context
def rate(
    ctx: click.Context, inputs: tuple[str, ...], output: str, bitrate: float, as_json: bool
) -> None:
    """Lower the bitrate of .eul files by dropping stages.

    Nothing is encoded again. From 12 to 6 kbps the result is the file that encoding at 6 would have
    made; at other rates it is nearly as good. IN is an .eul file, a folder (searched; subfolders
    are kept), or - for standard input.
    """
    from .. import bitstream
    from ..codec.rates import kbps_per_stage, stages_for

    if as_json and is_pipe(output):
        raise ConfigError("--json and -o - both need standard output")
    jobs = plan_jobs(inputs, output, EUL_TO_EUL)

    def work(job: Job, progress: FileProgress) -> Result:
        with open_stream(job.source) as stream, naming(job.source):
            info = bitstream.EulReader(stream).info
            step = kbps_per_stage(info.sample_rate, info.hop_length, info.codebook_bits)
            stages = stages_for(bitrate, step, info.n_codebooks, owner="the file")
            stream.seek(0)
            return edit(job, lambda sink: bitstream.drop_stages_file(stream, sink, stages))

    ctx.exit(run_jobs(jobs, lambda: work, verb="rate", as_json=as_json))
