"""Bad input to the command line: one clear line, the exit code, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.cli import fails, flip, newer, put, second_packet, speech, tree

from eulerodec import audio
from eulerodec.cli import main
from eulerodec.codec import Codec

pytestmark = pytest.mark.usefixtures("here", "same_threads")

# --- bad input: audio


def nan_wav() -> None:
    x = speech(100)
    x[0, 50] = np.nan
    soundfile.write("bad.wav", x.T, 24_000, subtype="FLOAT")


def loud_wav() -> None:
    soundfile.write("bad.wav", 32768 * speech(5000).T, 24_000, subtype="FLOAT")


def cut_wav() -> None:
    put("whole.wav")
    Path("bad.wav").write_bytes(Path("whole.wav").read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: None, "no such file"),
        (lambda: Path("bad.wav").write_bytes(b""), "empty"),
        (lambda: Path("bad.wav").write_text("hello, world\n" * 99), "cannot be read as audio"),
        (cut_wav, "cut short"),
        (nan_wav, "NaN or infinite"),
        (loud_wav, "full scale is 1 (divide 16-bit integers by 32768)"),
    ],
)
def test_bad_audio(w, capsys, make, words):
    make()
    fails(capsys, ["encode", "bad.wav", "-o", "a.eul", *w], 3, "bad.wav", words)


def test_folder_without_audio(w, capsys):
    Path("in").mkdir()
    fails(capsys, ["encode", "in", "-o", "out", *w], 3, "in: no files", ".wav")


@pytest.mark.parametrize("bitrate", ["0", "0.99", "16.1", "-1", "nan", "inf"])
def test_bitrates_that_cannot_be_encoded(w, capsys, bitrate):
    put("in/a.wav")
    put("in/b.wav")
    words = f"--bitrate must be a number from 1 to 16, not {float(bitrate)}"
    fails(capsys, ["encode", "in", "-o", "out", "--bitrate", bitrate, *w], 2, words)


@pytest.mark.parametrize("bitrate", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize("verb", ["decode", "play", "rate"])
def test_bitrates_that_are_none(capsys, bitrate, verb, stream):
    Path("a.eul").write_bytes(stream)
    argv = [verb, "a.eul", "--bitrate", bitrate, *(["-o", "b.out"] if verb != "play" else [])]
    fails(capsys, argv, 2, f"--bitrate must be above 0, not {bitrate}")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["decode", "planes.eul", "--codebooks", "2"], "planes.eul: --codebooks: the file has"),
        (
            ["decode", "planes.eul", "--codebooks", "2", "--bitrate", "3"],
            "--bitrate and --codebooks say the same",
        ),
        (
            ["decode", "constant.eul", "--codebooks", "5"],
            "constant.eul: --codebooks must be a whole number from 1 to 4, not 5",
        ),
        (["decode", "constant.eul", "--bitrate", "0.3"], "0.3 kbps is less than one codebook"),
        (["decode", "planes.eul", "--block-frames", "0"], "--block-frames must be a whole number"),
    ],
)
def test_rates_that_a_file_does_not_have(w, capsys, codec: Codec, argv, words):
    Path("planes.eul").write_bytes(codec.compress(speech(), 24_000))
    Path("constant.eul").write_bytes(codec.compress(speech(), 24_000, n_codebooks=4))
    fails(capsys, [*argv, "-o", "b.wav", *w], 2, words)


# --- bad input: streams


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: b"", ["empty"]),
        (lambda d: b"RIFF" + d[4:], ["not an .eul file", "52494646"]),
        (newer, ["version 3", "update eulerodec"]),
        (flip, ["packet 1 (1.01 s to 2.02 s)", "damaged", "--recover"]),
        (lambda d: d[: second_packet(d) + 500], ["cut short", "1 whole packets, 1.01 s of 6.00 s"]),
        (lambda d: d[:20], ["cut short inside its header"]),
    ],
)
def test_bad_streams(w, capsys, stream, damage, words):
    Path("bad.eul").write_bytes(damage(stream))
    fails(capsys, ["decode", "bad.eul", "-o", "a.wav", *w], 3, "bad.eul", *words)


def test_missing_stream_and_folder_without_streams(w, capsys):
    fails(capsys, ["decode", "gone.eul", "-o", "a.wav", *w], 3, "gone.eul: no such file")
    Path("in").mkdir()
    fails(capsys, ["decode", "in", "-o", "out", *w], 3, "in: no files", ".eul")


def test_other_weights(capsys, stream, codec, other_weights):
    Path("a.eul").write_bytes(stream)
    other = Codec.from_pretrained(other_weights)
    hashes = (codec.codes_sha256[:16], other.codes_sha256[:16])
    argv = ["decode", "a.eul", "-o", "a.wav", "--weights", str(other_weights)]
    fails(capsys, argv, 4, "a.eul", *hashes)


def test_no_weights(capsys):
    put("a.wav")
    fails(capsys, ["encode", "a.wav", "-o", "a.eul", "--weights", "gone"], 4, "gone", "bundled")


def test_recover_decodes_what_is_left(w, capsys, stream):
    Path("bad.eul").write_bytes(flip(stream))
    assert main(["decode", "bad.eul", "-o", "a.wav", "--recover", *w]) == 0
    assert "warning: bad.eul: packet 1" in capsys.readouterr().err
    assert audio.read("a.wav")[0].shape == (1, 144_000)


# --- bad output and wrong use


def test_outputs_that_cannot_be_written(w, capsys):
    put("a.wav")
    encode = ["encode", "a.wav", *w, "-o"]
    fails(capsys, [*encode, "nowhere/a.eul"], 1, "nowhere", "No such file or directory")
    if os.path.exists("/dev/full"):
        fails(capsys, [*encode, "/dev/full"], 1, "/dev/full: No space left on device")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do it all")
def test_output_without_permission(w, capsys):
    put("a.wav")
    Path("locked").mkdir(mode=0o555)
    argv = ["encode", "a.wav", "-o", "locked/a.eul", *w]
    fails(capsys, argv, 1, "locked", "Permission denied")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_full_disk_keeps_the_old_file(w):
    """A limit on the size of files fails the write half way, as a full disk does."""
    put("a.wav", 120_000)
    Path("a.eul").write_bytes(b"old")
    code = (
        "import resource, sys; from eulerodec.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "encode", "a.wav", "-o", "a.eul", *w]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: a.eul: File too large\n")
    assert Path("a.eul").read_bytes() == b"old" and tree() == {"a.wav", "a.eul"}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["encode"], "Missing argument 'IN...'"),
        (["rate", "a.eul", "--bitrate", "1"], "Missing option '-o'"),
        (["encode", "a.wav", "-o", "b.eul", "--bitrate", "high"], "high"),
        (["encode", "a.wav", "-o", "b.eul", "--threads", "0"], "threads"),
        (["sing"], "No such command 'sing'"),
        (["encode", "a.wav", "-o", "a.wav"], "overwrite the input"),
        (["encode", "in", "-o", "-"], "folder"),
        (["encode", "a.wav", "-", "-o", "out"], "only input"),
        (["encode", "a.wav", "in", "-o", "b.eul"], "must be a folder"),
        (["encode", "a.wav", "in/a.wav", "-o", "out"], "would both become"),
        (["encode", "a.wav", "-o", "-", "--json"], "standard output"),
        (["decode", "a.eul", "-o", "-", "--json"], "standard output"),
        (["train"], "Missing argument"),
    ],
)
def test_wrong_use(capsys, argv, words):
    put("a.wav")
    put("in/a.wav")
    fails(capsys, argv, 2, words)


def test_wrong_device(w, capsys):
    put("a.wav")
    argv = ["encode", "a.wav", "-o", "a.eul", "--device", "warp", *w]
    fails(capsys, argv, 2, "device 'warp'")
