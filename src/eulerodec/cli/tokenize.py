"""``eulerodec tokenize``: a corpus to shards of codes."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import click

from ._common import load_codec, print_json, weights_options


@click.command()
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder of the job.")
@click.option(
    "--codebooks",
    type=int,
    default=8,
    show_default=True,
    metavar="K",
    help="Codes of 11 bits for each frame of 11 ms.",
)
@click.option("--beam", type=int, metavar="N", help="Paths of the code search.")
@click.option(
    "--channels",
    type=click.Choice(("mix", "each")),
    default="mix",
    show_default=True,
    help="Code the mean of all channels, or each in a row of its own.",
)
@click.option(
    "--shard-clips",
    type=int,
    default=1000,
    show_default=True,
    metavar="N",
    help="Most clips of a shard: what a stop may cost.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes, which share the CPU threads.",
)
@weights_options
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
def tokenize(
    inputs: tuple[str, ...],
    output: str,
    codebooks: int,
    beam: int | None,
    channels: str,
    shard_clips: int,
    workers: int,
    weights: str | None,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Code a corpus for language models: Parquet shards of codes, with a manifest.

    INPUT is an audio file, a folder (searched for audio, .tar and .parquet), a manifest (.csv or
    .jsonl with a path), a tar as of WebDataset, or a Parquet file with a column of audio.

    The same command goes on where it was stopped, with each clip in one shard. Clips that cannot be
    read are listed in skipped.jsonl.
    """
    from ..tokens.job import tokenize as run

    start = time.perf_counter()
    report = run(
        inputs, output, partial(load_codec, weights, threads, device, workers),
        n_codebooks=codebooks, beam=beam, channels=channels, shard_clips=shard_clips,
        workers=workers, progress=_show,
    )  # fmt: skip
    elapsed = time.perf_counter() - start
    if as_json:
        print_json(vars(report) | {"elapsed_s": elapsed})
        return
    click.echo(
        f"{output}: {report.clips} clips in {report.shards} shards, {report.seconds / 3600:.3f} h,"
        f" {report.bytes} bytes, {report.skipped} skipped"
    )


def _show(record: dict[str, Any]) -> None:
    for clip in record["skipped"]:
        click.echo(f"skipped {clip['source']} {clip['key']}: {clip['reason']}", err=True)
    click.echo(
        f"{record['file']}  {record['clips']} clips, {record['seconds'] / 3600:.3f} h,"
        f" {record['bytes']} bytes",
        err=True,
    )
