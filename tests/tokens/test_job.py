"""Jobs from end to end: what is in the shards, and that a stop of any kind costs nothing."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.corpus import clip, wav_bytes

from eulerodec import Codec, audio
from eulerodec.cli import main
from eulerodec.errors import AudioError, BitstreamError, ConfigError, WeightsError
from eulerodec.tokens import coding, job
from eulerodec.tokens.detokenize import detokenize
from eulerodec.tokens.shards import read_rows

pytest.importorskip("pyarrow", reason="needs pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

K = 8


@pytest.fixture
def tokenize(codec):
    return partial(job.tokenize, load_codec=lambda: codec, n_codebooks=K)


def rows_of(out):
    """All rows of a job, as anybody would read them."""
    shards = sorted(Path(out).glob("shard-*.parquet"))
    return [row for shard in shards for row in pq.read_table(shard).to_pylist()]


def manifest_of(out):
    return json.loads((Path(out) / "manifest.json").read_text())


def encoded(codec, number, mixed=True):
    wav, rate = clip(number)
    wavs = [wav.mean(0, keepdims=True)] if mixed else [wav[:1], wav[1:]]
    return [codec.encode(x, rate, n_codebooks=K) for x in wavs]


def test_rows_hold_the_codes_of_the_codec(tokenize, codec, corpus, parquet, tmp_path):
    everything = {**corpus, **parquet}
    report = tokenize(list(everything), tmp_path / "out", shard_clips=3)
    rows = {(row["source"], row["key"]): row for row in rows_of(tmp_path / "out")}
    n_clips = sum(map(len, everything.values()))
    assert report.clips == report.rows == len(rows) == n_clips and report.skipped == 0
    for source, keys in everything.items():
        for number, key in enumerate(keys):
            row, (want,) = rows[source, key], encoded(codec, number)
            codes = np.array(row["codes"]).reshape(row["n_codebooks"], row["n_frames"])
            assert np.array_equal(codes, want.codes[0])
            assert row["levels"] == want.levels[0].tolist()
            assert (row["sample_rate"], row["n_samples"]) == (want.sample_rate, want.n_samples)
            assert row["seconds"] == pytest.approx(want.duration_s)
            assert row["channel"] == 0
    assert report.seconds == pytest.approx(sum(row["seconds"] for row in rows.values()))


def test_the_manifest_says_what_is_there(tokenize, codec, corpus, tmp_path):
    out = tmp_path / "out"
    report = tokenize(list(corpus), out, shard_clips=4)
    manifest = manifest_of(out)
    assert manifest["codec"]["codes_sha256"] == codec.codes_sha256
    assert manifest["codec"]["n_codebooks"] == K
    files = {path.name for path in out.iterdir()}
    assert files == {"manifest.json", "skipped.jsonl", *(s["file"] for s in manifest["shards"])}
    for shard in manifest["shards"]:
        data = (out / shard["file"]).read_bytes()
        assert shard["sha256"] == hashlib.sha256(data).hexdigest()
        assert shard["bytes"] == len(data)
        assert shard["rows"] == pq.read_metadata(out / shard["file"]).num_rows
    assert report.bytes == sum(shard["bytes"] for shard in manifest["shards"])


def test_channels_in_rows_of_their_own(tokenize, codec, corpus, tmp_path):
    folder = next(iter(corpus))
    report = tokenize([folder], tmp_path / "out", channels="each")
    rows = rows_of(tmp_path / "out")
    assert report.clips == 5 and [row["channel"] for row in rows] == [0, 1] * 5
    for i, row in enumerate(rows):
        want = encoded(codec, i // 2, mixed=False)[row["channel"]]
        assert row["codes"] == want.codes[0].flatten().tolist()


@pytest.mark.parametrize("channels", ["mix", "each"])
def test_long_clips_are_coded_as_they_are_read(tokenize, tmp_path, monkeypatch, channels):
    rng = np.random.default_rng(0)
    wav = 0.1 * rng.standard_normal((2, 16_000 * 4))
    audio.write(tmp_path / "a.wav", wav, 16_000)
    tokenize([tmp_path / "a.wav"], tmp_path / "whole", channels=channels)
    monkeypatch.setattr(coding, "LONG_S", 0.5)
    tokenize([tmp_path / "a.wav"], tmp_path / "blocks", channels=channels)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "blocks")


def test_rows_keep_their_order_whatever_waits(tokenize, corpus, tmp_path, monkeypatch):
    folder = next(iter(corpus))
    tokenize([folder], tmp_path / "one")
    monkeypatch.setattr(coding, "TOGETHER_S", 0.25)
    monkeypatch.setattr(coding, "LONG_S", 0.35)
    tokenize([folder], tmp_path / "other")
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "other")


def test_bad_clips_are_listed_with_the_reason(tokenize, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.wav").write_bytes(wav_bytes(0))
    (folder / "cut.wav").write_bytes(wav_bytes(1)[:3000])
    (folder / "empty.flac").write_bytes(b"")
    (folder / "text.mp3").write_text("no audio at all")
    audio.write(folder / "none.wav", np.zeros((1, 0)), 16_000)
    audio.write(folder / "nan.wav", np.full((1, 9), 0.5), 16_000, subtype="FLOAT")
    data = (folder / "nan.wav").read_bytes()
    (folder / "nan.wav").write_bytes(data[:-4] + np.float32("nan").tobytes())
    lines = [json.dumps({"path": f"in/{n}"}) for n in ("gone.wav", "good.wav")]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    report = tokenize([folder, tmp_path / "list.jsonl"], tmp_path / "out")
    found = (tmp_path / "out/skipped.jsonl").read_text().splitlines()
    reasons = {row["key"]: row["reason"] for row in map(json.loads, found)}
    assert set(reasons) == {
        "cut.wav", "empty.flac", "text.mp3", "none.wav", "nan.wav", "in/gone.wav"
    }  # fmt: skip
    assert "no samples" in reasons["none.wav"] and "NaN" in reasons["nan.wav"]
    assert "no such file" in reasons["in/gone.wav"] and "empty" in reasons["empty.flac"]
    assert report.clips == 2 and report.skipped == 6


def test_a_tar_that_was_damaged_since_gives_what_is_before_the_damage(
    tokenize, corpus, tmp_path, monkeypatch
):
    tar = next(source for source in corpus if source.endswith(".tar"))
    units = list(job.plan_units([tar], 100))

    def plan(*_):
        with open(tar, "r+b") as file:
            file.truncate(100_000)
        return iter(units)

    monkeypatch.setattr(job, "plan_units", plan)
    report = tokenize([tar], tmp_path / "out")
    (line,) = (tmp_path / "out/skipped.jsonl").read_text().splitlines()
    assert "the rest of it" in json.loads(line)["reason"]
    assert 1 <= report.clips < 5


# ---- a stop -------------------------------------------------------------------------------------


def start(weights, folder, out, *options):
    command = [sys.executable, "-m", "eulerodec", "tokenize", str(folder), "-o", str(out)]
    options = ["--weights", str(weights), "--shard-clips", "2", "--threads", "1", *options]
    return subprocess.Popen(
        command + options,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a job of a shell that runs in the background ignores interrupts, and so would its child
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.fixture
def many(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02d}.wav").write_bytes(wav_bytes(number))
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_started_again(tokenize, weights, many, tmp_path, workers):
    tokenize([many], tmp_path / "whole", shard_clips=2)
    out = tmp_path / "out"
    process = start(weights, many, out, "--workers", str(workers))
    until = time.monotonic() + 600
    while len(list((out / "job").glob("done-*"))) < 3 and time.monotonic() < until:
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "manifest.json").exists()
    done = {path: path.stat().st_mtime_ns for path in out.glob("shard-*")}
    sure = {out / f"shard-{p.stem[5:]}.parquet" for p in (out / "job").glob("done-*")}
    assert 3 <= len(sure) < 20

    (out / ".eulerodec-0123.tmp").write_bytes(b"what a kill leaves")
    end = start(weights, many, out, "--workers", str(workers))
    printed = end.communicate(timeout=600)
    assert end.returncode == 0, printed
    assert all(path.stat().st_mtime_ns == done[path] for path in sure)  # not made again
    keys = [row["key"] for row in rows_of(out)]
    assert keys == sorted(path.name for path in many.iterdir())
    assert rows_of(out) == rows_of(tmp_path / "whole")
    for shard in manifest_of(out)["shards"]:
        assert hashlib.sha256((out / shard["file"]).read_bytes()).hexdigest() == shard["sha256"]
    assert not list(out.glob(".eulerodec-*")) and not (out / "job").exists()


def test_an_interrupt_does_not_wait_for_a_long_shard(weights, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "0.wav").write_bytes(wav_bytes(0))
    second = (0.1 * np.sin(np.arange(8_000))).astype(np.float32)[None]
    with audio.open_writer(folder / "1.wav", 8_000, 1) as long:
        for _ in range(3600):
            long.write(second)
    process = start(weights, folder, out, "--workers", "2", "--shard-clips", "1")
    until = time.monotonic() + 600
    while not (out / "job/done-000000.json").exists() and time.monotonic() < until:
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.decode().endswith("error: interrupted\n")
    assert not (out / "job/done-000001.json").exists()


def test_workers_end_with_whoever_takes_their_shards(many, weights, tmp_path):
    """An interrupt may come while a finished shard is told about."""

    def interrupt(record):
        raise KeyboardInterrupt

    load = partial(Codec.from_pretrained, weights)
    with pytest.raises(KeyboardInterrupt) as raised:  # which holds on to what was running
        job.tokenize(
            [many], tmp_path / "out", load, n_codebooks=K, shard_clips=1, workers=2,
            progress=interrupt,
        )  # fmt: skip
    assert raised.value is not None and not multiprocessing.active_children()


def test_a_shard_without_its_mark_is_made_again(tokenize, corpus, tmp_path, monkeypatch):
    """The moment between the two."""
    out, folder = tmp_path / "out", next(iter(corpus))
    real = job.write_bytes

    def fail(path, data):
        if path.name == "done-000001.json":
            raise OSError(28, "no space left")
        real(path, data)

    monkeypatch.setattr(job, "write_bytes", fail)
    with pytest.raises(OSError, match="no space"):
        tokenize([folder], out, shard_clips=2)
    assert sorted(p.name for p in out.glob("shard-*"))[-1] == "shard-000001.parquet"
    monkeypatch.undo()
    seen = []
    tokenize([folder], out, shard_clips=2, progress=seen.append)
    assert [record["file"][6:12] for record in seen] == ["000001", "000002"]
    assert len(rows_of(out)) == 5


def test_a_job_that_is_done_does_nothing(tokenize, corpus, tmp_path):
    first = tokenize(list(corpus), tmp_path / "out")
    shutil.rmtree(tmp_path / "corpus")
    seen = []
    assert tokenize(list(corpus), tmp_path / "out", progress=seen.append) == first
    assert seen == []


def test_files_that_came_since_are_not_in_a_job_that_goes_on(tokenize, many, tmp_path, monkeypatch):
    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenize([many], tmp_path / "out", shard_clips=30, progress=stop)
    (many / "000.wav").write_bytes(wav_bytes(1))
    report = tokenize([many], tmp_path / "out", shard_clips=30)
    assert report.clips == 40


# ---- settings -----------------------------------------------------------------------------------


def test_another_job_in_the_folder_is_not_touched(tokenize, corpus, tmp_path):
    folder, manifest = list(corpus)[:2]
    out = tmp_path / "out"

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenize([folder], out, progress=stop, shard_clips=2)
    for changed in ({"shard_clips": 3}, {"n_codebooks": 4, "shard_clips": 2}):
        with pytest.raises(ConfigError, match="holds another job"):
            tokenize([folder], out, **changed)
    with pytest.raises(ConfigError, match="whose inputs is"):
        tokenize([manifest], out, shard_clips=2)
    tokenize([folder], out, shard_clips=2)
    with pytest.raises(ConfigError, match="holds another job"):
        tokenize([manifest], out, shard_clips=2)
    (out / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="shards of something else"):
        tokenize([folder], out, shard_clips=2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_codebooks": 99}, "n_codebooks"),
        ({"beam": 0}, "beam"),
        ({"channels": "left"}, "channels must be one of mix, each"),
        ({"shard_clips": 0}, "shard_clips"),
        ({"workers": 0}, "workers"),
    ],
)
def test_settings_that_are_wrong(tokenize, corpus, tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words):
        tokenize(list(corpus), tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_no_audio(tokenize, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match="no audio"):
        tokenize([tmp_path / "in"], tmp_path / "out")
    with pytest.raises(AudioError, match="no such file"):
        tokenize([tmp_path / "gone"], tmp_path / "out")


# ---- and back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", ["mix", "each"])
def test_back_to_audio(tokenize, codec, corpus, tmp_path, channels):
    folder = next(iter(corpus))
    tokenize([folder], tmp_path / "out", channels=channels, shard_clips=2)
    assert detokenize(tmp_path / "out", tmp_path / "wavs", codec) == 5
    for number, key in enumerate(corpus[folder]):
        got, rate = audio.read((tmp_path / "wavs" / key).with_suffix(".wav"))
        coded = encoded(codec, number, mixed=channels == "mix")
        want = np.concatenate([codec.decode(x).numpy() for x in coded])
        assert rate == clip(number)[1] and got.shape == want.shape
        assert np.abs(got - np.clip(want, -1, 1)).max() < 1e-4


def test_a_few_of_one_shard(tokenize, codec, corpus, tmp_path):
    tokenize([next(iter(corpus))], tmp_path / "out")
    shard = tmp_path / "out/shard-000000.parquet"
    assert detokenize(shard, tmp_path / "wavs", codec, limit=2) == 2
    assert len(list((tmp_path / "wavs").rglob("*.wav"))) == 2


def test_keys_stay_in_the_folder_and_do_not_meet(tokenize, codec, tmp_path):
    (tmp_path / "x.wav").write_bytes(wav_bytes(0))
    keys = ["../up", "/etc/abs", "same", "same.wav", "..", "sub/./a.flac"]
    lines = [json.dumps({"path": "x.wav", "key": key}) for key in keys]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    tokenize([tmp_path / "list.jsonl"], tmp_path / "out")
    wavs = tmp_path / "wavs"
    assert detokenize(tmp_path / "out", wavs, codec) == 6
    found = {path.relative_to(wavs).as_posix() for path in wavs.rglob("*.wav")}
    assert found == {
        "up.wav", "etc/abs.wav", "same.wav", "same-2.wav", "clip.wav", "sub/a.wav"
    }  # fmt: skip


def test_shards_that_are_not_those_of_the_manifest(tokenize, codec, other_weights, many, tmp_path):
    out = tmp_path / "out"
    tokenize([many], out)
    shard = out / "shard-000000.parquet"
    with pytest.raises(WeightsError, match="made with the codes"):
        detokenize(out, tmp_path / "w", Codec.from_pretrained(other_weights))
    data = shard.read_bytes()
    shard.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    with pytest.raises(BitstreamError, match="damaged"):
        detokenize(out, tmp_path / "w", codec)
    shard.write_bytes(data[:3000])
    with pytest.raises(BitstreamError, match="no shard of codes"):
        list(read_rows(shard))
    shard.unlink()
    with pytest.raises(BitstreamError, match="no such file"):
        detokenize(out, tmp_path / "w", codec)
    (out / "manifest.json").unlink()
    with pytest.raises(BitstreamError, match="no manifest"):
        detokenize(out, tmp_path / "w", codec)
    assert not (tmp_path / "w").exists()


# ---- the command line ---------------------------------------------------------------------------


def test_commands(corpus, w, here, capsys, same_threads):
    folder = next(iter(corpus))
    assert main(["tokenize", folder, "-o", "out", "--codebooks", "4", "--json", *w]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["clips"] == 5 and "shard-000000.parquet  5 clips" in err
    assert main(["detokenize", "out", "-o", "wavs", *w]) == 0
    assert capsys.readouterr().out == "wavs: 5 files\n"
    assert main(["tokenize", folder, "-o", "out", *w]) == 2
    assert "another folder" in capsys.readouterr().err


def test_without_pyarrow(corpus, w, here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["tokenize", next(iter(corpus)), "-o", "out", *w]) == 2
    line = capsys.readouterr().err
    assert "pip install 'eulerodec[tokens]'" in line and line.count("\n") == 1
    assert not os.path.exists("out")
