"""The loss benchmark runs and writes its tables; libopus by itself, where it is installed."""

from __future__ import annotations

import ctypes.util
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from libopus import LibOpus

from eulerodec.errors import ConfigError
from eulerodec.metrics import si_sdr

ROOT = Path(__file__).parents[2]
TINY = ["--tiny", "--seconds", "1", "--bitrates", "6", "--losses", "0", "10", "--bursts", "10"]
needs_opus = pytest.mark.skipif(not ctypes.util.find_library("opus"), reason="needs libopus")


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location(
        "packet_loss", ROOT / "benchmarks" / "packet_loss.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quick_scores(monkeypatch, bench):
    """PESQ is slow and may be missing."""
    monkeypatch.setattr(bench, "pesq_wb", lambda a, b: 1.0)
    monkeypatch.setattr(bench, "estoi", lambda a, b: 0.5)


@pytest.mark.usefixtures("quick_scores")
def test_tables_are_written_between_the_marks(bench, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{bench.MARKS[0]}\nold\n{bench.MARKS[1]}\nafter\n")
    systems = ["--systems", "own", "silence", "redundant"]
    assert bench.main([*TINY, *systems, "--write", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    assert text.count("EuleroDec, 25% of it repeats") == 3 and "10 %, bursts" in text
    assert capsys.readouterr().out.strip() in text


@pytest.mark.usefixtures("quick_scores")
def test_without_loss_own_is_the_plain_codec(bench, capsys):
    assert bench.main([*TINY, "--systems", "own", "silence", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    plain, silence = (r for r in rows if r["loss"] == "0 %")
    assert plain["si_sdr"] == silence["si_sdr"] and plain["lost"] == 0
    lossy = [r for r in rows if r["loss"] == "10 %"]
    assert all(r["lost"] > 0 and r["si_sdr"] < plain["si_sdr"] for r in lossy)


def test_the_page_has_the_marks_and_the_measured_tables(bench):
    page = (ROOT / "docs" / "packets.md").read_text(encoding="utf-8")
    table = page.split(bench.MARKS[0])[1].split(bench.MARKS[1])[0]
    for title in bench.MEASURES.values():
        assert f"| {title} |" in table
    assert len(re.findall(r"^\| Opus \|", table, flags=re.M)) == 6


def test_wrong_sets_and_no_library_are_one_line(bench, capsys):
    with pytest.raises(SystemExit):
        bench.main([*TINY, "--sets", "none", "--systems", "own"])
    assert bench.main([*TINY, "--libopus", "/nowhere/libopus.so"]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()[-1]) > 0
    with pytest.raises(ConfigError, match="cannot be loaded"):
        LibOpus(24_000, "/nowhere/libopus.so")


@needs_opus
def test_opus_codes_and_conceals():
    opus = LibOpus(24_000)
    assert "libopus" in opus.version
    time = np.arange(24_000) / 24_000
    wav = (0.3 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)
    packets, late = opus.encode(wav, 24)
    assert len(packets) == -(-(24_000 + late) // 480)
    whole = opus.decode(packets)
    assert si_sdr(wav[2400:], whole[late:][2400:24_000]) > 6  # SILK codes no tones well
    lost = opus.decode([None if k == 25 else p for k, p in enumerate(packets)])
    gap = slice(25 * 480, 26 * 480)
    assert np.array_equal(lost[: gap.start], whole[: gap.start])
    level = np.linalg.norm(lost[gap]) / np.linalg.norm(whole[gap])
    assert 0.5 < level < 1.5 and not np.array_equal(lost[gap], whole[gap])
    with pytest.raises(ConfigError, match="encoder"):
        LibOpus(44_100).encode(wav, 12)
