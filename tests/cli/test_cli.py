"""The command line as a user meets it: folders, pipes, demo. Bad input: the other file."""

from __future__ import annotations

import builtins
import io
import json
import os
import struct
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cli import fails, flip, live_wav, put, run, speech, tree

from eulerodec import Encoded, audio
from eulerodec.cli import main
from eulerodec.codec import Codec
from eulerodec.codec.streaming import BLOCK_FRAMES, FILE_BLOCK_FRAMES
from eulerodec.errors import TrainingError
from eulerodec.samples import SAMPLE
from eulerodec.train import open_cache

pytestmark = pytest.mark.usefixtures("here", "same_threads")

# --- encode, decode


@pytest.mark.parametrize(
    ("n", "rate", "channels"),
    [(0, 24_000, 1), (1, 24_000, 1), (5000, 8_000, 1), (40_000, 192_000, 2), (9999, 44_100, 6)],
)
def test_there_and_back(w, n, rate, channels):
    put("a.wav", n, rate, channels)
    assert main(["encode", "a.wav", "-o", "a.eul", "--bitrate", "3", *w]) == 0
    assert main(["decode", "a.eul", "-o", "b.wav", *w]) == 0
    with wave.open("b.wav") as got:
        assert got.getnframes() == n
        assert (got.getframerate(), got.getnchannels(), got.getsampwidth()) == (rate, channels, 2)
    assert tree() == {"a.wav", "a.eul", "b.wav"}


def test_file_is_the_codec_s(w, codec: Codec):
    put("a.wav")
    assert main(["encode", "a.wav", "-o", "a.eul", *w]) == 0
    x, rate = audio.read("a.wav")
    encoded = codec.encode(x, rate)
    assert Path("a.eul").read_bytes() == encoded.to_bytes()
    assert main(["decode", "a.eul", "-o", "b.wav", "--float", *w]) == 0
    expected = codec.decode(encoded, block_frames=FILE_BLOCK_FRAMES)
    assert np.array_equal(audio.read("b.wav")[0], expected.numpy())


def test_block_size_of_the_library_gives_its_bits(w, codec: Codec):
    put("a.wav")
    data = codec.compress(*audio.read("a.wav"))
    Path("a.eul").write_bytes(data)
    blocks = ["--block-frames", str(BLOCK_FRAMES)]
    assert main(["decode", "a.eul", "-o", "b.wav", "--float", *blocks, *w]) == 0
    assert np.array_equal(audio.read("b.wav")[0], codec.decompress(data)[0].numpy())


def test_decode_at_another_rate_and_bitrate(w, codec: Codec):
    put("a.wav", 4410, 44_100)
    main(["encode", "a.wav", "-o", "a.eul", "--bitrate", "12", *w])
    command = ["decode", "a.eul", "-o", "b.wav", "--sample-rate", "24000", "--bitrate", "2"]
    assert main([*command, "--float", *w]) == 0
    y, rate = audio.read("b.wav")
    assert rate == 24_000 and y.shape == (1, 2400)
    low = codec.encode(audio.read("a.wav")[0], 44_100, bitrate_kbps=12).at_rate(2)
    expected = codec.decode(low, 24_000, block_frames=FILE_BLOCK_FRAMES)
    assert np.array_equal(y, expected.numpy())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {}),
        (["--bitrate", "7.3"], {"bitrate_kbps": 7.3}),
        (["--codebooks", "3"], {"n_codebooks": 3}),
        (["--packet", "30", "--no-carry"], {"frames_per_packet": 30, "carry": False}),
        (["--beam", "1", "--carry"], {"beam": 1, "carry": True}),
    ],
)
def test_options_reach_the_encoder(w, codec: Codec, options, expected):
    x = speech(60_000)
    x[:, 10_000:40_000] *= 1e-4  # what silence leaves is carried, or not
    audio.write("a.wav", x, 24_000)
    assert main(["encode", "a.wav", "-o", "a.eul", *options, *w]) == 0
    encoded = codec.encode(*audio.read("a.wav"), **expected)
    assert Path("a.eul").read_bytes() == encoded.to_bytes()
    if options:
        assert encoded != codec.encode(*audio.read("a.wav"))


