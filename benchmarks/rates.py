"""Quality against bitrate, from one file a clip, beside peers: docs/rates.md and its picture.

    python benchmarks/rates.py EVAL/libritts --write docs

Each clip is encoded once, at 16 kbps, and cut to lower rates; some rates are encoded as well, which
says what cutting costs, and where the bits go is counted. Opus, AMR-WB and Lyra on the same clips
are taken from docs/results.md, EnCodec and DAC, on other clips of the same corpus, from
eulerodec/evaluate/published.csv.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eulerodec import Codec, Encoded, audio
from eulerodec.evaluate import published
from eulerodec.evaluate.codebooks import costs
from eulerodec.metrics import MEASURES
from eulerodec.tabular import markdown_table

RATES = (1, 1.5, 2, 3, 4.5, 6, 8, 10, 12, 14, 16)
ENCODED = (1, 2, 3, 4.5, 6, 8, 12)
COUNTED = (1, 3, 6, 12, 16)  # rates whose bits are counted
METRICS = ("si_sdr", "pesq_wb", "estoi")
TITLES = ("SI-SDR, dB", "PESQ-WB", "ESTOI")

Means = dict[float, list[float]]  # by rate: measured kbps, then METRICS
Parts = dict[float, dict[str, float]]  # by rate: sums over clips, see `_count`


def scores(codec: Codec, clips: Sequence[Path]) -> tuple[Means, Means, Parts]:
    """Means over clips, of files cut from 16 kbps and of files encoded at their rate; the parts of
    the cut ones."""
    cut, encoded = defaultdict(list), defaultdict(list)
    parts: Parts = {kbps: defaultdict(float) for kbps in COUNTED}
    for path in clips:
        wav, rate = audio.read(path)
        top = codec.encode(wav[:1], rate, bitrate_kbps=RATES[-1])
        for kbps in RATES:
            lower = top.at_rate(kbps)
            cut[kbps].append(_score(codec, wav[0], lower))
            if kbps in parts:
                _count(codec, lower, parts[kbps])
        for kbps in ENCODED:
            at_rate = codec.encode(wav[:1], rate, bitrate_kbps=kbps)
            encoded[kbps].append(_score(codec, wav[0], at_rate))
        print(path.name, flush=True)
    return _means(cut), _means(encoded), parts


def _count(codec: Codec, encoded: Encoded, parts: dict[str, float]) -> None:
    """Add bits of a mono file by what they are for, and numbers of codes and frames."""
    payload = codec.model.coder.payload
    in_payloads = 0
    for packet in encoded.packets:
        data = packet.payload or b""
        in_payloads += 8 * len(data)
        codes = payload.decode(data, 1, packet.n_frames)
        for kind, _, values, bits in costs(payload, codes):
            parts[f"{kind} codes"] += len(values)
            parts[kind] += bits.sum()
    parts["payload"] += in_payloads
    parts["file"] += 8 * len(encoded.to_bytes())
    parts["frames"] += encoded.n_frames


def _score(codec: Codec, wav: np.ndarray, encoded: Encoded) -> list[float]:
    decoded = codec.decode(encoded)[0].numpy()
    found: dict[str, float] = {}
    for one in MEASURES:
        if {metric.name for metric in one.metrics} & set(METRICS):
            rate = one.rate or encoded.sample_rate
            x, y = (audio.resample(z[None], encoded.sample_rate, rate)[0] for z in (wav, decoded))
            found |= one.compute(x, y, rate)
    size = len(encoded.to_bytes()) * 0.008 / encoded.duration_s
    return [size, *(found[name] for name in METRICS)]


def _means(scores: dict[float, list[list[float]]]) -> Means:
    return {kbps: np.mean(rows, 0).tolist() for kbps, rows in scores.items()}


def peers(results: str, clips: str) -> dict[str, list[list[float]]]:
    """Measured kbps and METRICS of other codecs, from the table of a set in docs/results.md."""
    table = results.split(f"## set: {clips} ")[1].split("\n## ")[0]
    found = defaultdict(list)
    for name, numbers in re.findall(r"^\| (\w+):\S+ \|(.*)\|$", table, flags=re.M):
        if name != "eulerodec":
            row = [float(cell.replace("−", "-")) for cell in numbers.split("|")[:4]]
            found[name].append(row)
    return found


def picture(path: Path, cut: Means, encoded: Means, others: dict[str, list[list[float]]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "eulerodec"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), constrained_layout=True)
    names = {"opus": "Opus", "amrwb": "AMR-WB", "lyra": "Lyra"}
    for k, (ax, title) in enumerate(zip(axes, TITLES, strict=True), 1):
        rows = sorted(cut.values())
        x, y = [row[0] for row in rows], [row[k] for row in rows]
        ax.plot(x, y, "o-", color="#d55e00", ms=4, label="EuleroDec: one file, cut")
        rows = sorted(encoded.values())
        ax.plot([r[0] for r in rows], [r[k] for r in rows], "x", color="black", ms=6,
                label="EuleroDec: encoded at the rate")  # fmt: skip
        colours = zip("sDv", ("#0072b2", "#009e73", "#cc79a7"), strict=True)
        for (name, points), (marker, colour) in zip(others.items(), colours, strict=False):
            points = sorted(points)
            ax.plot([r[0] for r in points], [r[k] for r in points], marker + "--", color=colour,
                    ms=4, lw=1, label=names[name])  # fmt: skip
        ax.set(title=title, xlabel="kbps measured", xlim=(0, 18))
        ax.grid(alpha=0.3)
    for row in published.ROWS:
        if row["test set"] == "test-clean" and row["kbps"] == "6":
            name = row["system"].split()[0]
            axes[1].plot(6, float(row["PESQ-WB"]), "*", ms=11, label=f"{name} (published)")
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def bits_table(parts: Parts) -> str:
    """Shares of a file by what they are for."""
    head = ("kbps asked for", "energies", "latents", "levels and what no code filled",
            "headers and checksums", "codes a frame: energies, latents", "bits a code")  # fmt: skip
    rows = []
    for kbps, n in parts.items():
        coded, n_codes = n["energy"] + n["latent"], n["energy codes"] + n["latent codes"]
        bits = (n["energy"], n["latent"], n["payload"] - coded, n["file"] - n["payload"])
        rows.append((
            f"{kbps:g}", *(f"{100 * part / n['file']:.1f} %" for part in bits),
            f"{n['energy codes'] / n['frames']:.2f}, {n['latent codes'] / n['frames']:.2f}",
            f"{coded / n_codes:.2f}",
        ))  # fmt: skip
    return markdown_table(head, rows)


def page(cut: Means, encoded: Means, parts: Parts, clips: str, n_clips: int) -> str:
    """docs/rates.md."""
    head = (
        "kbps asked for",
        "kbps measured",
        *TITLES,
        "encoded at that rate: " + ", ".join(TITLES),
    )
    rows = []
    for kbps, (size, *values) in cut.items():
        other = encoded.get(kbps)
        rows.append((
            f"{kbps:g}", f"{size:.2f}", *_cells(values),
            ", ".join(_cells(other[1:])) if other else "",
        ))  # fmt: skip
    return f"""# Any rate from one file

