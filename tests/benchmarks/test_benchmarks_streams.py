"""The benchmarks of streams and files: they run, and what they compute is right."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
linux = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads Linux's /proc")


def load(name):
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- live_pipe


def test_delays_are_from_birth_to_output():
    """Two pieces of 240 samples go in at 10.01 s and 10.02 s, and come out as 100, 300, 80."""
    live = load("live_pipe")
    taken = [(240, 10.01), (480, 10.02), (720, 11.0)]
    given = [(100, 10.5), (400, 10.75), (480, 11.5)]  # the last after the input's end: left out
    delay = live.delays(taken, given)
    born = 10.01 - (239 - np.arange(240)) / 24_000
    assert len(delay) == 400
    np.testing.assert_allclose(delay[:100], 10.5 - born[:100], rtol=0, atol=1e-9)
    np.testing.assert_allclose(delay[100:240], 10.75 - born[100:], rtol=0, atol=1e-9)
    assert delay[240] == pytest.approx(10.75 - (10.02 - 239 / 24_000))


@pytest.mark.parametrize("late", [0, 1, 700, -5])
def test_lag_is_found(late):
    live = load("live_pipe")
    x = np.random.default_rng(0).standard_normal(5000)
    assert live.lag(x[1000:4000], x[1000 - late : 4000 - late]) == late


def test_a_pipe_has_the_delay_that_is_promised(weights, capfd):
    live = load("live_pipe")
    options = ["--seconds", "1.5", "--block-frames", "8", "--packet", "4", "--json"]
    assert live.main(["--weights", str(weights), *options]) == 0
    result = json.loads(capfd.readouterr().out)
    promised, delay = result["promised_ms"], result["delay_ms"]
    assert result["lag_samples"] == 0 and result["same_length"]
    assert delay["largest"] >= delay["mean"] > promised["latency_ms"]
    assert promised["waiting_ms"] == pytest.approx(7 * 11)  # the first frame of a block of 8
    assert promised["sum"] == pytest.approx(promised["latency_ms"] + 77)


@pytest.mark.parametrize(("packet", "block", "most"), [(24, 24, 23), (24, 8, 23), (4, 6, 7)])
def test_frames_wait_for_their_block_and_its_last_packet(packet, block, most):
    assert load("live_pipe").waiting(packet, block) == most
    came = np.arange(1000) // packet  # packet of each frame
    ready = [came[t // block * block + block - 1] for t in range(900)]
    assert max((p + 1) * packet - 1 - t for t, p in enumerate(ready)) == most


# --- determinism


def test_determinism(weights, tmp_path, capsys):
    module = load("determinism")
    common = ["--weights", str(weights), "--seconds", "1"]
    assert module.main([*common, "--save", str(tmp_path / "a.npz")]) == 0
    out = capsys.readouterr().out
    for exact in ("again", "stream, chunks of 999 samples"):
        assert f"| {exact} | 0 of 1472 | 0 | 0 |" in out  # 92 frames of 16 codes
    assert module.main([*common, "--against", str(tmp_path / "a.npz")]) == 0
    assert "| 0 of 1472 | 0 | 0 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        module.main([*common[:2], "--seconds", "2", "--against", str(tmp_path / "a.npz")])


# --- long_files


@linux
def test_long_files(tmp_path, capfd):
    module = load("long_files")
    page = tmp_path / "page.md"
    assert module.main(["--tiny", "--minutes", "0.1", "--write", str(page)]) == 0
    table = capfd.readouterr().out
    assert page.read_text().endswith(table) and table.count("\n") == 3
    cells = [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]]
    assert cells[0] == "0.1" and cells[3] == cells[6] == "1.00"
    assert all(float(cell) > 0 for cell in cells)


def test_long_audio_has_its_length_and_changes(tmp_path):
    module = load("long_files")
    module.make_audio(tmp_path / "a.wav", 20)
    x, rate = module.audio.read(tmp_path / "a.wav")
    clip, _ = module.audio.read(module.SAMPLE)
    n = clip.shape[1]
    assert rate == 24_000 and x.shape == (1, 480_000)
    np.testing.assert_allclose(x[:, n : 2 * n], 0.99 * clip, rtol=0, atol=1e-4)
