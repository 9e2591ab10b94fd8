"""The page of question 1, from the folder that ``eulerodec evaluate`` has written."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import fields
from pathlib import Path

from eulerodec.errors import ConfigError
from eulerodec.evaluate import published
from eulerodec.evaluate.report import plots
from eulerodec.evaluate.report.markdown import SHOWN, table
from eulerodec.evaluate.summary import Stat
from eulerodec.files import write_bytes
from research.pages import keep_conclusion

__all__ = ["read_summary", "write_rq1"]

GROUPS = ("in-domain", "out-of-domain")
PLOTTED = ("si_sdr", "pc", "ip_rad", "pesq_wb", "visqol", "estoi", "dac_mel", "lsd")


def write_rq1(results: Path, folder: Path) -> Path:
    """``folder/rq1.md`` and its figures. Errors: :class:`ConfigError` if results are not whole."""
    stats = read_summary(results / "summary.csv")
    facts = json.loads((results / "run.json").read_text(encoding="utf-8"))
    groups = [g for g in GROUPS if any(s.group == g for s in stats)]
    if len(groups) < 2:
        raise ConfigError(
            f"{results}: no in-domain sets; run `eulerodec evaluate` with --in-domain"
        )
    metrics = [m for m in SHOWN if m in facts["metrics"] and m not in facts["missing"]]
    baseline = facts["baseline"]
    parts = [
        "# Quality at 6 and 12 kbps without GAN and diffusion",
        "The released weights against every codec that runs here, on clips of the kind they were"
        " trained on (in-domain) and on everything else (out-of-domain), with the rates that were"
        " measured from bytes on disk.",
        "<!-- conclusion, by hand --><!-- /conclusion -->",
    ]
    for group in groups:
        name = f"rq1_{group}.svg"
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        drawing = plots.rate_quality(stats, [m for m in PLOTTED if m in metrics], group)
        write_bytes(folder / "figures" / name, drawing.encode())
        count = next(s.clips for s in stats if s.group == group)
        parts += [
            f"## {group}, {count} clips",
            f"![{group}](figures/{name})",
            "Mean over clips ± half the 95 % bootstrap interval.",
            table(stats, group, metrics, spread=True),
            f"Mean difference to {baseline}, clip by clip; in brackets: the share of clips on which"
            " the system's value is higher.",
            _differences(stats, group, metrics),
        ]
    parts += [
        "## Published figures, not measured here",
        "By others, on other clips.",
        _markdown([list(published.COLUMNS), ["---"] * len(published.COLUMNS),
                   *(list(row) for row in published.ROWS)]),
        "\n".join(f"({key}) {text}  " for key, text in published.NOTES.items()),
        "## How it was done",
        f"```sh\n{facts['method']['command']}\n"
        "python -m research rq1 RESULTS docs/research\n"
        "python -m research worst RESULTS CLIPS docs/figures/worst_clips.png\n```",
    ]  # fmt: skip
    path = folder / "rq1.md"
    write_bytes(path, keep_conclusion("\n\n".join(parts) + "\n", path).encode())
    return path


def read_summary(path: Path) -> list[Stat]:
    """The statistics that ``summary.csv`` holds; an empty cell is NaN."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; run `eulerodec evaluate` first")
    convert = {"int": int, "float": lambda text: float(text) if text else math.nan, "str": str}
    kinds = {f.name: convert[str(f.type)] for f in fields(Stat)}
    with open(path, newline="", encoding="utf-8") as file:
        return [Stat(**{k: kinds[k](v) for k, v in row.items()}) for row in csv.DictReader(file)]


def _differences(stats: list[Stat], group: str, metrics: list[str]) -> str:
    from eulerodec.metrics import METRICS

    found = {(s.system, s.metric): s for s in stats if s.group == group and s.system != s.baseline}
    rows = [["system", *(METRICS[m].label for m in metrics)], ["---"] * (len(metrics) + 1)]
    for system in dict.fromkeys(system for system, _ in found):
        if system == "reference":
            continue
        cells = []
        for metric in metrics:
            stat = found[system, metric]
            text = f"{stat.diff:+.3g} ({stat.wins:.0%})" if stat.pairs else "–"
            cells.append(text.replace("-", "−"))
        rows.append([system, *cells])
    return _markdown(rows)


def _markdown(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
