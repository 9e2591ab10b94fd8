"""``eulerodec entropy-tables``: make the tables of the entropy coder for weights."""

from __future__ import annotations

import click


@click.command(name="entropy-tables")
@click.argument("weights", metavar="WEIGHTS")
@click.option(
    "--data", required=True, metavar="PATH", help="Audio: folder, .jsonl manifest or file."
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.1),
    default=60,
    show_default=True,
    help="Use at most this much audio.",
)
@click.option(
    "--steps", type=click.IntRange(1), default=1000, show_default=True, help="Training steps."
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads; all by default.")
def entropy_tables(
    weights: str, data: str, minutes: float, steps: int, threads: int | None
) -> None:
    """Fit the entropy coder to the codes of WEIGHTS on audio, for `encode --entropy`.

    Use audio that the weights were trained with. Writes entropy.safetensors into the directory of
    the weights; files that were coded with other tables need those.
    """
    from ..evaluate.clips import find_clips
    from ..train.entropy_tables import write_tables
    from ._progress import show_progress

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    with show_progress(1, "fit") as view:
        clips = [clip.path for clip in find_clips(data)[0]]
        path = write_tables(weights, clips, minutes=minutes, steps=steps, progress=view.file("fit"))
    click.echo(f"{path}  {path.stat().st_size} bytes")
