"""Quality against packet loss, beside Opus with its own concealment on the same loss in time.

    python benchmarks/packet_loss.py                                    # the bundled clip
    python benchmarks/packet_loss.py --clips eval.jsonl --sets libritts --limit 8 \
        --write docs/packets.md

Time is cut in slots of 20 ms, which are lost by themselves or in bursts (Gilbert-Elliott), with a
seed for each clip. A packet is lost if it starts in a lost slot. Opus (libopus, mono, 20 ms, VBR,
VOIP, complexity 10, told the loss rate, without in-band FEC) has a packet for each slot; packets of
EuleroDec have --packet-frames frames (4 are 44 ms). The kbps are those of payloads, all
redundancy included, packet headers not; both codecs need such headers.

Systems: ``own``; ``silence``, the same with silence for what is lost; ``redundant``, a share of the
bitrate (--redundancy) given up to repeat the beginning of the packet before; ``opus``. Measures,
means over clips: PESQ-WB and ESTOI at 16 kHz, SI-SDR at 24 kHz in dB (``pip install '.[eval]'``).
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from libopus import FRAME_MS, LibOpus
from numpy.typing import NDArray
from torch import Tensor

from eulerodec import Codec, EuleroDec, ModelConfig, audio
from eulerodec.codec.concealment import SILENCE, ConcealmentState
from eulerodec.codec.frames import unstacked
from eulerodec.codec.weights import DEFAULT_WEIGHTS, load_codes
from eulerodec.errors import EuleroDecError
from eulerodec.evaluate.align import align
from eulerodec.evaluate.clips import Clip, find_clips, read_clip
from eulerodec.files import write_bytes
from eulerodec.metrics import si_sdr
from eulerodec.metrics.perceptual import RATE, estoi, pesq_wb
from eulerodec.packets import (
    DEFAULT_PACKET_FRAMES,
    HEADER_SIZE,
    PacketDecoder,
    PacketEncoder,
    burst_loss,
    uniform_loss,
)
from eulerodec.samples import SAMPLE

Signal = NDArray[np.float32]
Coder = Callable[[NDArray[np.bool_], float], tuple[Signal, float]]

SAMPLE_RATE = 24_000
MEASURES = {"pesq_wb": "PESQ-WB", "estoi": "ESTOI", "si_sdr": "SI-SDR (dB)"}
NAMES = {
    "own": "EuleroDec",
    "silence": "EuleroDec, silence for what is lost",
    "redundant": "EuleroDec, {:.0%} of it repeats",
    "opus": "Opus",
}
MARKS = ("<!-- packet loss -->", "<!-- /packet loss -->")


def silence(x: Tensor, _state: ConcealmentState, n_bands: int) -> Tensor:
    """In place of a concealer: nothing where a frame is lost."""
    lost = torch.tensor(unstacked(x, n_bands)[1])
    x = x * ~lost
    x[:, -n_bands - 3 : -3] += SILENCE * lost
    return x


def own_coder(
    codec: Codec, wav: Signal, kbps: float, repeated: float, frames: int, silent: bool
) -> Coder:
    """A function from lost slots to the decoded clip and the kbps of all bytes but the headers.

    ``repeated``: share of the bitrate for bytes of the packet before.
    """
    hop, model = codec.model.hop_length, codec.model
    encoder = PacketEncoder(
        codec,
        bitrate_kbps=kbps * (1 - repeated),
        redundancy=round(kbps * repeated * 125 * frames * hop / SAMPLE_RATE),
        packet_frames=frames,
    )
    packets = [*encoder.push(wav), *encoder.flush()]
    measured = sum(len(p) - HEADER_SIZE for p in packets) * 8e-3 / (len(wav) / SAMPLE_RATE)
    total = model.n_frames(len(wav))
    starts = np.arange(len(packets)) * frames * hop * 1000 // (SAMPLE_RATE * FRAME_MS)

    def code(lost: NDArray[np.bool_], _rate: float) -> tuple[Signal, float]:
        decoder = PacketDecoder(codec, depth=1)
        if silent:  # what a decoder without concealment would be given
            instead = partial(silence, n_bands=model.bands.count)
            decoder._decoder._conceal = instead  # pyright: ignore[reportAttributeAccessIssue]
        parts = [decoder.push(p) for p, at in zip(packets, starts, strict=True) if not lost[at]]
        missed = decoder.first_frame or 0
        parts.append(decoder.flush(total - missed))
        y = np.concatenate([np.zeros(missed * hop, np.float32), torch.cat(parts, 1)[0].numpy()])
        return y[: len(wav)], measured

    return code


def opus_coder(opus: LibOpus, wav: Signal, kbps: float) -> Coder:
    def code(lost: NDArray[np.bool_], rate: float) -> tuple[Signal, float]:
        packets, late = opus.encode(wav, kbps, rate)
        y = opus.decode([None if lost[k] else p for k, p in enumerate(packets)])[late:]
        measured = sum(map(len, packets)) * 8e-3 / (len(wav) / SAMPLE_RATE)
        return align(wav, y, SAMPLE_RATE)[0], measured

    return code


def score(wav: Signal, y: Signal) -> dict[str, float]:
    y = np.pad(y, (0, len(wav) - len(y)))
    low, low_y = (audio.resample(x[None], SAMPLE_RATE, RATE)[0] for x in (wav, y))
    return {"pesq_wb": pesq_wb(low, low_y), "estoi": estoi(low, low_y), "si_sdr": si_sdr(wav, y)}


def conditions(args: argparse.Namespace) -> list[tuple[str, float, bool]]:
    """Title, rate and whether it comes in bursts."""
    return [
        *((f"{rate:g} %", rate / 100, False) for rate in args.losses),
        *((f"{rate:g} %, bursts", rate / 100, True) for rate in args.bursts),
    ]


def slots_lost(n: int, rate: float, in_bursts: bool, burst_ms: float, seed: int) -> Any:
    if in_bursts:
        return burst_loss(n, rate, burst_ms / FRAME_MS, seed)
    return uniform_loss(n, rate, seed)


def measure(
    codec: Codec, opus: LibOpus | None, clips: list[Clip], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """One row for each system, bitrate and kind of loss, averaged over the clips."""
    sums: dict[tuple[int, str, str], list[dict[str, float]]] = {}
    for seed, clip in enumerate(clips):
        wav = read_clip(clip)[: round(args.seconds * SAMPLE_RATE)]
        n_slots = len(wav) * 1000 // (SAMPLE_RATE * FRAME_MS) + 10
        for kbps in args.bitrates:
            for system, coder in coders(codec, opus, wav, kbps, args):
                for title, rate, in_bursts in conditions(args):
                    lost = slots_lost(n_slots, rate, in_bursts, args.burst_ms, seed)
                    y, measured = coder(lost, rate)
                    row = score(wav, y) | {"kbps": measured, "lost": float(lost.mean())}
                    sums.setdefault((kbps, system, title), []).append(row)
        print(f"{seed + 1} of {len(clips)} clips", file=sys.stderr)
    return [
        {"bitrate": kbps, "system": system, "loss": title}
        | {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        for (kbps, system, title), rows in sums.items()
    ]


def coders(
    codec: Codec, opus: LibOpus | None, wav: Signal, kbps: int, args: argparse.Namespace
) -> list[tuple[str, Coder]]:
    found = []
    for system in args.systems:
        if system == "opus":
            if opus is not None:
                found.append((NAMES[system], opus_coder(opus, wav, kbps)))
            continue
        repeated = args.redundancy if system == "redundant" else 0.0
        coder = own_coder(codec, wav, kbps, repeated, args.packet_frames, system == "silence")
        found.append((NAMES[system].format(repeated), coder))
    return found


def tables(rows: list[dict[str, Any]], head: str) -> str:
    """Markdown: a table for each measure, a line for each system, a column for each loss."""
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    lines = [head, ""]
    rates = {row["loss"]: 100 * row["lost"] for row in rows}
    for measure_name, title in MEASURES.items():
        lines += [
            f"| {title} | kbps | " + " | ".join(losses) + " |",
            "|---|---:|" + "---:|" * len(losses),
        ]
        for kbps, system in dict.fromkeys((row["bitrate"], row["system"]) for row in rows):
            mine = {r["loss"]: r for r in rows if (r["bitrate"], r["system"]) == (kbps, system)}
            digits = 1 if measure_name == "si_sdr" else 2 if measure_name == "pesq_wb" else 3
            values = [f"{mine[loss][measure_name]:.{digits}f}" for loss in losses]
            measured = mine[losses[0]]["kbps"]
            lines.append(f"| {system} | {measured:.1f} | " + " | ".join(values) + " |")
        lines.append("")
    lost = ", ".join(f"{rates[loss]:.1f}" for loss in losses)
    return "\n".join([*lines, f"Slots that were lost, in the same order: {lost} %."])


def write_between_marks(path: Path, text: str) -> None:
    page = path.read_text(encoding="utf-8")
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    write_bytes(path, f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}".encode())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=Path, default=SAMPLE, help="folder, .jsonl list or file")
    parser.add_argument("--sets", nargs="+", help="only these sets of the list")
    parser.add_argument("--limit", type=int, default=8, help="clips of each set, 0 for all")
    parser.add_argument("--seconds", type=float, default=6, help="of each clip, from its start")
    parser.add_argument("--bitrates", type=int, nargs="+", default=[6, 12], help="kbps")
    parser.add_argument("--losses", type=float, nargs="+", default=[0, 1, 3, 5, 10], help="percent")
    parser.add_argument("--bursts", type=float, nargs="*", default=[5, 10], help="percent")
    parser.add_argument("--burst-ms", type=float, default=60, help="mean length of a burst")
    parser.add_argument("--packet-frames", type=int, default=DEFAULT_PACKET_FRAMES)
    parser.add_argument("--redundancy", type=float, default=0.25, help="share of the bitrate")
    parser.add_argument("--systems", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--libopus", default="", metavar="FILE", help="the system's by default")
    parser.add_argument("--opus-complexity", type=int, default=0, help="of the decoder, 5: neural")
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS, help="name or directory")
    parser.add_argument("--tiny", action="store_true", help="a very small random model, for tests")
    parser.add_argument("--json", action="store_true", help="numbers as JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables in a page")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore", RuntimeWarning)  # a clip too short for ESTOI
    try:
        codec = (
            Codec(EuleroDec(ModelConfig.tiny(), load_codes(DEFAULT_WEIGHTS)), name="tiny")
            if args.tiny
            else Codec.from_pretrained(args.weights)
        )
        opus = None
        if "opus" in args.systems:
            opus = LibOpus(SAMPLE_RATE, args.libopus, args.opus_complexity)
        clips, _ = find_clips(args.clips, args.limit)
        clips = [clip for clip in clips if not args.sets or clip.set in args.sets]
        if not clips:
            parser.error(f"--sets: {args.clips} has no clips of {', '.join(args.sets)}")
        rows = measure(codec, opus, clips, args)
    except EuleroDecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    peer = f", {opus.version}" if opus else ""
    sets = ", ".join(dict.fromkeys(clip.set for clip in clips))
    head = (
        f"Weights {codec.name} {codec.weights_sha256[:8]}{peer}; {len(clips)} clips ({sets}),"
        f" packets of {args.packet_frames} frames, bursts of {args.burst_ms:g} ms in the mean."
    )
    if args.write:
        write_between_marks(args.write, tables(rows, head))
    print(json.dumps(rows, indent=2) if args.json else tables(rows, head))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
