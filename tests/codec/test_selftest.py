"""The doctor: golden files, what it says of a sound installation, and of a broken one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eulerodec import audio
from eulerodec.bitstream import dumps, read
from eulerodec.cli import main
from eulerodec.codec import selftest
from eulerodec.codec.streaming import StreamEncoder
from eulerodec.samples import SAMPLE

pytestmark = pytest.mark.usefixtures("same_threads")
ROWS = ["golden codes", "golden audio", "file", "streaming", "block size", "batch", "threads"]


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory):
    """1.2 s in place of the bundled clip, for the tiny weights."""
    clip = tmp_path_factory.mktemp("clip") / "clip.wav"
    audio.write(clip, audio.read(SAMPLE)[0][:, 24_000:52_800], 24_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selftest, "SAMPLE", clip)
        yield


@pytest.fixture(scope="module")
def with_golden(weights, tmp_path_factory, short_clip):
    """A directory of weights with its golden files."""
    directory = tmp_path_factory.mktemp("golden") / "tiny"
    shutil.copytree(weights, directory)
    selftest.write_golden(directory)
    return directory


@pytest.fixture
def golden(with_golden, tmp_path):
    """A copy that may be spoilt."""
    return Path(shutil.copytree(with_golden, tmp_path / "copy"))


def outcome(report):
    return {check["name"]: check["status"] for check in report["checks"]}


def change_codes(path: Path, count: int) -> None:
    file = read(path.read_bytes())
    codes = file.codes.copy()
    codes.reshape(-1)[:count] ^= 1
    path.write_bytes(dumps(file.info, codes))


def test_a_sound_installation(with_golden, capsys):
    assert main(["doctor", "--weights", str(with_golden)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [name for name in ROWS if any(line.startswith(name) for line in lines)] == ROWS
    assert main(["doctor", "--weights", str(with_golden), "--json", "--threads", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and [check["name"] for check in report["checks"]] == ROWS
    found = outcome(report)
    for exact in ("golden codes", "file", "streaming"):
        assert found[exact] == selftest.OK
    assert set(found.values()) <= {selftest.OK, selftest.WITHIN}
    assert report["versions"].keys() >= {"eulerodec", "python", "torch", "numpy"}
    assert report["machine"]["threads"] == 1


@pytest.mark.usefixtures("short_clip")
def test_weights_without_golden_files(weights, capsys):
    assert main(["doctor", "--weights", str(weights)]) == 0
    out = capsys.readouterr().out
    assert out.count("not checked") == 2 and "no golden.eul beside these weights" in out


@pytest.mark.parametrize(("count", "status"), [(5, selftest.WITHIN), (500, selftest.FAILED)])
def test_other_codes_than_the_golden_ones(golden, count, status):
    change_codes(golden / "golden.eul", count)
    report = selftest.examine(golden)
    assert outcome(report)["golden codes"] == status
    assert report["checks"][0]["codes_differ"] == count


@pytest.mark.parametrize(
    ("by", "status"), [(3e-6, selftest.WITHIN), (1e-4, selftest.FAILED), (np.nan, selftest.FAILED)]
)
def test_other_audio_than_the_golden_one(golden, capsys, by, status):
    path = golden / "golden.f32"
    samples = np.frombuffer(path.read_bytes(), "<f4").copy()
    samples[100] += by
    path.write_bytes(samples.tobytes())
    code = main(["doctor", "--weights", str(golden), "--json"])
    out, err = capsys.readouterr()
    assert outcome(json.loads(out))["golden audio"] == status
    assert code == (status == selftest.FAILED)
    assert err == ("error: failed: golden audio\n" if code else "")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: (d / "golden.eul").write_bytes(b"no file"), "damaged golden file"),
        (lambda d: (d / "golden.f32").write_bytes(b"odd"), "damaged golden file"),
        (lambda d: (d / "golden.f32").write_bytes(b""), "samples, golden 0"),
    ],
)
def test_damaged_golden_files(golden, spoil, words):
    spoil(golden)
    report = selftest.examine(golden)
    assert not report["ok"] and words in selftest.table(report)


def test_golden_files_of_other_weights(with_golden, other_weights, tmp_path):
    directory = shutil.copytree(other_weights, tmp_path / "other")
    for name in ("golden.eul", "golden.f32"):
        shutil.copy(with_golden / name, directory)
    report = selftest.examine(directory)
    assert not report["ok"] and "made with other weights" in report["checks"][0]["detail"]


def test_a_stream_must_be_exact(with_golden, monkeypatch):
    flush = StreamEncoder.flush
    monkeypatch.setattr(StreamEncoder, "flush", lambda self: flush(self) ^ (self.n_channels == 1))
    # whole and stream are spoilt alike: only the golden codes tell
    report = selftest.examine(with_golden)
    assert outcome(report)["streaming"] == selftest.OK and report["checks"][0]["codes_differ"]
    push = StreamEncoder.push

    def remember(self, x):
        self.in_chunks = x.shape[1] == 997 or getattr(self, "in_chunks", False)
        return push(self, x)

    monkeypatch.setattr(StreamEncoder, "push", remember)
    monkeypatch.setattr(
        StreamEncoder, "flush", lambda self: flush(self) ^ getattr(self, "in_chunks", False)
    )
    assert outcome(selftest.examine(with_golden))["streaming"] == selftest.FAILED


def test_golden_files_are_only_written_where_one_says(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--write-golden"]) == 2
    assert "--weights DIR" in capsys.readouterr().err
