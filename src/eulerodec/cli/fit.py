"""``eulerodec fit``: codes for a model, from audio."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="CACHE",
    help="Packed cache, folder of audio or manifest; repeatable.",
)
@click.option("--out", required=True, metavar="DIR", help="Output folder.")
@click.option(
    "--recipe",
    metavar="RECIPE.toml",
    help="Take sample rate and transform from its [model], and what to hold out from its [data].",
)
@click.option(
    "--packets",
    type=click.IntRange(1),
    default=14_000,
    show_default=True,
    metavar="N",
    help="Packets of a second to fit to.",
)
@click.option(
    "--codebook-size",
    type=click.IntRange(256, 65_536),
    default=2048,
    show_default=True,
    metavar="N",
    help="Codes of a stage, a power of two.",
)
def fit(
    data: tuple[str, ...], out: str, recipe: str | None, packets: int, codebook_size: int
) -> None:
    """Fit the codes of a new model to audio, about an hour on one core.

    Writes codes.safetensors into DIR. Then train a decoder for them:
    eulerodec train RECIPE.toml --set model.codes=DIR ...
    """
    from ..train.fit import FitSizes, write_codes
    from ..train.recipe import Recipe, load_recipe, with_changes
    from ._progress import show_progress

    settings = load_recipe(recipe) if recipe else Recipe()
    settings = with_changes(settings, "data", paths=list(data))
    sizes = FitSizes(codebook_size=codebook_size).of_packets(packets)
    with show_progress(1, "fit") as view:
        path = write_codes(settings, out, sizes, progress=view.file("fit"))
    click.echo(f"{path}  {path.stat().st_size} bytes")