Written by `python benchmarks/rates.py CLIPS --write docs`. {clips}, {n_clips} clips: each encoded
once at 16 kbps and cut, packet by packet, to lower rates; in the last column encoded at the rate.
Sizes are those of files on disk.

![quality against bitrate](figures/rates.svg)

{markdown_table(head, rows)}

Where the bits of the cut files go; an energy code is for four frames. Without the range coder, each
code would take 11 bits:

{bits_table(parts)}

In the picture, Opus, AMR-WB and Lyra are those of [results.md](results.md), on the same clips.
EnCodec and DAC (24 kHz, 8 codebooks) were not run: their PESQ is published for LibriTTS test-clean,
other clips of the same corpus ({published.NOTES["a"]}).
"""


def _cells(values: Sequence[float]) -> list[str]:
    return [f"{values[0]:.2f}", f"{values[1]:.2f}", f"{values[2]:.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Quality against bitrate, from one file a clip.")
    parser.add_argument("clips", type=Path, help="folder of one set")
    parser.add_argument("--limit", type=int, help="only so many clips")
    parser.add_argument("--weights", default="eulerodec-24khz")
    parser.add_argument("--write", type=Path, help="docs: its rates.md and figures/rates.svg")
    options = parser.parse_args()
    clips = sorted(options.clips.iterdir())[: options.limit]
    cut, encoded, parts = scores(Codec.from_pretrained(options.weights), clips)
    text = page(cut, encoded, parts, options.clips.name, len(clips))
    print(text)
    if options.write:
        results = (options.write / "results.md").read_text(encoding="utf-8")
        others = peers(results, options.clips.name)
        picture(options.write / "figures" / "rates.svg", cut, encoded, others)
        (options.write / "rates.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
