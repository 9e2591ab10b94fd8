"""``eulerodec cut``: a part of an ``.eul`` file, without encoding again."""

from __future__ import annotations

from fractions import Fraction

import click

from ..errors import ConfigError
from ..files import is_pipe, naming
from ._common import open_stream
from ._jobs import Job, Result, check_distinct, edit, run_jobs
from ._progress import FileProgress
from ._times import Seconds


@click.command()
@click.argument("source", metavar="IN")
@click.option("-o", "--output", required=True, metavar="OUT", help="File, or -.")
@click.option("--from", "start", type=Seconds(), default="0", help="Start: seconds or H:MM:SS.")
@click.option("--to", "stop", type=Seconds(), help="End; the end of the file by default.")
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
@click.pass_context
def cut(
    ctx: click.Context,
    source: str,
    output: str,
    start: Fraction,
    stop: Fraction | None,
    as_json: bool,
) -> None:
    """Cut a part out of an .eul file.

    Nothing is encoded again: the part decodes to the same samples as the whole file, from the
    sample nearest to --from to the one nearest to --to. For this it keeps about a second more than
    is heard. IN may be - for standard input.
    """
    from .. import bitstream
    from ..audio import sample_range

    if as_json and is_pipe(output):
        raise ConfigError("--json and -o - both need standard output")

    def work(job: Job, progress: FileProgress) -> Result:
        with open_stream(job.source) as stream, naming(job.source):
            rate = bitstream.EulReader(stream).info.input_sample_rate
            stream.seek(0)
            first, last = sample_range(start, stop, rate)
            return edit(job, lambda sink: bitstream.cut_file(stream, sink, first, last))

    job = Job(source, output)
    check_distinct(job)
    ctx.exit(run_jobs([job], lambda: work, verb="cut", as_json=as_json))
