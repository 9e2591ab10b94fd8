"""The benchmark of the start: what it runs, and that it measures processes, not itself."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "start.py"


@pytest.fixture(scope="module")
def start():
    spec = importlib.util.spec_from_file_location("start_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_process_is_measured_by_what_it_does():
    """Asked from a small process: the peak of a child is at least that of its parent."""
    todo = [
        "import time; time.sleep(0.5)",
        "import time\nwhile time.process_time() < 0.5: pass",
        "x = bytearray(300_000_000)",
    ]
    script = "import json, sys, start\n"
    script += "print(json.dumps([start.run(['-c', x]) for x in sys.argv[1:]]))"
    done = subprocess.run(
        [sys.executable, "-c", script, *todo],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(FILE.parent), *sys.path])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    idle, busy, large = json.loads(done.stdout)
    assert idle[0] < 0.4 <= busy[0]  # seconds of the processor, not of the clock
    assert idle[1] < 50 and 300 < large[1] < 350


def test_a_command_that_fails_is_no_measurement(start):
    with pytest.raises(RuntimeError, match="ended with 2"):
        start.run(["-m", "eulerodec", "encode", "--no-such-option"])


def test_every_command_has_a_row(start, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(start, "run", lambda argv: (0.25 if "torch" in argv[1] else 0.5, 30.0))
    assert start.main(["--runs", "2", "--json", "--write", str(tmp_path / "start.md")]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["least_s"] for row in rows] == [0.5] * (len(rows) - 1) + [0.25]
    page = (tmp_path / "start.md").read_text()
    assert all(row["command"] in page for row in rows) and "2 runs" in page
