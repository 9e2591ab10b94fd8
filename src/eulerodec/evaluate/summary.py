"""Means, paired differences and bootstrap intervals of a table of results."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..tabular import read_csv, write_csv
from .task import Row

__all__ = [
    "RATES",
    "SEED",
    "Failure",
    "Stat",
    "bootstrap",
    "failures",
    "groups",
    "read_summary",
    "summarize",
    "write_summary",
]

SEED = 20_260
RESAMPLES = 2000
#: Columns besides the metrics that are averaged: measured rates in kbps.
RATES = ("kbps", "file_kbps")
_BLOCK = 1 << 21  # values drawn at once


@dataclass(frozen=True)
class Stat:
    """One metric of one system over one group of clips.

    ``low`` and ``high``: 95 % bootstrap interval of the mean. ``diff``: mean over the ``pairs``
    clips that have a value for both of system minus baseline, with its interval; ``wins``: share
    of these clips on which the system's value is higher. NaN where there is no value.
    """

    group: str
    system: str
    metric: str
    clips: int
    n: int
    mean: float
    low: float
    high: float
    median: float
    std: float
    baseline: str
    pairs: int
    diff: float
    diff_low: float
    diff_high: float
    wins: float


@dataclass(frozen=True)
class Failure:
    """``metric`` is ``system`` if the clip could not be coded at all."""

    clip: str
    system: str
    metric: str
    message: str


def bootstrap(values: NDArray[np.float64], seed: int = SEED) -> tuple[float, float]:
    """Percentile bootstrap interval (95 %) of the mean of ``values`` [n], over clips.

    Efron & Tibshirani 1993, chapter 13: 2000 resamples with replacement. The seed is fixed, so
    equal values give equal limits. NaN for fewer than two values and for infinite ones.
    """
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // n)
    means = np.concatenate(
        [
            values[rng.integers(0, n, (min(step, RESAMPLES - start), n))].mean(1)
            for start in range(0, RESAMPLES, step)
        ]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def groups(rows: Sequence[Row], in_domain: Sequence[str] = ()) -> dict[str, list[str]]:
    """Names of groups and their sets: all, in-domain and out-of-domain if told, and each set."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    result = {"all": sets}
    if in_domain:
        inside = [name for name in sets if name in in_domain]
        outside = [name for name in sets if name not in in_domain]
        result |= {k: v for k, v in (("in-domain", inside), ("out-of-domain", outside)) if v}
    if len(sets) > 1:
        result |= {f"set: {name}": [name] for name in sets}
    return result


def summarize(
    rows: Sequence[Row], metrics: Sequence[str], baseline: str, in_domain: Sequence[str] = ()
) -> list[Stat]:
    """Statistics of every group, system and metric. ``baseline``: a system, or empty for none."""
    systems = list(dict.fromkeys(row["system"] for row in rows))
    stats = []
    for group, sets in groups(rows, in_domain).items():
        chosen = [row for row in rows if row["set"] in sets]
        clips = list(dict.fromkeys(row["clip"] for row in chosen))
        place = {clip: i for i, clip in enumerate(clips)}
        for metric in (*RATES, *metrics):
            table = {name: np.full(len(clips), math.nan) for name in systems}
            for row in chosen:
                if row.get(metric):
                    table[row["system"]][place[row["clip"]]] = float(row[metric])
            base = table.get(baseline, np.full(len(clips), math.nan))
            for system in systems:
                stats.append(_stat(group, system, metric, table[system], baseline, base))
    return stats


def failures(rows: Sequence[Row]) -> list[Failure]:
    """Every clip and metric without a value because something failed."""
    found = []
    for row in rows:
        for metric, message in json.loads(row["errors"] or "{}").items():
            found.append(Failure(row["clip"], row["system"], metric, message))
    return found


def write_summary(path: Path, stats: Sequence[Stat]) -> None:
    """The statistics as CSV, one line each; empty where there is no value."""
    write_csv(path, map(asdict, stats), [field.name for field in fields(Stat)])


def read_summary(path: Path) -> list[Stat]:
    """The statistics that :func:`write_summary` wrote; an empty cell is NaN."""
    convert = {"int": int, "float": lambda text: float(text) if text else math.nan, "str": str}
    kinds = {field.name: convert[str(field.type)] for field in fields(Stat)}
    return [Stat(**{k: kinds[k](v) for k, v in row.items()}) for row in read_csv(path)]


def _stat(
    group: str,
    system: str,
    metric: str,
    values: NDArray[np.float64],
    baseline: str,
    base: NDArray[np.float64],
) -> Stat:
    known = values[~np.isnan(values)]
    low, high = bootstrap(known)
    with np.errstate(invalid="ignore"):
        gap = values - base
    gap = gap[np.isfinite(gap)] if system != baseline else gap[:0]
    diff_low, diff_high = bootstrap(gap)
    return Stat(
        group,
        system,
        metric,
        clips=len(values),
        n=len(known),
        mean=float(known.mean()) if len(known) else math.nan,
        low=low,
        high=high,
        median=float(np.median(known)) if len(known) else math.nan,
        std=float(known.std(ddof=1)) if len(known) > 1 and np.isfinite(known).all() else math.nan,
        baseline=baseline,
        pairs=len(gap),
        diff=float(gap.mean()) if len(gap) else math.nan,
        diff_low=diff_low,
        diff_high=diff_high,
        wins=float((gap > 0).mean()) if len(gap) else math.nan,
    )
