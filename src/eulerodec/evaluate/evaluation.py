"""The whole evaluation: what ``eulerodec evaluate`` does."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__, metrics
from ..errors import ConfigError
from ..files import PathLike, write_bytes
from . import runner, summary, systems, task
from .align import MAX_LAG_S
from .clips import SAMPLE_RATE, Clip, find_clips
from .report import write_report
from .report.markdown import page as markdown_page

__all__ = ["Result", "evaluate"]

SUMMARY, FACTS, AUDIO = "summary.csv", "run.json", "audio"


@dataclass(frozen=True)
class Result:
    """``report``, ``table``, ``summary``: files. ``new``: rows that were not there before."""

    report: Path
    table: Path
    summary: Path
    rows: int
    new: int
    failures: int
    absent: dict[str, str]
    missing: dict[str, str]


def evaluate(
    source: PathLike,
    spec: str,
    out: PathLike,
    *,
    baseline: str = "",
    metric_names: Sequence[str] = (),
    lyra_models: PathLike | None = None,
    limit_per_set: int = 0,
    in_domain: Sequence[str] = (),
    listen: int = 4,
    jobs: int = 1,
    markdown: PathLike | None = None,
    note: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Result:
    """Measure the systems of ``spec`` on the clips of ``source``; write everything to ``out``.

    Args:
        source: clips, see :func:`~.clips.find_clips`.
        spec: systems, see :func:`~.systems.parse_list`.
        out: folder of the results; a run that was stopped goes on there.
        baseline: the system that others are compared with, by default the first that is a codec.
        metric_names: all by default.
        lyra_models: folder of Lyra's networks.
        limit_per_set: clips of each set; 0 for all.
        in_domain: sets that are averaged apart from the others.
        listen: clips to hear in the report, of different sets as far as there are.
        jobs: processes.
        markdown: a file for the main tables.
        note: gets a line about everything that is not there.
        progress: gets rows done, rows in all, and a name.

    Raises:
        ConfigError: an unknown system, metric or set.
        AudioError: no clips.
        WeightsError: weights that are not there.
        OSError: the results cannot be written.
    """
    out = Path(out)
    clips, remarks = find_clips(source, limit_per_set)
    unknown = sorted(set(in_domain) - {clip.set for clip in clips})
    if unknown:
        raise ConfigError(f"no set {unknown[0]!r}; there are {', '.join({c.set for c in clips})}")
    measures = metrics.select(metric_names)
    names = [
        m.name for x in measures for m in x.metrics if not metric_names or m.name in metric_names
    ]
    missing = {
        m.name: f"not installed: {metrics.missing(x)}"
        for x in measures
        if metrics.missing(x)
        for m in x.metrics
        if m.name in names
    }
    present, absent = _build(spec, None if lyra_models is None else Path(lyra_models))
    codecs = [s.name for s in present if s.kind != "reference"]
    baseline = baseline or (codecs[0] if codecs else "")
    if baseline and baseline not in [s.name for s in present]:
        where = "absent here" if baseline in absent else "not among --systems"
        raise ConfigError(f"baseline {baseline}: {where}")
    for name, why in absent.items():
        note(f"{name} is absent: {why}")
    for name, why in missing.items():
        note(f"metric {name} is {why}")

    heard = _choose(clips, listen)
    tasks = [
        task.Task(
            clip,
            system,
            tuple(names),
            task.fingerprint(system, clip, names),
            str(out / AUDIO) if clip in heard else "",
        )
        for clip in clips
        for system in present
    ]
    new: list[str] = []

    def done(row: task.Row, count: int) -> None:
        new.append(row["clip"])
        progress(count, len(tasks), f"{row['clip']} {row['system']}")
        if '"system"' in row["errors"]:
            note(f"{row['clip']} through {row['system']}: {json.loads(row['errors'])['system']}")

    rows = runner.run(tasks, out, jobs=jobs, done=done)
    stats = summary.summarize(rows, names, baseline, in_domain)
    summary.write_summary(out / SUMMARY, stats)
    facts = {
        "title": "EuleroDec: evaluation",
        "metrics": names,
        "baseline": baseline,
        "absent": absent,
        "missing": missing,
        "systems": {s.name: s.title for s in present},
        "remarks": remarks,
        "method": _method(source, clips, present, measures, rows, in_domain),
    }
    write_bytes(out / FACTS, (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode())
    if markdown is not None:
        write_bytes(Path(markdown), markdown_page(stats, facts).encode())
    report = write_report(out, rows, stats, facts, heard, audio=out / AUDIO)
    n_failed = len(summary.failures(rows))
    return Result(
        report, out / runner.TABLE, out / SUMMARY, len(rows), len(new), n_failed, absent, missing
    )


def _build(spec: str, lyra_models: Path | None) -> tuple[list[systems.System], dict[str, str]]:
    present: list[systems.System] = []
    absent: dict[str, str] = {}
    for one in systems.parse_list(spec):
        try:
            present.append(systems.build(one, lyra_models=lyra_models))
        except systems.Absent as error:
            absent[one.text] = str(error)
    if not present:
        raise ConfigError("none of the systems can run here: " + "; ".join(absent.values()))
    return present, absent


def _choose(clips: Sequence[Clip], n: int) -> list[Clip]:
    """``n`` clips, one of each set in turn."""
    by_set: dict[str, list[Clip]] = {}
    for clip in clips:
        by_set.setdefault(clip.set, []).append(clip)
    turns = max(map(len, by_set.values()))
    in_turn = [group[i] for i in range(turns) for group in by_set.values() if i < len(group)]
    return in_turn[:n]


def _method(
    source: PathLike,
    clips: Sequence[Clip],
    present: Sequence[systems.System],
    measures: Sequence[metrics.Measure],
    rows: Sequence[task.Row],
    in_domain: Sequence[str],
) -> dict[str, Any]:
    """What somebody needs to know to repeat the numbers."""
    levels = [float(row["level_dbfs"]) for row in rows if row["level_dbfs"]]
    lags = [int(row["lag_samples"]) for row in rows if row["lag_samples"]]
    edge = round(SAMPLE_RATE * MAX_LAG_S)
    packages = ("numpy", "torch", "soxr", "soundfile", "matplotlib")
    return {
        "clips": f"{len(clips)} of {Path(source).name}",
        "in-domain sets": list(in_domain),
        "resampler": "soxr, very high quality, no delay",
        "level of references": f"{min(levels):.1f} to {max(levels):.1f} dB of full scale (RMS)"
        if levels
        else "",
        "lag left after known delays": f"{min(lags)} to {max(lags)} samples at {SAMPLE_RATE} Hz,"
        f" {sum(abs(lag) == edge for lag in lags)} of {len(lags)} at the limit of {edge}"
        if lags
        else "",
        "bootstrap": f"percentile, {summary.RESAMPLES} resamples over clips, seed {summary.SEED}",
        "systems": {
            s.name: {"known delay": f"{s.delay_s * 1000:g} ms"} | s.identity for s in present
        },
        "versions": {
            "eulerodec": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in packages},
            **metrics.versions(measures),
        },
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "command": " ".join(["eulerodec", *map(_without_folder, sys.argv[1:])]),
    }


def _without_folder(argument: str) -> str:
    """An absolute path is of this machine alone: its last part is enough."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
