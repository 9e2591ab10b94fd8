"""The main numbers as a Markdown page, to be kept beside the code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...metrics import METRICS
from ...tabular import markdown_table
from ..summary import Stat

__all__ = ["SHOWN", "means", "page"]

#: Metrics of the page, as far as they were measured.
SHOWN = (
    "si_sdr", "pesq_wb", "estoi", "visqol", "dnsmos_ovrl", "ip_rad", "gdd_ms", "pc", "dac_mel",
    "lsd",
)  # fmt: skip


def page(stats: Sequence[Stat], facts: dict[str, Any]) -> str:
    """All groups of clips, one table each; what is absent or missing is said first."""
    metrics = [m for m in SHOWN if m in facts["metrics"] and m not in facts["missing"]]
    lines = [
        "# Results",
        f"Made by `{facts['method']['command']}`. Means over clips; rates are measured from bytes"
        " on disk. Arrows show which way is better; `reference` is the clip itself.",
        f"Clips: {facts['method']['clips']}. Level of the clips: "
        f"{facts['method']['level of references']}.",
    ]
    absent = [f"- {name} is absent: {why}" for name, why in facts["absent"].items()]
    absent += [f"- {METRICS[m].label} is missing: {why}" for m, why in facts["missing"].items()]
    if absent:
        lines.append("\n".join(absent))
    for group in dict.fromkeys(s.group for s in stats):
        count = next(s.clips for s in stats if s.group == group)
        lines += [f"## {group} ({count} clips)", means(stats, group, metrics)]
    return "\n\n".join(lines) + "\n"


def means(stats: Sequence[Stat], group: str, metrics: Sequence[str], spread: bool = False) -> str:
    """Systems by metrics of one group; with ``spread`` the half width of the 95 % interval."""
    found = {(s.system, s.metric): s for s in stats if s.group == group}
    head = ["system", "kbps"]
    for name in metrics:
        metric = METRICS[name]
        unit = f" {metric.unit}" if metric.unit else ""
        head.append(f"{metric.label}{unit} {'↑' if metric.higher_is_better else '↓'}")
    rows = []
    for system in dict.fromkeys(system for system, _ in found):
        cells = [_text(found[system, m], spread) for m in metrics]
        rows.append([system, f"{found[system, 'kbps'].mean:.2f}", *cells])
    return markdown_table(head, rows)


def _text(stat: Stat, spread: bool) -> str:
    if math.isnan(stat.mean):
        return "–"
    if math.isinf(stat.mean):
        return "exact"
    digits = 2 if abs(stat.mean) >= 2 or METRICS[stat.metric].unit in ("dB", "MOS") else 3
    text = f"{stat.mean:.{digits}f}"
    if spread and math.isfinite(stat.low):
        text += f" ± {(stat.high - stat.low) / 2:.{digits}f}"
    return text.replace("-", "−")
