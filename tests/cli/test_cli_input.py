"""Recordings as they are found: cut, joined, of other formats, clipped, with tags."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.cli import fails, put, speech, tree

from eulerodec import audio, bitstream
from eulerodec.cli import main

pytestmark = pytest.mark.usefixtures("here", "same_threads")

RATE = 24_000


def coded(kind: str, subtype: str | None = None) -> bytes:
    """3 s of noise, which costs the same bytes everywhere."""
    buffer = io.BytesIO()
    x = np.random.default_rng(0).uniform(-0.1, 0.1, 3 * RATE)
    soundfile.write(buffer, x, RATE, subtype, format=kind)
    return buffer.getvalue()


def samples(path: str = "o.eul") -> int | None:
    return bitstream.read(Path(path).read_bytes()).info.n_input_samples


def recorder_that_died() -> bytes:
    data = coded("WAV")
    at = data.index(b"data") + 4
    return data[:4] + bytes(4) + data[8:at] + bytes(4) + data[at + 4 :]


def test_a_recorder_that_died(w, capsys):
    Path("a.wav").write_bytes(recorder_that_died())
    assert main(["encode", "a.wav", "-o", "o.eul", *w]) == 0
    assert "warning: a.wav: its header says 0 bytes of samples" in capsys.readouterr().err
    assert samples() == 3 * RATE


@pytest.mark.parametrize(
    ("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("FLAC", None)]
)
def test_joined_files_are_coded_whole(w, kind, subtype):
    data = coded(kind, subtype)
    Path("a").write_bytes(data + data)
    assert main(["encode", "a", "-o", "o.eul", *w]) == 0
    assert samples() == 6 * RATE


@pytest.mark.parametrize("kind", ["WAV", "OGG", "FLAC", "MP3"])
def test_cut_files_are_coded_if_asked_for(w, capsys, kind):
    data = coded(kind)
    Path("a").write_bytes(data[: len(data) * 2 // 3])
    argv = ["encode", "a", "-o", "o.eul", *w]
    fails(capsys, argv, 3, "a: cut short", "`encode --recover` reads what is there")
    assert main([*argv, "--recover"]) == 0
    assert capsys.readouterr().err.startswith("warning: a: cut short")
    assert (samples() or 0) > RATE // 2
    assert main(["decode", "o.eul", "-o", "b.wav", *w]) == 0
    assert audio.read("b.wav")[0].shape[1] == samples()


@pytest.mark.parametrize("verb", ["encode", "demo"])
def test_samples_without_a_header(w, capsys, verb):
    put("a.wav")
    Path("x.raw").write_bytes(Path("a.wav").read_bytes()[44:])
    argv = [verb, "x.raw", *(["-o", "o.eul"] if verb == "encode" else []), *w]
    fails(capsys, argv, 3, "x.raw: raw samples have no header", "ffmpeg -f s16le")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="makes its input by ffmpeg")
def test_a_folder_with_other_formats(w):
    put("in/a.wav", 48_000)
    for suffix in ("m4a", "webm"):
        command = ["ffmpeg", "-v", "error", "-i", "in/a.wav", f"in/{suffix}.{suffix}"]
        subprocess.run(command, check=True)
    assert main(["encode", "in", "-o", "out", *w]) == 0
    assert tree() >= {"out/a.eul", "out/m4a.eul", "out/webm.eul"}
    assert 48_000 <= (samples("out/m4a.eul") or 0) < 52_000


def test_other_formats_without_anything_that_reads_them(w, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    Path("a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(99))
    way_out = "ffmpeg -i a.m4a -f wav - | eulerodec encode - -o a.eul"
    fails(capsys, ["encode", "a.m4a", "-o", "o.eul", *w], 3, "a.m4a", way_out)


def test_tags_go_into_the_file_and_back(w):
    tags = audio.Tags("A title", "two\nlines")
    audio.write("a.flac", speech(), RATE, tags=tags)
    assert main(["encode", "a.flac", "-o", "o.eul", *w]) == 0
    metadata = bitstream.read(Path("o.eul").read_bytes()).info.metadata
    assert (metadata.title, metadata.comment) == (tags.title, tags.comment)
    for name in ("b.wav", "b.flac"):
        assert main(["decode", "o.eul", "-o", name, *w]) == 0
        with soundfile.SoundFile(name) as sound:
            assert (sound.title, sound.comment) == (tags.title, tags.comment)
    assert main(["encode", "a.flac", "-o", "p.eul", "--title", "other", *w]) == 0
    metadata = bitstream.read(Path("p.eul").read_bytes()).info.metadata
    assert (metadata.title, metadata.comment) == ("other", tags.comment)


def test_flac_is_the_wav(w, stream):
    Path("a.eul").write_bytes(stream)
    assert main(["decode", "a.eul", "-o", "b.wav", *w]) == 0
    assert main(["decode", "a.eul", "-o", "b.flac", *w]) == 0
    wav, flac = (soundfile.read(f"b.{kind}", dtype="int16")[0] for kind in ("wav", "flac"))
    assert np.array_equal(wav, flac) and Path("b.flac").read_bytes()[:4] == b"fLaC"


def test_clipped_input_and_output_are_told(w, capsys):
    x = np.clip(4 * speech(), -1, 32767 / 32768)
    soundfile.write("a.wav", x.T, RATE)
    assert main(["encode", "a.wav", "-o", "o.eul", "--gain", "60", *w]) == 0
    assert "warning: a.wav: the input is clipped: " in capsys.readouterr().err
    assert main(["decode", "o.eul", "-o", "b.wav", "--apply-gain", *w]) == 0
    assert "clipped (" in capsys.readouterr().err
    assert main(["decode", "o.eul", "-o", "c.wav", "--apply-gain", "--float", *w]) == 0
    assert "clipped" not in capsys.readouterr().err
