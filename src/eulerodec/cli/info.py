"""``eulerodec info``: what is in an ``.eul`` file, or in weights."""

from __future__ import annotations

import io
import os
from typing import Any

import click

from ..errors import BitstreamError
from ..files import is_pipe, naming
from ._common import open_stream, print_json


@click.command()
@click.argument("target", metavar="[FILE.eul|WEIGHTS]", required=False)
@click.option("--weights", metavar="DIR", help="Weights to describe.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@click.pass_context
def info(ctx: click.Context, target: str | None, weights: str | None, as_json: bool) -> None:
    """Describe an .eul file (checking all of it), or weights.

    Without an argument the bundled weights are described. A damaged file is described as far as it
    can be read, and the exit code is 3. Bitrates of a file are of one channel: what was asked for,
    and what its bytes are.
    """
    if target and _is_stream(target):
        facts = _stream_facts(target)
    else:
        facts = _weights_facts(target or weights)
    if as_json:
        print_json(facts)
    else:
        for key, value in _rows(facts):
            is_idle = key == "seconds_in_header" and not facts["damage"]
            if value and not is_idle and (key, value) != ("n_codebooks", "not known"):
                click.echo(f"{key:<20} " + value.replace("\n", "\n" + 21 * " "))
    if facts.get("damage"):
        raise BitstreamError(f"{target}: damaged: {facts['damage'][0]}")


def _is_stream(target: str) -> bool:
    """A name that ends in .eul is meant as a file, even if there is none."""
    named_so = target.lower().endswith(".eul") and not os.path.isdir(target)
    return is_pipe(target) or os.path.isfile(target) or named_so


def _stream_facts(target: str) -> dict[str, Any]:
    """Header and state of a file; needs no torch."""
    with open_stream(target) as stream, naming(target):
        from .. import bitstream  # here: a file that is not there is known without it

        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        reader = bitstream.EulReader(stream, recover=True)
        promised = reader.info.duration_s
        n_packets = n_lost = 0
        for packet in reader.packets():
            n_packets += 1
            n_lost += packet.lost
    head = reader.info
    measured = head.measured_kbps(size)
    return {
        "file": target,
        "bytes": size,
        "model_id": head.model_id,
        "codes_hash": head.weights_hash.hex(),
        "seconds": head.duration_s,
        "seconds_in_header": promised,
        "input_sample_rate": head.input_sample_rate,
        "samples": head.n_input_samples,
        "channels": head.n_channels,
        "coding": head.coding,
        "n_codebooks": head.n_codebooks,
        "bitrate_kbps": head.nominal_kbps / head.n_channels,
        "measured_kbps": None if measured is None else measured / head.n_channels,
        "model_sample_rate": head.sample_rate,
        "hop_length": head.hop_length,
        "frames": reader.n_frames,
        "packets": n_packets,
        "frames_per_packet": head.frames_per_packet,
        "parts": len(head.timeline.parts(reader.n_frames)),
        "title": head.metadata.title,
        "comment": head.metadata.comment,
        "gain_db": head.metadata.gain_db,
        "lost_packets": n_lost,
        "lost_seconds": reader.lost_s,
        "damage": [damage.message for damage in reader.damage],
    }


def _weights_facts(target: str | None) -> dict[str, Any]:
    from ..codec import Codec
    from ..codec.hub import locate
    from ..codec.weights import DEFAULT_WEIGHTS

    directory = locate(target or DEFAULT_WEIGHTS)
    return {"directory": str(directory)} | Codec.from_pretrained(directory).info.to_dict()


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Facts as text; nested ones are named by the way to them."""
    rows = []
    for key, value in facts.items():
        if isinstance(value, dict):
            rows += _rows({f"{key}.{inner}": item for inner, item in value.items()})
        elif isinstance(value, list | tuple):
            rows.append((key, " ".join(_text(item) for item in value) or "none"))
        else:
            rows.append((key, _text(value)))
    return rows


def _text(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
