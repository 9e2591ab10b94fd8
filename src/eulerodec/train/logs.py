"""What a run tells: a CSV file, a progress bar or plain lines, TensorBoard, a picture."""

from __future__ import annotations

import contextlib
import csv
import sys
import time
from pathlib import Path
from typing import Any

from .recipe import TrainConfig

__all__ = ["CsvLog", "Reporter", "plot_log"]


class CsvLog:
    """Rows of numbers; a column that comes up later is added to the header.

    On resume, rows after ``last_step`` are dropped: those steps are about to be done again.
    """

    def __init__(self, path: Path, last_step: int = 0):
        self.path = path
        self.rows: list[dict[str, str]] = []
        self.columns: list[str] = []
        if last_step and path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self.columns = list(reader.fieldnames or [])
                self.rows = [r for r in reader if (r.get("step") or "").isdecimal()]
            self.rows = [r for r in self.rows if int(r["step"]) <= last_step]
        self._rewrite()

    def write(self, row: dict[str, float]) -> None:
        text = {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in row.items()}
        self.rows.append(text)
        new = [k for k in text if k not in self.columns]
        if new:
            self.columns += new
            self._rewrite()
            return
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(text)

    def _rewrite(self) -> None:
        with open(self.path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            if self.columns:
                writer.writeheader()
            writer.writerows(self.rows)


class Reporter:
    """CSV and, as available and asked for, progress bar, plain lines and TensorBoard."""

    def __init__(self, out: Path, config: TrainConfig, first_step: int, quiet: bool = False):
        self.csv = CsvLog(out / "log.csv", first_step)
        self.quiet, self.pause = quiet, config.print_seconds
        self.last_print = 0.0
        self.bar: Any = None
        self.board: Any = None
        if not quiet and sys.stderr.isatty():
            with contextlib.suppress(ImportError):
                self.bar = _progress_bar(config.steps, first_step)
        if config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(out / "tensorboard"))

    def log(self, row: dict[str, float]) -> None:
        """One row: ``step`` and whatever else is known of it."""
        self.csv.write(row)
        step = int(row["step"])
        if self.board is not None:
            for key, value in row.items():
                if key != "step":
                    self.board.add_scalar(key.replace("_", "/", 1), value, step)
        shown = ("loss", "nmse", "grad_norm", "lr", "val_si_sdr_6", "val_si_sdr_12")
        text = "  ".join(f"{k} {row[k]:.4g}" for k in shown if k in row)
        if self.bar is not None:
            self.bar.update(0, completed=step, note=text)
        elif not self.quiet:
            now = time.monotonic()
            if now - self.last_print >= self.pause or any(k.startswith("val") for k in row):
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
        if self.board is not None:
            self.board.close()


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
    with open(log, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

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
