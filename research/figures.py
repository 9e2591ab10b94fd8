"""Figures of the research pages, as small PNG files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from research.study import VARIANTS

__all__ = ["bars", "curves"]

Rows = Sequence[dict[str, str]]
#: Column of the scores: title and which way is better.
PANELS = {
    "si_sdr": "SI-SDR, dB \u2191",
    "log_mel": "log-mel distance \u2193",
    "ip_rad": "phase error, rad \u2193",
    "gd_rad": "group-delay error, rad \u2193",
    "iaf_rad": "frequency error, rad \u2193",
    "pc": "phase coherence \u2191",
}


def curves(
    path: Path,
    rows: Rows,
    variants: Sequence[str],
    panels: Sequence[tuple[str, str]],
    x_label: str = "step",
    scale: Callable[[str], float] = lambda variant: 1.0,
) -> None:
    """A panel per (column, title): mean over seeds, and the range of the seeds as a band.

    ``scale`` multiplies the steps of a variant, to draw against time instead of steps.
    """
    figure, axes = _grid(len(panels), 3.6, 2.9)
    for ax, (column, title) in zip(axes, panels, strict=True):
        for name in variants:
            by_step: dict[int, list[float]] = {}
            for row in rows:
                if row["variant"] == name and row.get(column) and int(row["step"]) > 0:
                    by_step.setdefault(int(row["step"]), []).append(float(row[column]))
            if not by_step:
                continue
            x = [step * scale(name) for step in sorted(by_step)]
            values = [by_step[step] for step in sorted(by_step)]
            style = VARIANTS[name]
            ax.plot(x, [np.mean(v) for v in values], color=style.colour, label=style.label, lw=1.5)
            ax.fill_between(
                x, [min(v) for v in values], [max(v) for v in values],
                color=style.colour, alpha=0.18, lw=0,
            )  # fmt: skip
        ax.set_title(title, fontsize=9)
        ax.set_xlabel(x_label, fontsize=8)
    _save(figure, axes, path)


def bars(path: Path, values: dict[str, dict[str, dict[str, list[float]]]]) -> None:
    """Per metric: the variants, in and out of domain; a dot per seed.

    ``values[group][variant][metric]``: a value per seed.
    """
    groups = list(values)
    variants = list(values[groups[0]])
    figure, axes = _grid(len(PANELS), 3.6, 2.3)
    width = 0.8 / len(variants)
    for ax, (metric, title) in zip(axes, PANELS.items(), strict=True):
        for i, name in enumerate(variants):
            seeds = [values[g][name][metric] for g in groups]
            x = [k + (i - (len(variants) - 1) / 2) * width for k in range(len(groups))]
            style = VARIANTS[name]
            ax.bar(x, [np.mean(v) for v in seeds], width * 0.9, color=style.colour,
                   label=style.label, alpha=0.75)  # fmt: skip
            for at, points in zip(x, seeds, strict=True):
                ax.plot([at] * len(points), points, ".", color="0.15", ms=4)
        ax.axhline(0, color="0.3", lw=0.7)
        ax.set_title(title, fontsize=9)
        ax.set_xticks(range(len(groups)), groups, fontsize=8)
    _save(figure, axes, path)


def _grid(n: int, width: float, height: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    columns = min(3, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.5), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def _save(figure: Any, axes: Sequence[Any], path: Path) -> None:
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.tick_params(labelsize=8)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})
