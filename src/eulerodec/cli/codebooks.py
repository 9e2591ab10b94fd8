"""``eulerodec codebooks``: how the codes of every stage are used."""

from __future__ import annotations

import click

from ._common import threads_option


@click.command()
@click.argument("weights", metavar="WEIGHTS")
@click.option(
    "--data", required=True, metavar="PATH", help="Audio: folder, .jsonl manifest or file."
)
@click.option(
    "--out", default="codebooks_out", show_default=True, metavar="DIR", help="Output folder."
)
@click.option(
    "--limit-per-set", type=click.IntRange(1), metavar="N", help="At most N clips per set."
)
@click.option("--bitrate", type=float, metavar="KBPS", help="Of the codes; 6 by default.")
@threads_option
def codebooks(
    weights: str,
    data: str,
    out: str,
    limit_per_set: int | None,
    bitrate: float | None,
    threads: int | None,
) -> None:
    """Show how the codes of WEIGHTS are used on audio: share, entropy, and what they cost.

    Writes codebooks.csv and codebooks.png. 'coded' are the bits per code that files take.
    """
    from ..codec.threads import set_threads
    from ..evaluate.codebooks import run
    from ._progress import show_progress

    set_threads(threads)
    with show_progress(1, "encode") as view:
        step = view.file("encode")
        stats, files = run(
            weights,
            data,
            out,
            bitrate_kbps=bitrate,
            limit_per_set=limit_per_set or 0,
            progress=lambda done, total: step(done / total),
        )
    click.echo("  kind stage    codes   used   dead  perplexity  entropy  coded")
    for s in stats:
        click.echo(
            f"{s.kind} {s.stage:>5} {s.codes:>8}  {s.used:>5}  {s.dead:>5}  {s.perplexity:>10.1f}"
            f"  {s.entropy:>7.3f} {s.coded:>6.3f}"
        )
    n_codes = sum(s.codes for s in stats)
    coded = sum(s.coded * s.codes for s in stats) / n_codes
    click.echo(f"{n_codes} codes, {coded:.2f} bits each; {stats[0].bits:g} in the constant coding")
    for file in files:
        click.echo(file)
