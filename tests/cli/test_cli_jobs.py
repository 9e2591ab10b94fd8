"""Names of outputs, folders, several processes, and what is left out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.cli import fails, flip, put, tree

from eulerodec import Encoded, audio
from eulerodec.cli import main
from eulerodec.codec import Codec

pytestmark = pytest.mark.usefixtures("here", "same_threads")


def test_names_come_from_the_input(w):
    put("x/talk.wav")
    assert main(["encode", "x/talk.wav", *w]) == 0
    Path("x/talk.wav").unlink()
    assert main(["decode", "x/talk.eul", *w]) == 0
    assert tree() == {"x/talk.wav", "x/talk.eul"}
    assert audio.read("x/talk.wav")[0].shape == (1, 12_000)


def test_a_name_that_was_not_given_replaces_nothing(w, capsys):
    put("talk.wav")
    original = Path("talk.wav").read_bytes()
    assert main(["encode", "talk.wav", *w]) == 0
    capsys.readouterr()
    fails(capsys, ["decode", "talk.eul", *w], 2, "talk.wav: it is there already", "-o")
    fails(capsys, ["encode", "talk.wav", *w], 2, "talk.eul: it is there already", "-o")
    assert Path("talk.wav").read_bytes() == original
    fails(capsys, ["encode", "-", *w], 2, "standard input", "-o FILE")
    assert main(["encode", "talk.wav", "-o", "talk.eul", *w]) == 0  # one that was given does


def test_a_folder_without_a_name_keeps_its_files_together(w):
    put("in/a.wav")
    put("in/deep/b.wav")
    assert main(["encode", "in", *w]) == 0
    assert tree() == {"in/a.wav", "in/a.eul", "in/deep/b.wav", "in/deep/b.eul"}


@pytest.mark.parametrize("n", [1, 2])
def test_a_folder_of_one_file_is_a_folder(w, n):
    for name in "ab"[:n]:
        put(f"in/{name}.wav")
    assert main(["encode", "in", "-o", "out", *w]) == 0
    assert main(["rate", "out", "-o", "low", "--bitrate", "2"]) == 0
    assert main(["decode", "low", "-o", "back", *w]) == 0
    assert {
        f"{d}/{f}" for d, f in (("out", "a.eul"), ("low", "a.eul"), ("back", "a.wav"))
    } <= tree()


def test_a_name_that_ends_like_a_folder_is_one(w):
    put("a.wav")
    assert main(["encode", "a.wav", "-o", "new" + os.sep, *w]) == 0
    assert main(["decode", "new/a.eul", "-o", "deep/new" + os.sep, *w]) == 0
    assert main(["rate", "new/a.eul", "-o", "low/", "--bitrate", "1"]) == 0
    assert {"new/a.eul", "deep/new/a.wav", "low/a.eul"} <= tree()


def test_a_folder_is_not_made_for_nothing(w, capsys):
    Path("in").mkdir()
    Path("in/a.wav").write_text("no audio")
    assert main(["encode", "in", "-o", "out", *w]) == 3
    assert not Path("out").exists() and "in/a.wav" in capsys.readouterr().err.replace(os.sep, "/")


@pytest.mark.parametrize("name", ["two.wav", "new.flac", "NEW.WAV", "x.mp3"])
def test_a_recording_is_never_replaced_by_codes(w, capsys, codec: Codec, name):
    put("one.wav")
    put("two.wav", 999)
    codec.encode_file("one.wav", "a.eul")
    before = Path("two.wav").read_bytes()
    ending = Path(name).suffix.lower()
    fails(capsys, ["encode", "one.wav", "-o", name, *w], 2, name, f"must not end in {ending}")
    fails(capsys, ["cut", "a.eul", "-o", name], 2, name, "must not end in")
    fails(capsys, ["concat", "a.eul", "-o", name], 2, name, "must not end in")
    fails(capsys, ["rate", "a.eul", "-o", name, "--bitrate", "1"], 2, name, "must not end in")
    fails(capsys, ["decode", "a.eul", "-o", "b.eul", *w], 3, "b.eul", "must end in .wav or .flac")
    assert Path("two.wav").read_bytes() == before


def test_what_is_left_out_is_said(w, capsys):
    put("in/a.wav")
    for name in ("b.raw", "deep/c.avi", "notes.txt", "d.pcm"):
        Path("in", name).parent.mkdir(exist_ok=True)
        Path("in", name).write_bytes(b"x")
    put("other/e.wav")
    Path("in/link").symlink_to("../other", target_is_directory=True)
    assert main(["encode", "in", "-o", "out", *w]) == 0
    err = capsys.readouterr().err.replace(os.sep, "/").splitlines()
    assert err[0] == "skipped file that cannot be read: in/b.raw and 2 more"
    assert err[1] == "skipped linked folder that is not searched: in/link"
    assert len(err) == 3 and {f for f in tree() if f.startswith("out")} == {"out/a.eul"}


def test_skip_existing(w, capsys):
    put("in/a.wav")
    put("in/b.wav")
    assert main(["encode", "in/a.wav", "-o", "out/", *w]) == 0
    made = Path("out/a.eul").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["encode", "in", "-o", "out", "--skip-existing", *w]) == 0
    err = capsys.readouterr().err.splitlines()
    assert err[0] == "skipped 1 file whose output is there already" and len(err) == 2
    assert Path("out/a.eul").stat().st_mtime_ns == made and Path("out/b.eul").exists()
    # nothing is left to do: not even the weights are looked at
    argv = ["encode", "in", "-o", "out", "--skip-existing", "--json", "--weights", "gone"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"files": [], "failed": 0} and "skipped 2 files" in err
    assert main(["decode", "out", "--skip-existing", *w]) == 0
    assert {"out/a.wav", "out/b.wav"} <= tree()


def test_several_processes_make_the_same_files(w, capsys):
    for name, n in (("a", 20_000), ("b", 3000), ("deep/c", 9000)):
        put(f"in/{name}.wav", n)
    Path("in/bad.wav").write_text("no audio")
    assert main(["encode", "in", "-o", "one", "--threads", "1", *w]) == 3
    capsys.readouterr()
    # one thread each: other numbers may round otherwise
    assert main(["encode", "in", "-o", "two", "--jobs", "2", "--json", "--threads", "2", *w]) == 3
    out, err = capsys.readouterr()
    facts = json.loads(out)
    names = [Path(file["input"]).as_posix() for file in facts["files"]]
    assert names == ["in/a.wav", "in/b.wav", "in/bad.wav", "in/deep/c.wav"]
    assert facts["failed"] == 1 and "error: in" in err
    for name in ("a", "b", "deep/c"):
        assert Path(f"one/{name}.eul").read_bytes() == Path(f"two/{name}.eul").read_bytes()
    assert not Path("two/bad.eul").exists()
    assert main(["decode", "two", "-o", "back", "--jobs", "9", *w]) == 0
    assert {"back/a.wav", "back/b.wav", "back/deep/c.wav"} <= tree()


def test_with_several_processes_a_wrong_option_is_said_once(capsys):
    put("in/a.wav")
    put("in/b.wav")
    argv = ["encode", "in", "-o", "out", "--jobs", "2", "--weights", "gone"]
    fails(capsys, argv, 4, "no weights 'gone'")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_interrupted_processes_leave_no_half_file(w):
    for name in "abc":
        put(f"in/{name}.wav", 24_000 * 20, 24_000)
    command = [sys.executable, "-m", "eulerodec", "encode", "in", "-o", "out", "--jobs", "2", *w]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for _ in range(1200):
        if any(f.startswith("out/.eulerodec-") for f in tree()):
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err.decode().splitlines()[-1] == "error: interrupted"
    assert b"Traceback" not in err
    made = [f for f in tree() if f.startswith("out")]
    assert len(made) < 3 and all(Encoded.open(f).duration_s == 20 for f in made)


def test_a_missing_file_is_said_before_the_network_is_loaded():
    code = (
        "import sys; from eulerodec.cli import main\n"
        "assert main(['encode', 'gone.wav']) == 3 and main(['decode', 'gone.eul']) == 3\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [
        "error: gone.wav: no such file",
        "error: gone.eul: no such file",
    ]


def test_info_of_a_broken_file_says_what_its_header_promises(capsys, stream):
    Path("bad.eul").write_bytes(stream[: len(stream) // 2])
    assert main(["info", "bad.eul"]) == 3
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines["seconds_in_header"] == "6" and float(lines["seconds"]) < 6
    Path("bad.eul").write_bytes(flip(stream))
    assert main(["info", "bad.eul", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["seconds_in_header"] == 6.0


def test_codebooks_that_the_weights_do_not_have(w, capsys, codec: Codec):
    put("a.wav")
    most = codec.info.n_codebooks
    for k in (0, most + 1):
        words = f"--codebooks must be a whole number from 1 to {most}, not {k}"
        fails(capsys, ["encode", "a.wav", "-o", "a.eul", "--codebooks", str(k), *w], 2, words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--beam", "0"], "beam must be a whole number from 1 to 64, not 0"),
        (["--beam", "600"], "beam must be a whole number from 1 to 64, not 600"),
        (["--packet", "256"], "--packet must be a whole number from 0 to 255, not 256"),
        (["--packet", "-1"], "--packet must be a whole number from 0 to 255, not -1"),
        (["--codebooks", "3", "--bitrate", "3"], "--bitrate and --codebooks say the same"),
    ],
)
def test_options_are_checked_by_the_library(w, capsys, options, words):
    put("a.wav")
    fails(capsys, ["encode", "a.wav", "-o", "a.eul", *options, *w], 2, words)
