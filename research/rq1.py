"""The page of question 1, from the folder that ``eulerodec evaluate`` has written."""

from __future__ import annotations

import json
from pathlib import Path

from eulerodec.errors import ConfigError
from eulerodec.evaluate import published
from eulerodec.evaluate.report import plots
from eulerodec.evaluate.report.markdown import SHOWN, means
from eulerodec.evaluate.summary import Stat, read_summary
from eulerodec.files import write_bytes
from eulerodec.metrics import METRICS
from eulerodec.tabular import markdown_table
from research.pages import fill

__all__ = ["write_rq1"]

GROUPS = ("in-domain", "out-of-domain")
PLOTTED = ("si_sdr", "pc", "ip_rad", "pesq_wb", "visqol", "estoi", "dac_mel", "lsd")


def write_rq1(results: Path, folder: Path) -> Path:
    """Write ``folder/rq1.md`` and its figures; returns the page.

    Raises:
        ConfigError: the results are not whole.
    """
    if not (results / "summary.csv").is_file():
        raise ConfigError(f"{results}: no summary.csv; run `eulerodec evaluate` first")
    stats = read_summary(results / "summary.csv")
    facts = json.loads((results / "run.json").read_text(encoding="utf-8"))
    groups = [g for g in GROUPS if any(s.group == g for s in stats)]
    if len(groups) < 2:
        raise ConfigError(
            f"{results}: no in-domain sets; run `eulerodec evaluate` with --in-domain"
        )
    metrics = [m for m in SHOWN if m in facts["metrics"] and m not in facts["missing"]]
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    parts = []
    for group in groups:
        name = f"rq1_{group}.svg"
        drawing = plots.rate_quality(stats, [m for m in PLOTTED if m in metrics], group)
        write_bytes(folder / "figures" / name, drawing.encode())
        count = next(s.clips for s in stats if s.group == group)
        parts += [
            f"## {group}, {count} clips",
            f"![{group}](figures/{name})",
            "Mean over clips ± half the 95 % bootstrap interval.",
            means(stats, group, metrics, spread=True),
            f"Mean difference to {facts['baseline']}, clip by clip; in brackets: the share of clips"
            " on which the system's value is higher.",
            _differences(stats, group, metrics),
        ]
    values = {
        "groups": "\n\n".join(parts),
        "published": markdown_table(published.COLUMNS, [list(r.values()) for r in published.ROWS]),
        "notes": "\n".join(f"({key}) {text}  " for key, text in published.NOTES.items()),
        "command": facts["method"]["command"],
    }
    path = folder / "rq1.md"
    write_bytes(path, fill("rq1", values).encode())
    return path


def _differences(stats: list[Stat], group: str, metrics: list[str]) -> str:
    found = {(s.system, s.metric): s for s in stats if s.group == group and s.system != s.baseline}
    rows = []
    for system in dict.fromkeys(system for system, _ in found):
        if system == "reference":
            continue
        cells = []
        for metric in metrics:
            stat = found[system, metric]
            text = f"{stat.diff:+.3g} ({stat.wins:.0%})" if stat.pairs else "–"
            cells.append(text.replace("-", "−"))
        rows.append([system, *cells])
    return markdown_table(["system", *(METRICS[m].label for m in metrics)], rows)
