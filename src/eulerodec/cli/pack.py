"""``eulerodec pack``: training audio, decoded once."""

from __future__ import annotations

import click


@click.command()
@click.argument("data", metavar="DATA...", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR", help="Folder of the packed cache.")
@click.option(
    "--sample-rate",
    type=click.IntRange(1),
    default=24_000,
    show_default=True,
    metavar="HZ",
    help="Rate of the model that will be trained.",
)
def pack(data: tuple[str, ...], out: str, sample_rate: int) -> None:
    """Decode training audio once, for `train --data DIR`.

    DATA are folders of audio or manifests. Several training processes need a packed cache.
    """
    from ..train import pack as write_cache

    write_cache(list(data), out, sample_rate=sample_rate)