@pytest.mark.parametrize(
    ("coding", "lower"),
    [
        (["--bitrate", "12"], ["--bitrate", "2.7"]),
        (["--codebooks", "6"], ["--bitrate", "2.7"]),
        (["--codebooks", "6"], ["--codebooks", "2"]),
        (["--bitrate", "6"], ["--bitrate", "16"]),
    ],
)
def test_a_file_is_decoded_at_a_lower_rate_as_if_it_had_it(w, coding, lower):
    put("a.wav", 60_000)
    assert main(["encode", "a.wav", "-o", "a.eul", *coding, *w]) == 0
    assert main(["rate", "a.eul", "-o", "low.eul", *lower]) == 0
    assert main(["decode", "a.eul", "-o", "a2.wav", *lower, *w]) == 0
    assert main(["decode", "low.eul", "-o", "b.wav", *w]) == 0
    assert Path("a2.wav").read_bytes() == Path("b.wav").read_bytes()
    same = Path("low.eul").read_bytes() == Path("a.eul").read_bytes()
    assert same == (lower[1] == "16")


@pytest.mark.parametrize(
    ("seconds", "kbps", "channels"),
    [(0.011, 1, 1), (0.4, 7.3, 1), (1.013, 7.3, 2), (3.7, 7.3, 1), (3.7, 1, 1), (2.1, 10, 1)],
)
def test_the_size_is_that_of_the_bitrate(w, seconds, kbps, channels):
    x = np.random.default_rng(0).uniform(-0.3, 0.3, (channels, round(seconds * 24_000)))
    audio.write("a.wav", x, 24_000)
    allowed = kbps * channels * seconds * 125 + 64
    assert main(["encode", "a.wav", "-o", "a.eul", "--bitrate", str(kbps), *w]) == 0
    assert allowed - 100 < Path("a.eul").stat().st_size <= allowed
    assert main(["rate", "a.eul", "-o", "low.eul", "--bitrate", str(0.4 * kbps)]) == 0
    assert Path("low.eul").stat().st_size <= 0.4 * (allowed - 64) + 64


def test_the_size_of_live_input(w):
    x = speech(40_000)
    done = run("encode", "-", "-o", "-", "--bitrate", "7.3", *w, stdin=live_wav(x, 0))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) <= 7.3 * 125 * 40_000 / 24_000 + 64
    assert Encoded.from_bytes(done.stdout).n_samples == 40_000


def test_the_size_by_the_bundled_name():
    x, rate = audio.read(SAMPLE)
    audio.write("a.wav", x[:, : round(1.7 * rate)], rate)
    for kbps in (1, 7.3):
        assert main(["encode", "a.wav", "-o", "a.eul", "--bitrate", str(kbps)]) == 0
        allowed = kbps * 1.7 * 125 + 64
        assert allowed - 100 < Path("a.eul").stat().st_size <= allowed


def test_info_names_the_weights_it_is_asked_for(w, capsys):
    assert main(["info", w[1]]) == 0
    by_name = capsys.readouterr().out
    assert main(["info", *w]) == 0
    assert capsys.readouterr().out == by_name and w[1] in by_name


def test_folders_keep_their_tree(w, capsys):
    put("in/one.wav")
    put("in/deep/er/two.wav")
    Path("in/notes.txt").write_text("not audio, not asked for")
    assert main(["encode", "in", "-o", "out", *w]) == 0
    assert {"out/one.eul", "out/deep/er/two.eul"} <= tree()
    assert main(["decode", "out", "-o", "back", *w]) == 0
    assert {"back/one.wav", "back/deep/er/two.wav"} <= tree()
    assert len([f for f in tree() if f.startswith(("out", "back"))]) == 4
    assert capsys.readouterr().out == ""


def test_one_bad_file_of_a_folder_does_not_stop_the_others(w, capsys):
    put("in/a.wav")
    Path("in/b.wav").write_text("no audio")
    put("in/c.wav")
    assert main(["encode", "in", "-o", "out", *w]) == 3
    err = capsys.readouterr().err
    assert "error: in/b.wav" in err.replace(os.sep, "/") and "1 of 3 files failed" in err
    assert {f for f in tree() if f.startswith("out")} == {"out/a.eul", "out/c.eul"}


