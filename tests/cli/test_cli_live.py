"""A live stream into a file: what was encoded is on the disk, whatever happens."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cli import fails, put, speech, tree

from eulerodec import audio
from eulerodec.audio.wav import WavWriter
from eulerodec.cli import main

pytestmark = [
    pytest.mark.usefixtures("here", "same_threads"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]


def recorder(w, n: int = 96_000) -> subprocess.Popen:
    """``eulerodec encode - -o a.eul``, which has got 4 s and waits for more."""
    command = [sys.executable, "-m", "eulerodec", "encode", "-", "-o", "a.eul", *w]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        # a process started in the background of a script ignores Ctrl-C, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None
    WavWriter(process.stdin, 24_000, 1).write(speech(n))
    process.stdin.flush()
    part = Path("a.eul.part")
    for _ in range(600):
        if part.exists() and part.stat().st_size > 2400:  # 3.2 s at 6 kbps
            return process
        time.sleep(0.1)
    raise AssertionError("nothing was written")


@pytest.mark.parametrize("how", ["KILL", "INT", "TERM"])
def test_a_stream_that_is_cut_off(w, how):
    process = recorder(w)
    process.send_signal(getattr(signal, f"SIG{how}"))
    _, err = process.communicate()
    assert process.returncode not in (0, None) and tree() == {"a.eul.part"}
    assert b"Traceback" not in err
    assert main(["decode", "a.eul.part", "-o", "b.wav", "--recover", *w]) == 0
    got, _ = audio.read("b.wav")
    assert got.shape[1] >= 72_000
    put("c.wav", 96_000)
    assert main(["encode", "c.wav", "-o", "c.eul", "--packet", "24", *w]) == 0
    assert main(["decode", "c.eul", "-o", "d.wav", *w]) == 0
    early = got[:, :60_000]  # far from the end, where the rest is missing
    np.testing.assert_allclose(early, audio.read("d.wav")[0][:, :60_000], rtol=0, atol=1e-4)


def test_the_end_of_a_stream(w):
    process = recorder(w)
    process.communicate()
    assert process.returncode == 0 and tree() == {"a.eul"}
    assert main(["decode", "a.eul", "-o", "b.wav", *w]) == 0
    assert audio.read("b.wav")[0].shape == (1, 96_000)


def test_a_part_that_is_there_is_not_lost(w, capsys, monkeypatch):
    Path("a.eul.part").write_bytes(b"of yesterday")
    sink = io.BytesIO()
    WavWriter(sink, 24_000, 1).write(speech(100))
    sink.seek(0)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": sink}))
    fails(capsys, ["encode", "-", "-o", "a.eul", *w], 1, "a.eul: a.eul.part is there")
    assert Path("a.eul.part").read_bytes() == b"of yesterday"
