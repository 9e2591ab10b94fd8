"""``eulerodec pack``: training audio, decoded once."""

from __future__ import annotations

import click


@click.command()
@click.argument("data", metavar="DATA...", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR", help="Folder of the packed cache.")
def pack(data: tuple[str, ...], out: str) -> None:
    """Decode training audio once, for `train --data DIR`.

    DATA are folders of audio or manifests. Several training processes need a packed cache.
    """
    from ..train import pack as write_cache

    write_cache(list(data), out)
