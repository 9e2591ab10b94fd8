"""What entropy coding saves: files of fixed width against entropy coded ones, of the same codes.

    python benchmarks/entropy.py --data eval.jsonl
    python benchmarks/entropy.py --data folder --weights DIR --out docs/entropy.md

Every clip is encoded once with all stages; its first stages are the codes of the lower bitrate.
Sizes are those of whole files, with header and packets. Use audio that the tables were not fitted
to. Times are processor time of one thread for the same files, one coding after the other.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eulerodec import Codec
from eulerodec.bitstream import dumps, loads
from eulerodec.bitstream.entropy import intervals
from eulerodec.codec.weights import DEFAULT_WEIGHTS
from eulerodec.errors import EuleroDecError
from eulerodec.evaluate.clips import SAMPLE_RATE, find_clips, read_clip
from eulerodec.evaluate.codebooks import StageUse, analyse
from eulerodec.files import write_bytes

SILENCE_DB = -60  # of full scale, root mean square of a frame
CODINGS = (False, True)


@dataclass
class Measured:
    """All that is counted, over clips."""

    sets: dict[str, dict[int, list[tuple[int, int]]]] = field(default_factory=dict)  # bytes
    seconds: dict[str, float] = field(default_factory=dict)
    codes: list[NDArray[np.int64]] = field(default_factory=list)
    bits: list[NDArray[np.float64]] = field(default_factory=list)  # [K, T] of each clip
    silent: list[NDArray[np.bool_]] = field(default_factory=list)
    write_s: dict[bool, float] = field(default_factory=lambda: dict.fromkeys(CODINGS, 0.0))
    read_s: dict[bool, float] = field(default_factory=lambda: dict.fromkeys(CODINGS, 0.0))


def bits_of(codec: Codec, codes: NDArray[np.int64], frames: int) -> NDArray[np.float64]:
    """Bits [K, T] that the range coder needs for every code of codes [K, T]."""
    assert codec.entropy_tables is not None
    starts = range(0, codes.shape[1], frames)
    packets = [intervals(codes[None, :, at : at + frames], codec.entropy_tables) for at in starts]
    edges = np.concatenate(packets, 3)[:, :, 0]  # [K, 2, T, 2]
    return (16 - np.log2(edges[..., 1] - edges[..., 0])).sum(1)


def measure(codec: Codec, data: str, limit: int, rates: Sequence[int]) -> Measured:
    """Sizes, bits and times of all clips of ``data``."""
    found = Measured()
    clips, _ = find_clips(data, limit)
    for clip in clips:
        wav = read_clip(clip)
        encoded = codec.encode(wav, SAMPLE_RATE, n_codebooks=codec.model.n_codebooks)
        codes = encoded.codes[0].numpy()
        infos = [
            codec.stream_info(codes.shape[0], entropy_coding=coding).with_counts(len(wav), len(wav))
            for coding in CODINGS
        ]
        sizes = found.sets.setdefault(clip.set, {rate: [] for rate in rates})
        for rate in rates:
            k = codec.n_codebooks_for(rate)
            pair = []
            for coding, info in zip(CODINGS, infos, strict=True):
                start = time.process_time()
                file = dumps(info.replace(n_codebooks=k), codes[None, :k])
                middle = time.process_time()
                _, again = loads(file)
                end = time.process_time()
                assert np.array_equal(again[0], codes[:k])
                pair.append(len(file))
                if rate == rates[-1]:
                    found.write_s[coding] += middle - start
                    found.read_s[coding] += end - middle
            sizes[rate].append((pair[0], pair[1]))
        found.seconds[clip.set] = found.seconds.get(clip.set, 0) + len(wav) / SAMPLE_RATE
        found.codes.append(codes)
        found.bits.append(bits_of(codec, codes, infos[0].frames_per_packet))
        hop = codec.model.hop_length
        padded = np.pad(wav, (hop, 2 * hop))
        power = [np.mean(padded[t * hop : (t + 2) * hop] ** 2) for t in range(codes.shape[1])]
        found.silent.append(np.array(power) < 10 ** (SILENCE_DB / 10))
        print(f"{clip.name}: {pair[0]} -> {pair[1]} bytes", file=sys.stderr)
    return found


def saved(sizes: Sequence[tuple[int, int]]) -> float:
    """Per cent of the bytes of all files."""
    return 100 * (1 - sum(b for _, b in sizes) / sum(a for a, _ in sizes))


def report(codec: Codec, found: Measured, rates: Sequence[int]) -> str:
    """The tables as Markdown."""
    stats = analyse(found.codes, codec.model.codebook_size)
    total = sum(found.seconds.values())
    lines = [
        "# What entropy coding saves",
        "",
        f"Written by `benchmarks/entropy.py`. Weights `{codec.name}`"
        f" {codec.weights_sha256[:16]}, tables {codec.entropy_tables.hash.hex()}"  # type: ignore
        f"; {len(found.codes)} clips, {total:.0f} s. The tables were not fitted to these clips."
        " Fixed and entropy coded files hold the same codes; sizes are those of whole files.",
        "",
        "## Files",
        "",
        "| set | seconds | " + " | ".join(f"{r} kbps becomes | saved | least saved" for r in rates)
        + " |",
        "|---|---|" + "---|---|---|" * len(rates),
    ]  # fmt: skip
    everything = {
        rate: [pair for sizes in found.sets.values() for pair in sizes[rate]] for rate in rates
    }
    rows = [(name, found.seconds[name], sizes) for name, sizes in sorted(found.sets.items())]
    for name, seconds, sizes in [*rows, ("**all**", total, everything)]:
        cells = [
            f"{sum(b for _, b in sizes[rate]) * 8e-3 / seconds:.2f} | {saved(sizes[rate]):.1f} %"
            f" | {min(saved([pair]) for pair in sizes[rate]):.1f} %"
            for rate in rates
        ]
        lines.append(f"| {name} | {seconds:.0f} | " + " | ".join(cells) + " |")
    lines += ["", "*Least saved* is the file that gains least.", ""]
    lines += stage_table(stats, found)
    lines += level_table(found)
    lines += speed_table(found, total, rates[-1])
    return "\n".join(lines) + "\n"


def stage_table(stats: Sequence[StageUse], found: Measured) -> list[str]:
    bits = np.concatenate(found.bits, 1)
    lines = [
        "## Bits of a code, by stage",
        "",
        f"All stages in the file; {bits.shape[1]} frames. *Order 0* is a table of frequencies from"
        " one half of these clips for the other half; *coded* is what the files have.",
        "",
        "| stage | fixed | entropy | order 0 | coded |",
        "|---|---|---|---|---|",
    ]
    for stat, own in zip(stats, bits.mean(1), strict=True):
        lines.append(
            f"| {stat.stage} | {stat.bits:g} | {stat.entropy:.2f} | {stat.coded_order0:.2f}"
            f" | {own:.2f} |"
        )
    sums = [sum(s.bits for s in stats), sum(s.entropy for s in stats)]
    sums += [sum(s.coded_order0 for s in stats), float(bits.mean(1).sum())]
    return [*lines, "| **sum** | " + " | ".join(f"{s:.1f}" for s in sums) + " |", ""]


def level_table(found: Measured) -> list[str]:
    bits, silent = np.concatenate(found.bits, 1), np.concatenate(found.silent)
    lines = [
        "## Silent and active frames",
        "",
        f"Silent: below {SILENCE_DB} dB of full scale (root mean square).",
        "",
        "| frames | share | bits of a frame |",
        "|---|---|---|",
    ]
    for name, chosen in (("silent", silent), ("active", ~silent)):
        mean = f"{bits[:, chosen].sum(0).mean():.1f}" if chosen.any() else "-"
        lines.append(f"| {name} | {100 * chosen.mean():.1f} % | {mean} |")
    return [*lines, ""]


def speed_table(found: Measured, seconds: float, rate: int) -> list[str]:
    lines = [
        "## Speed",
        "",
        f"Codes to bytes and back at {rate} kbps, without the network: times real time, on one"
        " thread.",
        "",
        "| | fixed | entropy coded | ratio of times |",
        "|---|---|---|---|",
    ]
    for name, times in (("write", found.write_s), ("read", found.read_s)):
        fixed, coded = (max(times[coding], math.ulp(1.0)) for coding in CODINGS)
        lines.append(
            f"| {name} | {seconds / fixed:.0f} | {seconds / coded:.0f} | {coded / fixed:.1f} |"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="folder, .jsonl manifest or audio file")
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS, help="name or directory")
    parser.add_argument("--limit-per-set", type=int, default=0, metavar="N")
    parser.add_argument("--bitrates", type=int, nargs="+", default=[6, 12], help="kbps, rising")
    parser.add_argument("--out", type=Path, help="Markdown file; standard output by default")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    try:
        codec = Codec.from_pretrained(args.weights)
        text = report(
            codec, measure(codec, args.data, args.limit_per_set, args.bitrates), args.bitrates
        )
    except EuleroDecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.out is None:
        print(text, end="")
    else:
        write_bytes(args.out, text.encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
