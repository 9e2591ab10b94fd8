"""What a run tells: a CSV file, a progress bar or plain lines, a picture."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..tabular import csv_text, read_csv, write_csv

__all__ = ["Averages", "CsvLog", "Reporter", "plot_log"]

PRINT_SECONDS = 15.0  # at least, between two lines


class CsvLog:
    """Rows of numbers; a column that comes up later is added to the header.

    On resume, rows after ``last_step`` are dropped: those steps are about to be done again.
    """

    def __init__(self, path: Path, last_step: int = 0):
        self.path = path
        self.rows: list[Mapping[str, Any]] = []
        self.columns: list[str] = []
        if last_step and path.is_file():
            rows = [r for r in read_csv(path) if (r.get("step") or "").isdecimal()]
            self.rows += [r for r in rows if int(r["step"]) <= last_step]
            self.columns = list(self.rows[0]) if self.rows else []
        write_csv(path, self.rows, self.columns)

    def write(self, row: Mapping[str, float]) -> None:
        self.rows.append(row)
        new = [k for k in row if k not in self.columns]
        if new:
            self.columns += new
            write_csv(self.path, self.rows, self.columns)
            return
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            file.write(csv_text([row], self.columns, header=False))


class Averages:
    """Means of numbers over steps, and the time a step takes."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, Any] = {}
        self._steps = 0
        self._since = time.monotonic()

    def add(self, values: Mapping[str, Any]) -> None:
        """The numbers of one step; tensors stay where they are. None for a skipped step."""
        self._steps += 1
        self.count += bool(values)
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def take(self) -> dict[str, float]:
        """The means since the last call, and ``ms_per_step``."""
        means = {name: float(value) / self.count for name, value in self._sums.items()}
        means["ms_per_step"] = 1000 * (time.monotonic() - self._since) / self._steps
        self.__init__()
        return means


class Reporter:
    """CSV, and a progress bar or, where the output is no terminal, a line now and then."""

    def __init__(self, out: Path, steps: int, first_step: int, quiet: bool = False):
        self.csv = CsvLog(out / "log.csv", first_step)
        self.quiet = quiet
        self.last_print = 0.0
        self.bar: Any = None
        if not quiet and sys.stderr.isatty():
            with contextlib.suppress(ImportError):
                self.bar = _progress_bar(steps, first_step)

    def log(self, row: dict[str, float]) -> None:
        """One row: ``step`` and whatever else is known of it."""
        self.csv.write(row)
        step = int(row["step"])
        shown = ("loss", "grad_norm", "lr", "val_si_sdr_6", "val_si_sdr_12")
        text = "  ".join(f"{k} {row[k]:.4g}" for k in shown if k in row)
        if self.bar is not None:
            self.bar.update(0, completed=step, note=text)
        elif not self.quiet:
            now = time.monotonic()
            if now - self.last_print >= PRINT_SECONDS or any(k.startswith("val") for k in row):
                self.last_print = now
                print(f"step {step}  {row.get('seconds', 0.0):.0f} s  {text}", file=sys.stderr)

    def say(self, text: str) -> None:
        if self.bar is not None:
            self.bar.console.print(text, highlight=False, markup=False)
        elif not self.quiet:
            print(text, file=sys.stderr)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def _progress_bar(steps: int, first_step: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
    bar.add_task("training", total=steps, completed=first_step, note="")
    bar.start()
    return bar


def plot_log(log: Path, picture: Path) -> bool:
    """Draw loss and validation curves of ``log.csv``; False if matplotlib is not there."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    rows = read_csv(log)

    def curve(key: str) -> tuple[list[float], list[float]]:
        points = [(float(r["step"]), float(r[key])) for r in rows if r.get(key)]
        return [p[0] for p in points], [p[1] for p in points]

    columns = list(rows[0]) if rows else []
    losses = [c for c in columns if c == "loss" or c.startswith("loss_")]
    scores = [c for c in columns if c.startswith("val_si_sdr")]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for key in losses:
        left.plot(*curve(key), label=key.removeprefix("loss_"), lw=2 if key == "loss" else 1)
    for key in scores:
        right.plot(*curve(key), "o-", ms=3, label=key.removeprefix("val_si_sdr_"))
    left.set(xlabel="step", ylabel="training loss")
    right.set(xlabel="step", ylabel="held-out SI-SDR, dB")
    for axes, keys in ((left, losses), (right, scores)):
        axes.grid(alpha=0.3)
        if keys:
            axes.legend(fontsize=8)
    figure.savefig(picture, dpi=110)
    return True