def test_several_files_into_a_folder(w):
    put("a.wav")
    put("x/b.wav")
    assert main(["encode", "a.wav", "x/b.wav", "-o", "out", *w]) == 0
    Path("made").mkdir()
    assert main(["encode", "a.wav", "-o", "made", *w]) == 0
    assert {"out/a.eul", "out/b.eul", "made/a.eul"} <= tree()


def test_json(w, capsys):
    put("in/a.wav", 2640)
    Path("in/b.wav").write_bytes(b"")
    assert main(["encode", "in", "-o", "out", "--json", *w]) == 3
    out = json.loads(capsys.readouterr().out)
    good, bad = out["files"]
    assert out["failed"] == 1 and good["ok"] and not bad["ok"] and "empty" in bad["error"]
    assert good["bytes"] == Path("out/a.eul").stat().st_size
    assert (good["samples"], good["seconds"], good["bitrate_kbps"]) == (2640, 0.11, 6)
    assert good["kbps"] == pytest.approx(good["bytes"] * 8 / 0.11 / 1000)


def test_pipes(w, codec: Codec):
    put("a.wav")
    wav = Path("a.wav").read_bytes()
    coded = run("encode", "-", "-o", "-", *w, stdin=wav)
    assert coded.returncode == 0, coded.stderr
    assert coded.stdout == codec.compress(*audio.read("a.wav"), 6)
    back = run("decode", "-", "-o", "-", *w, stdin=coded.stdout)
    assert back.returncode == 0, back.stderr
    with wave.open(io.BytesIO(back.stdout)) as got:
        assert got.getnframes() == 12_000
    empty = run("encode", "-", "-o", "-", *w)
    assert (empty.returncode, empty.stdout) == (3, b"")
    assert empty.stderr.strip() == b"error: standard input: the file is empty"


# --- info


