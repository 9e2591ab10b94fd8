"""``eulerodec evaluate``: measure codecs against each other."""

from __future__ import annotations

from typing import Any

import click

from ..evaluate import DEFAULT_SYSTEMS


def _names(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in value.split(","))))


@click.command()
@click.argument("clips", metavar="[CLIPS]", required=False)
@click.option("--out", required=True, metavar="DIR", help="Output folder.")
@click.option(
    "--systems",
    default=DEFAULT_SYSTEMS,
    show_default=True,
    metavar="LIST",
    help="Systems to measure, comma-separated.",
)
@click.option(
    "--baseline", default="", metavar="SYSTEM", help="System to compare with; the first by default."
)
@click.option(
    "--metrics",
    default="",
    callback=_names,
    metavar="LIST",
    help="Metrics to compute; all by default.",
)
@click.option("--lyra-models", metavar="DIR", help="Folder of Lyra v2's .tflite files.")
@click.option(
    "--limit-per-set", type=click.IntRange(1), metavar="N", help="At most N clips per set."
)
@click.option(
    "--in-domain", default="", callback=_names, metavar="LIST", help="Sets that count as in-domain."
)
@click.option(
    "--listen",
    type=click.IntRange(0),
    default=4,
    show_default=True,
    help="Clips with players in the report.",
)
@click.option(
    "--jobs", type=click.IntRange(1), default=2, show_default=True, help="Processes, 1 thread each."
)
@click.option("--markdown", metavar="FILE", help="Also write the main tables as Markdown.")
def evaluate(clips: str | None, out: str, jobs: int, listen: int, **options: Any) -> None:
    """Measure codecs on CLIPS; write a table, a summary and a report with players.

    CLIPS is a folder (whose subfolders are the sets), a .jsonl manifest or a file; the bundled clip
    by default. Run a stopped evaluation again to resume it.

    \b
    Systems, as KIND:KBPS or KIND:KBPS:OPTIONS, or NAME=KIND:KBPS:
      eulerodec:6 eulerodec:7.3:beam=8 DIR:6    bundled weights, weights or checkpoint in DIR
      eulerodec:12:cut=6 eulerodec:6:constant   a file of 12 kbps cut to 6; codes as tokens
      opus:12 opus:12:cbr opus:12:speech        opusenc and opusdec
      amrwb:12.65 codec2:3.2 lyra:6             ffmpeg, c2enc, --lyra-models
      reference                                 the clip itself: the best a metric can give
    """
    from ..evaluate.evaluation import evaluate as run
    from ..samples import SAMPLE
    from ._progress import show_progress

    with show_progress(1, "evaluate") as view:
        step = view.file("evaluate")

        def progress(done: int, total: int, name: str) -> None:
            step(done / total)
            if done == total or done % max(1, total // 20) == 0:
                view.line(f"{done}/{total}  {name}")

        result = run(
            clips or SAMPLE,
            options["systems"],
            out,
            baseline=options["baseline"],
            metric_names=options["metrics"],
            lyra_models=options["lyra_models"],
            limit_per_set=options["limit_per_set"] or 0,
            in_domain=options["in_domain"],
            listen=listen,
            jobs=jobs,
            markdown=options["markdown"],
            note=view.line,
            progress=progress,
        )
    click.echo(
        f"{result.rows} rows ({result.new} new), {result.failures} values failed,"
        f" {len(result.absent)} systems absent, {len(result.missing)} metrics missing"
    )
    for path in (result.table, result.summary, result.report):
        click.echo(path)
