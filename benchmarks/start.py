"""Processor time and memory of short commands: what it takes to start.

    python benchmarks/start.py                      each command nine times
    python benchmarks/start.py --write docs/start.md

Every command runs in a fresh process, on one thread, with files that the system has in memory. The
commands take turns, so that other load on the machine hits all of them. Seconds are those of the
processor, in the process and in the system on its behalf, start and end of Python included; the
least of all runs is nearest to what the command needs, the median is what it took on this machine.
Memory is the peak resident size.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eulerodec.tabular import markdown_table

# makes the input; in a process of its own, as a child's peak is at least that of its parent
MAKE = """if True:
    import sys
    import numpy as np
    from eulerodec import audio
    from eulerodec.samples import SAMPLE
    wav, rate = audio.read(SAMPLE)
    for seconds in (1, 30):
        audio.write(f"{sys.argv[1]}/{seconds}.wav", np.resize(wav, (1, seconds * rate)), rate)
"""
PAGE = """# Start

Written by `python benchmarks/start.py --write docs/start.md`, which says how. {runs} runs of each
command on one thread, torch {torch}; seconds of processor time. The last line is what torch takes,
in a process that does nothing else: compare with it, as seconds depend on the processor and on what
else it does. A command that codes can take less, because it looks for no garbage while it imports.

"""


def commands(folder: Path) -> dict[str, list[str]]:
    """Arguments of Python by what the table calls them, in an order in which they can run."""
    wav, eul = folder / "1.wav", folder / "1.eul"
    long_wav, long_eul = folder / "30.wav", folder / "30.eul"
    line = {
        "`--help`": ["--help"],
        "`encode` of a file that is not there": ["encode", str(folder / "none.wav")],
        "`encode`, 1 s": ["encode", str(wav), "-o", str(eul)],
        "`encode`, 30 s": ["encode", str(long_wav), "-o", str(long_eul)],
        "`decode`, 1 s": ["decode", str(eul), "-o", str(folder / "out.wav")],
        "`decode`, 30 s": ["decode", str(long_eul), "-o", str(folder / "out.wav")],
        "`info`, 30 s": ["info", str(long_eul)],
        "`rate`, 30 s": ["rate", str(long_eul), "-o", str(folder / "low.eul"), "--bitrate", "3"],
    }
    return {name: ["-m", "eulerodec", *argv] for name, argv in line.items()} | {
        "`import torch` alone": ["-c", "import torch"]
    }


def run(argv: Sequence[str]) -> tuple[float, float]:
    """Processor seconds of a process and its peak in MB."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *argv],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):  # 3: no such file
        raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}")
    size = used.ru_maxrss if sys.platform == "darwin" else 1024 * used.ru_maxrss
    return used.ru_utime + used.ru_stime, 1e-6 * size


def measure(runs: int) -> list[dict[str, Any]]:
    """Numbers of each command; one more run than these comes first and does not count."""
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([sys.executable, "-c", MAKE, name], check=True)
        todo = commands(Path(name))
        turns = [{key: run(argv) for key, argv in todo.items()} for _ in range(runs + 1)][1:]
    rows = []
    for key in todo:
        seconds = [turn[key][0] for turn in turns]
        rows.append(
            {
                "command": key,
                "least_s": min(seconds),
                "median_s": statistics.median(seconds),
                "peak_mb": max(turn[key][1] for turn in turns),
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """As Markdown."""
    return markdown_table(
        ["command", "least, s", "median, s", "peak, MB"],
        [
            [r["command"], f"{r['least_s']:.2f}", f"{r['median_s']:.2f}", f"{r['peak_mb']:.0f}"]
            for r in rows
        ],
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, metavar="N")
    parser.add_argument("--json", action="store_true", help="numbers as JSON")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="the table as a page, too")
    args = parser.parse_args(argv)
    rows = measure(args.runs)
    print(json.dumps(rows, indent=2) if args.json else table(rows))
    if args.write:
        from importlib.metadata import version

        text = PAGE.format(runs=args.runs, torch=version("torch")) + table(rows) + "\n"
        args.write.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