def test_info_of_a_stream_needs_no_torch(stream):
    Path("a.eul").write_bytes(stream)
    code = (
        "import sys; from eulerodec.cli import main\n"
        "assert main(['info', 'a.eul', '--json']) == 0 and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    facts = json.loads(done.stdout)
    assert (facts["seconds"], facts["samples"], facts["packets"]) == (6.0, 144_000, 6)
    assert (facts["bitrate_kbps"], facts["bytes"], facts["damage"]) == (6.0, len(stream), [])
    assert facts["measured_kbps"] == pytest.approx(len(stream) * 8 / 6000)


def test_info_of_a_damaged_stream(capsys, stream):
    Path("a.eul").write_bytes(flip(stream))
    assert main(["info", "a.eul"]) == 3
    out, err = capsys.readouterr()
    assert "lost_packets         1" in out and "packet 1 (1.01 s to 2.02 s)" in err


def test_info_of_weights(weights, codec, capsys):
    assert main(["info", str(weights), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["weights_sha256"] == codec.weights_sha256
    assert facts["bitrate_range_kbps"] == [1, 16]
    assert facts["codes_sha256"] == codec.codes_sha256
    assert main(["info", str(weights)]) == 0
    assert "about.licence        CC0-1.0" in capsys.readouterr().out


def test_info_of_nothing_known(capsys):
    fails(capsys, ["info", "gone"], 4, "gone")
    fails(capsys, ["info", "gone.eul"], 3, "error: gone.eul: no such file")
    put("a.wav")
    fails(capsys, ["info", "a.wav"], 3, "a.wav: not an .eul file")


# --- demo


def test_demo(w, capsys):
    put("mine.wav", 22_050, 44_100, 2)
    assert main(["demo", "mine.wav", "--out", "out", *w]) == 0
    out = capsys.readouterr().out
    rates = ("12", "6", "3", "1.5")
    names = {f"{rate}kbps.{kind}" for rate in rates for kind in ("eul", "wav")}
    assert {f for f in tree() if f.startswith("out")} == {
        f"out/{name}" for name in names | {"original.wav", "comparison.png"}
    }
    picture = Path("out/comparison.png").read_bytes()
    width, height = struct.unpack(">II", picture[16:24])
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and width > 1000 and height > 500
    for rate in rates:  # two channels of half a second
        size = Path(f"out/{rate}kbps.eul").stat().st_size
        assert f"{rate} kbps" in out and str(size) in out
        assert size <= float(rate) * 125 + 64
        assert main(["rate", "out/12kbps.eul", "-o", "low.eul", "--bitrate", rate]) == 0
        assert Path("low.eul").read_bytes() == Path(f"out/{rate}kbps.eul").read_bytes()
    assert audio.read("out/12kbps.wav")[0].shape == (2, 22_050)
    assert torch.get_num_threads() >= 1


def test_demo_without_matplotlib(w, capsys, monkeypatch):
    put("mine.wav")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["demo", "mine.wav", "--out", "out", "--json", *w]) == 0
    out, err = capsys.readouterr()
    assert err == "no picture: matplotlib is not installed (pip install matplotlib)\n"
    assert [row["kbps"] for row in json.loads(out)["rates"]] == [12, 6, 3, 1.5]
    assert "out/12kbps.wav" in tree() and "out/comparison.png" not in tree()


def test_demo_of_silence_and_of_nothing(w, capsys):
    audio.write("silence.wav", np.zeros(5000), 24_000)
    assert main(["demo", "silence.wav", "--out", "out", "--json", *w]) == 0
    rows = json.loads(capsys.readouterr().out)["rates"]
    assert rows[0]["si_sdr_db"] is None  # NaN is no JSON
    put("nothing.wav", 0)
    fails(capsys, ["demo", "nothing.wav", "--out", "out2", *w], 3, "no samples")


def test_bundled_clip():
    x, rate = audio.read(SAMPLE)
    assert rate == 24_000 and x.shape[0] == 1 and 4 <= x.shape[1] / rate <= 8
    assert "public domain" in (SAMPLE.parent / "README.md").read_text()


# --- train


def test_train_hands_over_its_options(monkeypatch, capsys):
    import eulerodec.train as package

    seen = {}

    def fake(recipe, **options):
        seen.update(options, recipe=recipe)

    monkeypatch.setattr(package, "run", fake, raising=False)
    options = "--data a --data b --set train.steps=3 --set data.seed=1 --resume --time-limit 1.5"
    assert main(["train", "r.toml", "--out", "run", *options.split(), "--init-from", "w"]) == 0
    assert seen == {
        "recipe": "r.toml",
        "out": "run",
        "data": ("a", "b"),
        "overrides": ("train.steps=3", "data.seed=1"),
        "resume": True,
        "time_limit": 1.5,
        "init_from": "w",
    }

    def broken(recipe, **options):
        raise TrainingError("diverged")

    monkeypatch.setattr(package, "run", broken)
    fails(capsys, ["train", "r.toml", "--out", "run"], 1, "diverged")


def test_pack_decodes_audio_once(here, capsys):
    put("audio/ann/a.wav", 2400)
    put("audio/b.wav", 1200)
    assert main(["pack", "audio", "--out", "cache"]) == 0
    capsys.readouterr()
    assert sorted(item.n for item in open_cache("cache").items) == [1200, 2400]
    fails(capsys, ["pack", "nowhere", "--out", "cache"], 2, "nowhere")


# --- start


def test_help_is_fast_and_imports_nothing_heavy():
    code = (
        "import sys; from eulerodec.cli import main; main(['--help'])\n"
        "heavy = {'torch', 'numpy', 'soundfile', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    before = os.times()
    assert b"demo" in run("--help").stdout
    after = os.times()  # of processes that ended; by the clock a busy machine would count, too
    used = after.children_user + after.children_system
    assert used - before.children_user - before.children_system < 0.5


def test_no_arguments_is_help_and_version(capsys):
    assert main([]) == 0
    assert "encode" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert "eulerodec" in capsys.readouterr().out


def test_a_bug_is_not_hidden(monkeypatch, w):
    put("a.wav")

    def bug(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Codec, "encode_file", bug)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["encode", "a.wav", "-o", "a.eul", *w])
