"""Tables of a report as HTML."""

from __future__ import annotations

import html
import inspect
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ...metrics import METRICS, select
from .. import published
from ..summary import Failure, Stat

__all__ = ["differences", "escape", "facts", "failed", "meanings", "means", "public", "table"]

escape = html.escape


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML already; a cell may start with ``<td``."""
    cells = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def means(stats: Sequence[Stat], group: str, metrics: Sequence[str]) -> str:
    """Mean and interval of every system and metric of one group."""
    found = {(s.system, s.metric): s for s in stats if s.group == group}
    systems = list(dict.fromkeys(system for system, _ in found))
    rows = []
    for system in systems:
        rate, whole = found[system, "kbps"], found[system, "file_kbps"]
        cells = [f"<td class=name>{escape(system)}</td>", _number(rate.mean), _number(whole.mean)]
        cells += [_mean_cell(found[system, name]) for name in metrics]
        rows.append(cells)
    return table(["system", "kbps", "kbps of file", *map(_head, metrics)], rows, "numbers")


def differences(stats: Sequence[Stat], group: str, metrics: Sequence[str], baseline: str) -> str:
    """Mean paired difference to the baseline; coloured where the interval leaves out zero."""
    found = {(s.system, s.metric): s for s in stats if s.group == group and s.system != baseline}
    systems = list(dict.fromkeys(system for system, _ in found))
    rows = [
        [f"<td class=name>{escape(system)}</td>"]
        + [_difference_cell(found[system, name]) for name in metrics]
        for system in systems
    ]
    return table([f"minus {escape(baseline)}", *map(_head, metrics)], rows, "numbers")


def failed(found: Sequence[Failure]) -> str:
    """How often each metric failed for each system, and every clip by name."""
    if not found:
        return "<p>None: every metric has a value on every clip.</p>"
    counts = Counter((f.system, f.metric) for f in found)
    overview = table(
        ["system", "metric", "clips without a value"],
        ([escape(system), escape(metric), str(n)] for (system, metric), n in counts.items()),
    )
    each = table(
        ["clip", "system", "metric", "reason"],
        ([escape(x) for x in (f.clip, f.system, f.metric, f.message)] for f in found),
    )
    return f"{overview}<details><summary>Each of the {len(found)}</summary>{each}</details>"


def meanings(metrics: Sequence[str]) -> str:
    """What every metric is, from the documentation of its function."""
    rows = []
    for measure in select(metrics):
        names = [m for m in measure.metrics if m.name in metrics]
        text = inspect.cleandoc(measure.source.__doc__ or "")
        rows.append(
            [
                "<br>".join(f"{escape(m.label)} (<code>{m.name}</code>)" for m in names),
                f"{measure.rate / 1000:g} kHz" if measure.rate else "24 kHz",
                f"<td class=text>{escape(text).replace(chr(10) * 2, '<br>')}</td>",
            ]
        )
    return table(["metric", "works at", "definition"], rows)


def public() -> str:
    """The published figures."""
    rows = [[escape(cell) for cell in row.values()] for row in published.ROWS]
    notes = "".join(f"<li>({k}) {escape(text)}</li>" for k, text in published.NOTES.items())
    return table(published.COLUMNS, rows) + f"<ul>{notes}</ul>"


def facts(values: dict[str, Any]) -> str:
    """Nested facts as a table of two columns."""
    return table(["", ""], ([escape(k), escape(v)] for k, v in _flat(values)), "facts")


def _flat(values: dict[str, Any], start: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        name = f"{start}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name} \u203a ")
        elif isinstance(value, list):
            yield name, "; ".join(map(str, value)) or "none"
        else:
            yield name, str(value)


def _head(name: str) -> str:
    metric = METRICS[name]
    unit = f" {metric.unit}" if metric.unit else ""
    arrow = "\u2191" if metric.higher_is_better else "\u2193"
    return f"{escape(metric.label)}{unit}&nbsp;{arrow}"


def _mean_cell(stat: Stat) -> str:
    if stat.n == 0:
        return "<td class=none>\u2013</td>"
    few = f" <b>n={stat.n}</b>" if stat.n < stat.clips else ""
    spread = f"{_number(stat.low)} to {_number(stat.high)}" if math.isfinite(stat.low) else ""
    return f"<td>{_number(stat.mean)}<small>{spread}{few}</small></td>"


def _difference_cell(stat: Stat) -> str:
    if stat.pairs == 0:
        return "<td class=none>\u2013</td>"
    kind = ""
    if stat.diff_low > 0 or stat.diff_high < 0:
        higher = METRICS[stat.metric].higher_is_better
        kind = "good" if (stat.diff > 0) == higher else "bad"
    spread = ""
    if math.isfinite(stat.diff_low):
        spread = f"{_number(stat.diff_low, '+')} to {_number(stat.diff_high, '+')}"
    few = f" <b>n={stat.pairs}</b>" if stat.pairs < stat.clips else ""
    return f'<td class="{kind}">{_number(stat.diff, "+")}<small>{spread}{few}</small></td>'


def _number(value: float, sign: str = "") -> str:
    if math.isnan(value):
        return "\u2013"
    if math.isinf(value):
        return "exact"
    digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 2 else 3
    return f"{value:{sign}.{digits}f}".replace("-", "\u2212")
