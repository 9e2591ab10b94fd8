"""``eulerodec rate``: an ``.eul`` file at a lower bitrate, without encoding again."""

from __future__ import annotations

import click

from ..errors import ConfigError
from ..files import is_pipe, naming, open_input
from ._common import lower_rate_options
from ._jobs import EUL_TO_EUL, Job, Result, edit, plan_jobs, run_jobs
from ._progress import FileProgress


@click.command()
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="File, folder for several inputs, or -."
)
@lower_rate_options
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
@click.pass_context
def rate(
    ctx: click.Context,
    inputs: tuple[str, ...],
    output: str,
    bitrate: float | None,
    codebooks: int | None,
    as_json: bool,
) -> None:
    """Lower the bitrate of .eul files.

    Nothing is encoded again: packets are cut, and a file that is at that rate already stays as it
    is. Of files with a constant number of codebooks, those are kept that fit into the bitrate. IN
    is an .eul file, a folder (searched; subfolders are kept), or - for standard input.
    """
    if as_json and is_pipe(output):
        raise ConfigError("--json and -o - both need standard output")
    if (bitrate is None) == (codebooks is None):
        raise ConfigError("give either --bitrate or --codebooks")
    jobs = plan_jobs(inputs, output, EUL_TO_EUL)

    from .. import bitstream  # here: a file that is not there is known without it

    def work(job: Job, progress: FileProgress) -> Result:
        what, error = EUL_TO_EUL.what, EUL_TO_EUL.error
        with open_input(job.source, what, error) as stream, naming(job.source):
            return edit(
                job,
                lambda sink: bitstream.lower_rate(stream, sink, bitrate, n_codebooks=codebooks),
            )

    ctx.exit(run_jobs(jobs, lambda: work, verb="rate", as_json=as_json))
