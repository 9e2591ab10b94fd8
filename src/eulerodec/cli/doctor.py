"""``eulerodec doctor``: does this installation compute what it should."""

from __future__ import annotations

import click

from ..errors import ConfigError
from ._common import print_json, weights_options


@click.command()
@weights_options
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option(
    "--write-golden",
    is_flag=True,
    help="Write the golden files of --weights DIR instead.",
)
@click.pass_context
def doctor(
    ctx: click.Context,
    weights: str | None,
    threads: int | None,
    device: str,
    as_json: bool,
    write_golden: bool,
) -> None:
    """Check this installation: codes and audio of a clip against golden ones.

    Also against themselves: through a file, in a stream, in a batch, with other threads and block
    sizes. Prints "ok" where all is the same to the bit, "within tolerance" where only rounding
    differs, "failed" otherwise; then the exit code is 1.
    """
    from ..codec import selftest as work
    from ..codec.weights import DEFAULT_WEIGHTS

    if write_golden:
        if weights is None:
            raise ConfigError("--write-golden needs --weights DIR")
        for path in work.write_golden(weights):
            click.echo(f"wrote {path}")
        return
    report = work.examine(weights or DEFAULT_WEIGHTS, device=device, threads=threads)
    if as_json:
        print_json(report)
    else:
        click.echo(work.table(report))
    if not report["ok"]:
        failed = [c["name"] for c in report["checks"] if c["status"] == work.FAILED]
        click.echo(f"error: failed: {', '.join(failed)}", err=True)
        ctx.exit(1)
