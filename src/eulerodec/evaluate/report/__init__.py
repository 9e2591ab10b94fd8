"""The report: one HTML file that needs nothing else, neither a network nor other files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files import write_bytes
from ...metrics import METRICS
from ..clips import Clip
from ..summary import Stat, failures
from ..task import Row, audio_name
from . import listen, plots, tables

__all__ = ["REPORT", "write_report"]

REPORT = "report.html"

#: Metrics that are plotted, as far as they were measured.
RATE_PLOTS = (
    "si_sdr", "pc", "ip_rad", "gdd_ms", "pesq_wb", "visqol", "estoi", "dnsmos_ovrl", "dac_mel",
    "log_mel", "lsd", "seg_snr",
)  # fmt: skip
BAR_PLOTS = ("si_sdr", "pc", "gdd_ms", "pesq_wb", "visqol", "dac_mel")

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1b1b1f;max-width:1180px;
margin:2em auto;padding:0 1em}
h1{font-size:1.7em}h2{margin-top:2em;border-bottom:1px solid #ccc}h3{margin-bottom:.3em}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;margin:.6em 0}
th,td{padding:.25em .6em;text-align:left;vertical-align:top;border-bottom:1px solid #e4e4e8}
th{background:#f4f4f7}.numbers td,.numbers th{text-align:right}
.numbers td.name,.numbers th:first-child{text-align:left;white-space:nowrap;font-weight:600}
td small{display:block;color:#666;white-space:nowrap}td.none{color:#999}
td.text{white-space:pre-line;max-width:60em}td.good{background:#d9eefb}td.bad{background:#fde3d0}
.cards{display:flex;flex-wrap:wrap;gap:12px}.card{border:1px solid #ddd;border-radius:8px;
padding:8px;width:540px;max-width:100%;box-sizing:border-box}
.card audio{width:100%;height:36px}.card img{width:100%;height:auto}
.card p{margin:.2em 0;font-size:12px;color:#444}svg{max-width:100%;height:auto}
code{background:#f4f4f7;padding:0 .2em}.guide{background:#eef5fb;
padding:.5em .8em;border-radius:6px}.warn{background:#fff4d6;padding:.5em .8em;border-radius:6px}
"""

GUIDE = """<p class=guide><b>In a minute:</b> press play on <i>original</i> below, then on the
others: how close do they sound? The left picture under a player shows what is there (time to the
right, pitch upwards, bright is loud), the right one how far each spot is shifted in phase: the
darker, the closer to the original waveform. Then look at the curves: to the right costs more bits,
and the arrow in each title says which way is better. A name ends in the rate asked for, in
kbps.</p>"""


def write_report(
    out: Path,
    rows: Sequence[Row],
    stats: Sequence[Stat],
    facts: dict[str, Any],
    clips: Sequence[Clip],
    *,
    audio: Path,
) -> Path:
    """Write the report to ``out``; ``clips`` are the ones to hear, their audio lies in ``audio``.

    ``facts``: ``title``, ``metrics`` (names), ``baseline``, ``absent`` and ``missing`` (what is
    not there and why), ``systems`` (name to title), ``remarks`` and ``method`` (nested).
    """
    metrics = [name for name in facts["metrics"] if name not in facts["missing"]]
    parts = [
        _head(rows, facts),
        "<h2>Listen and look</h2>" + _listening(rows, clips, audio, facts),
        "<h2>Quality against rate</h2><p>Each point is the mean over all clips, the bar its 95 %"
        " interval. Rates are measured from the bytes on disk.</p>",
        _drawing(plots.rate_quality, stats, [n for n in RATE_PLOTS if n in metrics]),
        "<h2>Means</h2>" + _means(stats, metrics),
    ]
    if facts["baseline"]:
        parts.append(_differences(stats, metrics, facts["baseline"]))
    parts += [
        "<h2>Set by set</h2><p>In brackets: number of clips.</p>",
        _drawing(plots.bars, stats, [n for n in BAR_PLOTS if n in metrics]),
        "<h2>What failed</h2>" + tables.failed(failures(rows)),
        "<h2>Published figures of codecs that did not run here</h2><p class=warn><b>Published, not"
        " measured here:</b> by others, on other clips, with other versions of the metrics.</p>",
        tables.public(),
        "<h2>How it was measured</h2>" + _method(facts),
        tables.meanings(metrics),
    ]
    title = tables.escape(facts["title"])
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )
    path = out / REPORT
    write_bytes(path, page.encode())
    return path


