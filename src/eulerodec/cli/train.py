"""``eulerodec train``: weights from a recipe and audio."""

from __future__ import annotations

import click


@click.command()
@click.argument("recipe", metavar="RECIPE.toml")
@click.option("--out", required=True, metavar="DIR", help="Output folder.")
@click.option(
    "--data",
    multiple=True,
    metavar="PATH",
    help="Audio folder, manifest or packed cache, instead of the recipe's; repeatable.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Replace a setting of the recipe; repeatable.",
)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint in --out.")
@click.option("--init-from", metavar="WEIGHTS", help="Weights or checkpoint to start from.")
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="Stop after this many minutes of training.",
)
def train(
    recipe: str,
    out: str,
    data: tuple[str, ...],
    overrides: tuple[str, ...],
    resume: bool,
    init_from: str | None,
    time_limit: float | None,
) -> None:
    """Train weights as a recipe says.

    Stops cleanly at the time limit and on SIGTERM. For several processes:
    torchrun --nproc-per-node N -m eulerodec train RECIPE.toml ...
    """
    from ..train import run

    run(
        recipe,
        out=out,
        data=data,
        resume=resume,
        init_from=init_from,
        time_limit=time_limit,
        overrides=overrides,
    )
