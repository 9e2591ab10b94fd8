"""``eulerodec demo``: hear and see what the codec does."""

from __future__ import annotations

import click

from ._common import print_json


@click.command()
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--out", default="demo_out", show_default=True, metavar="DIR", help="Output folder.")
@click.option("--weights", metavar="DIR", help="Directory or name of weights; bundled by default.")
@click.option("--json", "as_json", is_flag=True, help="The table as JSON.")
def demo(file: str | None, out: str, weights: str | None, as_json: bool) -> None:
    """Hear a clip of speech at 12, 6, 3 and 1.5 kbps.

    Encodes a bundled clip, or the first 30 s of your FILE, at 12 kbps, and cuts the lower rates out
    of that file. Writes the audio, the .eul files and a picture of spectrograms and phase errors,
    and prints sizes, quality, and times of one CPU thread.
    """
    from ._demo import run, table

    def note(text: str) -> None:
        click.echo(text, err=True)

    result = run(file, out, weights, note=note)
    if as_json:
        print_json(result)
        return
    click.echo(table(result))
    click.echo("wrote " + " ".join(result["files"]))