def _head(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    clips = {row["clip"]: float(row["seconds"] or 0) for row in rows}
    minutes = sum(clips.values()) / 60
    sets = len({row["set"] for row in rows})
    text = (
        f"<h1>{tables.escape(facts['title'])}</h1><p>{len(clips)} clips ({minutes:.1f} minutes) of"
        f" {sets} set(s) through {len(facts['systems'])} systems.</p>"
    )
    rest = [f"{name} is absent: {why}" for name, why in facts["absent"].items()]
    rest += [f"{METRICS[name].label} is missing: {why}" for name, why in facts["missing"].items()]
    n_failed = len(failures(rows))
    rest += [f"{n_failed} values could not be measured, see What failed"] if n_failed else []
    rest += facts["remarks"]
    if rest:
        lines = "".join(f"<li>{tables.escape(line)}</li>" for line in rest)
        text += f'<div class="warn"><b>Not everything is here</b><ul>{lines}</ul></div>'
    names = ([tables.escape(k), tables.escape(v)] for k, v in facts["systems"].items())
    return text + GUIDE + tables.table(["system", "what it is"], names)


def _drawing(draw: Any, stats: Sequence[Stat], metrics: Sequence[str]) -> str:
    if not metrics or not any(s.system != "reference" for s in stats):
        return "<p>Nothing to plot.</p>"
    try:
        return f"<figure>{draw(stats, metrics)}</figure>"
    except ImportError:
        return "<p>No plot: matplotlib is not installed.</p>"


def _means(stats: Sequence[Stat], metrics: Sequence[str]) -> str:
    text = (
        "<p>Mean and 95 % bootstrap interval over clips; the arrow shows which way is better."
        " Where a metric failed on some clips, n is the number of clips left.</p>"
    )
    for group in dict.fromkeys(s.group for s in stats):
        body = tables.means(stats, group, metrics)
        if group.startswith("set: "):
            text += f"<details><summary>{tables.escape(group)}</summary>{body}</details>"
        else:
            text += f"<h3>{tables.escape(group)}</h3>{body}"
    return text


def _differences(stats: Sequence[Stat], metrics: Sequence[str], baseline: str) -> str:
    text = (
        f"<h2>Differences to {tables.escape(baseline)}</h2><p>Clip by clip, over the clips that"
        " both have a value for. Blue: better, orange: worse, where the 95 % interval leaves out"
        " zero.</p>"
    )
    for group in dict.fromkeys(s.group for s in stats):
        if not group.startswith("set: "):
            body = tables.differences(stats, group, metrics, baseline)
            text += f"<h3>{tables.escape(group)}</h3>{body}"
    return text


def _method(facts: dict[str, Any]) -> str:
    return (
        "<p>Every clip is averaged to mono, resampled to 24 kHz and given to every system at its"
        " own level; nothing is normalised. A system resamples to its own rate and its output"
        " comes back to 24 kHz. Its known delay is taken off, then the lag of at most 0.5 ms with"
        " the best correlation (whole samples; column <code>lag_samples</code>). <b>kbps</b> is"
        " 8 times the bytes of the codec's packets on disk by the length of the clip, without"
        " file headers; for <code>.eul</code> with packet headers and checksums, for Opus without"
        " Ogg's framing. <b>kbps of file</b> has everything.</p>" + tables.facts(facts["method"])
    )


def _listening(
    rows: Sequence[Row], clips: Sequence[Clip], folder: Path, facts: dict[str, Any]
) -> str:
    text = (
        f"<p>Up to {listen.MAX_SECONDS:g} s of {len(clips)} clip(s). Left the loudness at each time"
        " and frequency, right the phase error: dark is exact, yellow is opposite, white is too"
        " quiet to matter.</p>"
    )
    by_key = {(row["clip"], row["system"]): row for row in rows}
    for clip in clips:
        original_file = folder / audio_name(clip, "original")
        if not original_file.is_file():
            continue
        original, rate = listen.read_start(original_file)
        cards = [_card("original", "", original, None, rate)]
        for system in facts["systems"]:
            row = by_key.get((clip.name, system))
            file = folder / audio_name(clip, system)
            if row is None or system == "reference" or not file.is_file():
                continue
            x, _ = listen.read_start(file)
            shown = ("si_sdr", "pesq_wb", "ip_rad")
            values = [f"{float(row['kbps']):.2f} kbps"] if row["kbps"] else []
            values += [
                f"{METRICS[m].label} {float(row[m]):.2f} {METRICS[m].unit}".strip()
                for m in shown
                if row.get(m)
            ]
            cards.append(_card(system, ", ".join(values), x, original, rate))
        name = f"{clip.set}: {clip.name}"
        text += f'<h3>{tables.escape(name)}</h3><div class="cards">{"".join(cards)}</div>'
    return text


def _card(name: str, values: str, x: np.ndarray, reference: np.ndarray | None, rate: int) -> str:
    title = tables.escape(name)
    try:
        image = (
            listen.picture(x, None, rate, title)
            if reference is None
            else listen.picture(reference, x, rate, title)
        )
    except ImportError:
        image = "<p>No picture: matplotlib is not installed.</p>"
    return (
        f'<div class="card"><b>{title}</b><p>{tables.escape(values) or "&nbsp;"}</p>'
        f"{listen.player(x, rate, title)}{image}</div>"
    )
