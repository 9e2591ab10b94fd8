"""Plots of a report as inline SVG."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

from ...metrics import METRICS, Metric
from ..summary import Stat

__all__ = ["bars", "family", "rate_quality"]

# Distinct without red against green (Okabe & Ito 2008), then greys for more.
COLOURS = (
    "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
    "#7f6000", "#5b3a8e", "#444444", "#999999",
)  # fmt: skip
MARKERS = "osD^vP*Xph"


def family(system: str) -> str:
    """A system's name without its rate: points of one family are joined by a line."""
    return re.sub(r":\d+(\.\d+)?", "", system, count=1)


def rate_quality(stats: Sequence[Stat], metrics: Sequence[str], group: str = "all") -> str:
    """Small plots, one per metric: mean and interval against the measured rate."""
    table = {(s.system, s.metric): s for s in stats if s.group == group}
    systems = list(dict.fromkeys(system for system, _ in table))
    coded = [name for name in systems if name != "reference"]
    families = list(dict.fromkeys(family(name) for name in coded))
    columns = min(4, len(metrics))
    figure, axes = _grid(len(metrics), columns, 3.0, 2.5)
    for ax, name in zip(axes, metrics, strict=False):
        for i, kind in enumerate(families):
            points = sorted(
                (table[s, "kbps"].mean, table[s, name])
                for s in coded
                if family(s) == kind and math.isfinite(table[s, name].mean)
            )
            if not points:
                continue
            x, y = [p[0] for p in points], [p[1].mean for p in points]
            errors = [
                [max(0.0, p[1].mean - _or(p[1].low, p[1].mean)) for p in points],
                [max(0.0, _or(p[1].high, p[1].mean) - p[1].mean) for p in points],
            ]
            style: dict[str, Any] = dict(color=_colour(i), marker=MARKERS[i % len(MARKERS)])
            ax.errorbar(x, y, yerr=errors, label=kind, markersize=5, capsize=2, lw=1.4, **style)
        best = table.get(("reference", name))
        # an exact copy would dwarf everything in dB; elsewhere it shows the ceiling
        if best is not None and math.isfinite(best.mean) and METRICS[name].unit != "dB":
            ax.axhline(best.mean, color="0.6", ls=":", lw=1, label="reference")
        _dress(ax, METRICS[name])
        ax.set_xlabel("measured kbps")
    handles: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, fontsize=9)
    return _svg(figure, "rate")


def bars(stats: Sequence[Stat], metrics: Sequence[str]) -> str:
    """One row of bars per metric: every set, every system."""
    sets = list(dict.fromkeys(s.group for s in stats if s.group.startswith("set: ")))
    sets = sets or ["all"]
    table = {(s.group, s.system, s.metric): s for s in stats}
    systems = [s for s in dict.fromkeys(s.system for s in stats) if s != "reference"]
    width = 0.85 / max(1, len(systems))
    figure, axes = _grid(len(metrics), 1, max(7.0, 1.3 * len(sets) + 2), 1.9)
    for ax, name in zip(axes, metrics, strict=True):
        for i, system in enumerate(systems):
            found = [table[group, system, name] for group in sets]
            x = [k + (i - (len(systems) - 1) / 2) * width for k in range(len(sets))]
            below = [max(0.0, s.mean - _or(s.low, s.mean)) for s in found]
            above = [max(0.0, _or(s.high, s.mean) - s.mean) for s in found]
            y = [s.mean for s in found]
            ax.bar(x, y, width, color=_colour(i), label=system)
            ax.errorbar(x, y, yerr=[below, above], fmt="none", ecolor="0.25", lw=0.7)
        _dress(ax, METRICS[name])
        labels = [f"{g.removeprefix('set: ')}\n({table[g, systems[0], name].clips})" for g in sets]
        ax.set_xticks(range(len(sets)), [label.replace("_", "_\u200b") for label in labels])
        ax.tick_params(axis="x", labelsize=7)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=6, fontsize=8
    )
    return _svg(figure, "bars")


def _grid(n: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    rows = -(-n // columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.6), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes[n:]:
        ax.set_visible(False)
    return figure, axes[:n]


def _dress(ax: Any, metric: Metric) -> None:
    unit = f" ({metric.unit})" if metric.unit else ""
    arrow = "\u2191 better" if metric.higher_is_better else "\u2193 better"
    ax.set_title(f"{metric.label}{unit}  {arrow}", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _or(value: float, other: float) -> float:
    return value if math.isfinite(value) else other


def _svg(figure: Any, salt: str) -> str:
    """Text stays text, and equal data gives equal bytes."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
