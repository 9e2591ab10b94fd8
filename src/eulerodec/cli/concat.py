"""``eulerodec concat``: ``.eul`` files one after the other, without encoding again."""

from __future__ import annotations

import contextlib

import click

from ..errors import ConfigError
from ..files import PIPE, is_pipe
from ._common import open_stream
from ._jobs import Job, Result, check_distinct, edit, run_jobs
from ._progress import FileProgress


@click.command()
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="OUT", help="File, or -.")
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
@click.pass_context
def concat(ctx: click.Context, inputs: tuple[str, ...], output: str, as_json: bool) -> None:
    """Join .eul files into one.

    Nothing is encoded again: the audio is that of the files, one after the other, without a gap.
    They must be made with the same weights, channels, input sample rate and frames of a packet, and
    --codebooks; bitrates may differ. Title and comment are those of the first.
    """
    from .. import bitstream

    if as_json and is_pipe(output):
        raise ConfigError("--json and -o - both need standard output")
    if inputs.count(PIPE) > 1:
        raise ConfigError("standard input (-) can be joined only once")
    for source in inputs:
        check_distinct(Job(source, output))

    def work(job: Job, progress: FileProgress) -> Result:
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(open_stream(name)) for name in inputs]
            return edit(
                job,
                lambda sink: bitstream.concat_files(streams, sink, names=inputs, progress=progress),
            )

    job = Job(" ".join(inputs), output)
    ctx.exit(run_jobs([job], lambda: work, verb="concat", as_json=as_json))
