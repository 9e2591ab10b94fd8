"""``eulerodec export``: the network as ONNX graphs."""

from __future__ import annotations

import click


@click.command()
@click.argument("weights", required=False)
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder of the files.")
def export(weights: str | None, output: str) -> None:
    """Write the network as ONNX graphs, for programs without torch.

    WEIGHTS is a name or a directory; bundled ones by default. Makes analysis.onnx, decoder.onnx,
    codes.safetensors and onnx.json in DIR, in a minute or two. Needs pip install
    'eulerodec[export]'.
    """
    from ..export import export_onnx
    from ._common import load_codec

    for path in export_onnx(load_codec(weights, None, "cpu"), output):
        click.echo(f"{path}  {path.stat().st_size} bytes")
