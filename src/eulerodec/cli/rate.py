"""``eulerodec rate``: an ``.eul`` file at a lower bitrate, without encoding again."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import click

from ..errors import ConfigError
from ..files import is_pipe
from ._common import named, open_stream, tables_option
from ._jobs import Job, Result, edit, plan_jobs, run_jobs
from ._progress import FileProgress

if TYPE_CHECKING:
    from ..bitstream import StreamInfo


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
    made; at other rates it is nearly as good. IN is an .eul file, a folder (searched, its tree is
    kept), or - for standard input.
    """
    from .. import bitstream

    if as_json and is_pipe(output):
        raise ConfigError("--json and -o - both need standard output")
    jobs = plan_jobs(inputs, output, suffixes={".eul"}, new_suffix=".eul")

    def work(job: Job, progress: FileProgress) -> Result:
        with open_stream(job.source) as stream, named(job.source):
            stages = _stages(bitstream.EulReader(stream).info, bitrate, job.source)
            stream.seek(0)
            if len(jobs) > 1:
                job.make_folder()
            return edit(job, lambda sink: bitstream.drop_stages_file(stream, sink, stages))

    ctx.exit(run_jobs(jobs, work, verb="rate", as_json=as_json))


def _stages(info: StreamInfo, bitrate_kbps: float, name: str) -> int:
    """Stages of a bitrate. Errors: :class:`ConfigError` that names those of the file."""
    step = Fraction(info.codebook_bits * info.sample_rate, info.hop_length * 1000)
    for stages in range(1, info.n_codebooks + 1):
        if abs(float(stages * step) - bitrate_kbps) < 1e-6:
            return stages
    known = ", ".join(f"{float(k * step):g}" for k in range(1, info.n_codebooks + 1))
    raise ConfigError(f"{name}: bitrate {bitrate_kbps:g} kbps is not in the file, it has {known}")
