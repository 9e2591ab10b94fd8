"""``eulerodec codebooks``: how the codes of every stage are used."""

from __future__ import annotations

import click


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
@click.option("--threads", type=click.IntRange(1), help="CPU threads; all by default.")
def codebooks(
    weights: str, data: str, out: str, limit_per_set: int | None, threads: int | None
) -> None:
    """Show how the codes of WEIGHTS are used on audio: share, entropy, predictability.

    Writes codebooks.csv and codebooks.png. 'order 0' and 'order 1' are the bits per code that an
    entropy coder would need for one half of the clips with tables from the other half.
    """
    from ..evaluate.codebooks import run
    from ._progress import show_progress

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    with show_progress(1, "encode") as view:
        step = view.file("encode")
        stats, files = run(
            weights,
            data,
            out,
            limit_per_set=limit_per_set or 0,
            progress=lambda done, total: step(done / total),
        )
    click.echo(f"{stats[0].codes} frames, {stats[0].bits:g} bits a code as stored")
    click.echo("stage   used   dead  perplexity  entropy  order 0  order 1")
    for s in stats:
        click.echo(
            f"{s.stage:>5}  {s.used:>5}  {s.dead:>5}  {s.perplexity:>10.1f}  {s.entropy:>7.3f}"
            f"  {s.coded_order0:>7.3f}  {s.coded_order1:>7.3f}"
        )
    stored = sum(s.bits for s in stats)
    best = sum(min(s.bits, s.coded_order0, s.coded_order1) for s in stats)
    click.echo(f"all stages: {stored:g} bits as stored, {best:.1f} with the best coder of each")
    for file in files:
        click.echo(file)
