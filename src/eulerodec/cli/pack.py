"""``eulerodec pack``: training audio, decoded once."""

from __future__ import annotations

import click


@click.command()
@click.argument("data", metavar="DATA...", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR", help="Output folder.")
@click.option(
    "--sample-rate",
    type=click.IntRange(1),
    default=24_000,
    show_default=True,
    metavar="HZ",
    help="Sample rate of the model to be trained.",
)
def pack(data: tuple[str, ...], out: str, sample_rate: int) -> None:
    """Decode training audio once, for `fit --data DIR` and `train --data DIR`.

    DATA are folders of audio or manifests. Several training processes need a packed cache.
    """
    from ..train import pack as write_cache

    write_cache(list(data), out, sample_rate=sample_rate)
