"""``eulerodec detokenize``: shards of codes to audio."""

from __future__ import annotations

import click

from ._common import load_codec, weights_options


@click.command()
@click.argument("source", metavar="DIR")
@click.option("-o", "--output", required=True, metavar="OUT", help="Folder for WAV files.")
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="Only the first N clips; all by default."
)
@weights_options
def detokenize(
    source: str,
    output: str,
    limit: int | None,
    weights: str | None,
    threads: int | None,
    device: str,
) -> None:
    """Decode what `tokenize` wrote: DIR is the folder of a job, or one shard of it."""
    from ..tokens.detokenize import detokenize as run

    codec = load_codec(weights, threads, device)
    done = run(source, output, codec, limit=limit, progress=lambda path: click.echo(path, err=True))
    click.echo(f"{output}: {done} files")
