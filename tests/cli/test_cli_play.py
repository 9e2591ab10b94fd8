"""``eulerodec play``: programs on PATH that stand in for players."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from helpers.cli import fails, put

from eulerodec.cli import main

pytestmark = [
    pytest.mark.usefixtures("here", "same_threads"),
    pytest.mark.skipif(sys.platform == "win32", reason="programs by #!"),
]


@pytest.fixture
def player(here: Path, monkeypatch: pytest.MonkeyPatch, stream: bytes):
    """Puts a program into the only folder on PATH; a file for it lies in the working directory."""
    (here / "bin").mkdir()
    monkeypatch.setenv("PATH", str(here / "bin"))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    (here / "a.eul").write_bytes(stream)

    def install(name: str, code: str) -> None:
        (here / "bin" / name).write_text(f"#!{sys.executable}\nimport sys\n{code}\n")
        (here / "bin" / name).chmod(0o755)

    return install


HEARS = "open('heard.wav', 'wb').write(sys.stdin.buffer.read())"
FAILS = "sys.exit('no sound card')"


@pytest.mark.parametrize(
    "options", [[], ["--bitrate", "3"], ["--from", "1", "--to", "2.5"], ["--recover"]]
)
def test_what_is_played_is_what_is_decoded(w, player, capsys, options):
    player("aplay", HEARS)
    assert main(["play", "a.eul", *options, *w]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["decode", "a.eul", "-o", "b.wav", *options, *w]) == 0
    heard, decoded = Path("heard.wav").read_bytes(), Path("b.wav").read_bytes()
    assert heard[:4] == b"RIFF"
    assert heard.split(b"data", 1)[1][4:] == decoded.split(b"data", 1)[1][4:]  # behind their sizes


def test_the_next_player_is_tried(w, player, capsys):
    player("aplay", FAILS)
    player("ffplay", HEARS)
    assert main(["play", "a.eul", *w]) == 0
    assert capsys.readouterr().err == "aplay: no sound card\n"
    assert Path("heard.wav").stat().st_size > 200_000


def test_without_a_player_the_wav_goes_to_a_pipe(w, player, capfdbinary):
    assert main(["play", "a.eul", *w]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b"no player works here: the WAV goes to standard output\n"
    assert main(["play", "a.eul", "-o", "-", *w]) == 0
    assert capfdbinary.readouterr() == (out, b"")
    main(["decode", "a.eul", "-o", "b.wav", *w])
    assert out == Path("b.wav").read_bytes()


def test_without_a_player_a_terminal_gets_the_way_out(w, player, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    fails(capsys, ["play", "a.eul", *w], 3, "no player works here", "play a.eul -o - | PLAYER")


def test_what_cannot_be_played(w, player, capsys):
    player("aplay", HEARS)
    put("a.wav")
    fails(capsys, ["play", "gone.eul", *w], 3, "gone.eul: no such file")
    fails(capsys, ["play", "a.wav", *w], 3, "a.wav: not an .eul file")
    fails(capsys, ["play", "a.eul", "-o", "b.wav", *w], 2, "b.wav")
