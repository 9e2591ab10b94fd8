"""Tables grow row by row, go on after a stop, and name what failed."""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest
from fake_systems import Fake, copy, die, fail, half_the_rate, nan, other_speech

from eulerodec.errors import AudioError, ConfigError
from eulerodec.evaluate import runner, task
from eulerodec.evaluate.clips import find_clips, read_clip

RATE = 24_000
NAMES = ("si_sdr", "pc", "seg_snr")


def make_tasks(clips, *systems, keep=""):
    found, _ = find_clips(clips)
    return [
        task.Task(clip, system, NAMES, task.fingerprint(system, clip, NAMES), keep)
        for clip in found
        for system in systems
    ]


def errors(row):
    return json.loads(row["errors"] or "{}")


def test_one_row_for_each_clip_and_system(clips, tmp_path):
    rows = runner.run(make_tasks(clips, Fake(copy)), tmp_path / "out")
    assert [(r["clip"], r["set"]) for r in rows] == [
        ("other/b.wav", "other"),
        ("other/c.wav", "other"),
        ("read/a.wav", "read"),
    ]
    for row in rows:
        assert float(row["pc"]) == pytest.approx(1) and row["si_sdr"] == "inf"
        assert float(row["kbps"]) == pytest.approx(8 / float(row["seconds"]), rel=1e-4)
        assert float(row["file_kbps"]) == pytest.approx(8.8 / float(row["seconds"]), rel=1e-4)
        assert errors(row) == {} and row["lag_samples"] == "0"
    with open(tmp_path / "out" / runner.TABLE, newline="") as file:
        assert list(csv.DictReader(file)) == rows


def test_the_level_is_that_of_the_reference(clips, tmp_path):
    rows = runner.run(make_tasks(clips, Fake(copy)), tmp_path / "out")
    wav = read_clip(find_clips(clips)[0][0])
    assert float(rows[0]["level_dbfs"]) == pytest.approx(10 * np.log10(np.mean(wav**2)), abs=0.01)


def test_a_wrong_sample_rate_is_caught(clips, tmp_path):
    row = runner.run(make_tasks(clips, Fake(half_the_rate)), tmp_path / "out")[0]
    assert "16000 Hz" in errors(row)["system"] and row["pc"] == ""


def test_another_clips_output_scores_as_noise(clips, tmp_path):
    for row in runner.run(make_tasks(clips, Fake(other_speech)), tmp_path / "out"):
        assert float(row["si_sdr"]) < -10 and float(row["pc"]) < 0.6


@pytest.mark.parametrize(("make", "words"), [(fail, "AudioError: no luck"), (nan, "NaN")])
def test_a_system_that_fails_is_named_and_the_others_go_on(clips, tmp_path, make, words):
    rows = runner.run(make_tasks(clips, Fake(make), Fake(copy, "good:1")), tmp_path / "out")
    assert len(rows) == 6
    for bad, good in zip(rows[::2], rows[1::2], strict=True):
        assert words in errors(bad)["system"] and errors(good) == {}


def test_a_stopped_run_goes_on(clips, tmp_path):
    out = tmp_path / "out"
    counter = Counter()
    tasks = make_tasks(clips, Fake(counter, "a:1"), Fake(counter, "b:1"))
    with pytest.raises(KeyboardInterrupt):
        runner.run(tasks, out, done=lambda row, count: stop_at(count, 4))
    assert counter.calls == 4
    table = out / runner.TABLE
    table.write_bytes(table.read_bytes()[:-7])  # the last line was cut off too
    counts = []
    rows = runner.run(tasks, out, done=lambda row, count: counts.append(count))
    assert counter.calls == 4 + 3 and counts == [4, 5, 6]
    assert rows == runner.run(tasks, tmp_path / "fresh")
    assert rows == sorted(runner.read_table(table), key=lambda r: rows.index(r))
    counter.calls = 0
    runner.run(tasks, out)
    assert counter.calls == 0


class Counter:
    calls = 0

    def __call__(self, wav):
        self.calls += 1
        return copy(wav)


def stop_at(count, limit):
    if count == limit:
        raise KeyboardInterrupt


def test_rows_of_something_else_are_measured_again(clips, tmp_path):
    out, counter = tmp_path / "out", Counter()
    runner.run(make_tasks(clips, Fake(counter)), out)
    runner.run(make_tasks(clips, Fake(counter, version="2")), out)
    assert counter.calls == 6
    os.utime(clips / "read/a.wav", ns=(1, 1))  # another file by that name
    runner.run(make_tasks(clips, Fake(counter, version="2")), out)
    assert counter.calls == 7


def test_failed_rows_are_tried_again(clips, tmp_path):
    out = tmp_path / "out"
    runner.run(make_tasks(clips, Fake(fail)), out)
    rows = runner.run(make_tasks(clips, Fake(copy)), out)
    assert [errors(row) for row in rows] == [{}] * 3


def test_audio_is_kept_and_made_again_if_lost(clips, tmp_path):
    out, counter = tmp_path / "out", Counter()
    tasks = make_tasks(clips, Fake(counter), keep=str(out / "audio"))
    runner.run(tasks, out)
    kept = sorted((out / "audio").iterdir())
    assert len(kept) == 6  # original and decoded
    kept[0].unlink()
    runner.run(tasks, out)
    assert counter.calls == 4 and sorted((out / "audio").iterdir()) == kept


def test_another_table_is_not_overwritten(clips, tmp_path):
    (tmp_path / runner.TABLE).write_text("name,value\nx,1\n")
    with pytest.raises(ConfigError, match="another --out"):
        runner.run(make_tasks(clips, Fake(copy)), tmp_path)
    assert (tmp_path / runner.TABLE).read_text() == "name,value\nx,1\n"


def test_a_process_that_dies_costs_its_own_row_alone(clips, tmp_path):
    tasks = make_tasks(clips, Fake(copy, "good:1"))
    tasks.insert(1, make_tasks(clips, Fake(die, "bad:1"))[0])
    rows = runner.run(tasks, tmp_path / "out", jobs=2)
    assert [errors(row).get("system") for row in rows] == [None, "the process died", None, None]
    one = runner.run([t for t in tasks if t.system.name == "good:1"], tmp_path / "one")
    assert one == [row for row in rows if row["system"] == "good:1"]


def test_clips_of_a_manifest(clips, tmp_path):
    lines = [{"path": "clips/read/a.wav", "set": "x"}, {"path": "clips/other/b.wav"}]
    manifest = tmp_path / "list.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in [*lines, lines[0]]) + "\n\n")
    found, remarks = find_clips(manifest)
    assert [(c.name, c.set) for c in found] == [
        ("clips/read/a.wav", "x"),
        ("clips/other/b.wav", "clips"),
    ]
    assert remarks == ["clips/read/a.wav was listed 2 times"]
    manifest.write_text('{"path": "nothing.wav"}\n')
    with pytest.raises(AudioError, match=r"nothing\.wav: no such file"):
        find_clips(manifest)
    manifest.write_text("[]\n")
    with pytest.raises(ConfigError, match="line 1"):
        find_clips(manifest)


def test_clips_of_a_folder(clips, tmp_path):
    found, remarks = find_clips(clips, limit_per_set=1)
    assert [c.name for c in found] == ["other/b.wav", "read/a.wav"]
    assert remarks == ["limited to 1 clips of each set"]
    with pytest.raises(AudioError, match="no audio files"):
        (tmp_path / "empty").mkdir()
        find_clips(tmp_path / "empty")
