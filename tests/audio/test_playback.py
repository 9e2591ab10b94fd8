"""Players: programs that stand in for them on PATH, and a module for sounddevice."""

from __future__ import annotations

import io
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eulerodec import audio
from eulerodec.audio import playback
from eulerodec.audio.playback import PlaybackError, find_players, open_player

RATE = 24_000
X = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 50_000)).astype(np.float32)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="programs by #!")

HEARS = "import shutil; shutil.copyfileobj(sys.stdin.buffer, open(heard, 'wb'))"
HEARS_FILE = "import shutil; shutil.copy(sys.argv[1], heard)"
# as aplay says it behind lines of its library; ffplay ends with code 0
FAILS = "print('ALSA lib: card 0\\naudio open error: no such device\\n', file=sys.stderr)"
CLOSED = "sys.stdin.buffer.read(1000)"  # its user closes it


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, without sounddevice."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    return tmp_path


def install(folder: Path, name: str, code: str) -> Path:
    heard = folder / f"{name}.heard"
    program = folder / name
    program.write_text(f"#!{sys.executable}\nimport sys\nheard = {str(heard)!r}\n{code}\n")
    program.chmod(0o755)
    return heard


def put_wav(sink, x: np.ndarray = X) -> None:
    with audio.open_writer(sink, RATE, x.shape[0], n_samples=x.shape[1]) as out:
        for start in range(0, x.shape[1], 9_999):
            out.write(x[:, start : start + 9_999])
            out.flush()


def put_nothing(sink) -> None:
    raise AssertionError("there is no player")


def wav_bytes() -> bytes:
    sink = io.BytesIO()
    put_wav(sink)
    return sink.getvalue()


@pytest.mark.parametrize("code", [0, 1])
def test_a_player_without_a_device(path, code):
    install(path, "ffplay", f"{FAILS}; sys.exit({code})")
    with (
        pytest.raises(PlaybackError, match=r"^ffplay: audio open error: no such device$"),
        open_player("ffplay") as sink,
    ):
        put_wav(sink)


@pytest.mark.parametrize("name", ["aplay", "paplay", "ffplay", "afplay"])
def test_a_program_gets_the_wav(path, name):
    heard = install(path, name, HEARS_FILE if name == "afplay" else HEARS)
    assert playback.play(put_wav, print) == name
    assert heard.read_bytes() == wav_bytes()


def test_the_first_that_plays_is_taken(path):
    lines = []
    install(path, "aplay", FAILS)
    heard = install(path, "ffplay", HEARS)
    install(path, "afplay", FAILS)
    assert find_players() == ["aplay", "ffplay", "afplay"]
    assert playback.play(put_wav, lines.append) == "ffplay"
    assert lines == ["aplay: audio open error: no such device"]
    assert heard.read_bytes() == wav_bytes()


def test_what_can_be_written_only_once_is_tried_once(path):
    lines = []
    install(path, "aplay", FAILS)
    install(path, "ffplay", HEARS)
    assert playback.play(put_wav, lines.append, again=False) is None
    assert lines == ["aplay: audio open error: no such device"]


def test_nothing_plays(path):
    assert find_players() == [] and playback.play(put_nothing, print) is None


def test_a_player_that_was_closed(path):
    install(path, "aplay", CLOSED)
    assert playback.play(put_wav, print) == "aplay"


def test_an_error_of_the_writer_ends_the_player(path):
    install(path, "aplay", HEARS)
    with pytest.raises(KeyboardInterrupt), open_player("aplay") as sink:
        sink.write(b"RIFF")
        raise KeyboardInterrupt


class Stream:
    """What sounddevice.RawOutputStream does, into memory."""

    def __init__(self, samplerate, channels, dtype):
        self.format, self.data, self.calls = (samplerate, channels, dtype), b"", []

    def write(self, data):
        self.data += bytes(data)

    def __getattr__(self, name):
        return lambda: self.calls.append(name)


@pytest.fixture
def device(path, monkeypatch) -> list[Stream]:
    made: list[Stream] = []

    def open_stream(**options):
        made.append(Stream(**options))
        return made[-1]

    module = types.SimpleNamespace(RawOutputStream=open_stream, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return made


def test_sounddevice_comes_first_and_gets_the_samples(path, device):
    install(path, "aplay", HEARS)
    assert playback.play(put_wav, print) == "sounddevice"
    (stream,) = device
    assert stream.format == (RATE, 2, "int16") and stream.calls == ["start", "stop", "close"]
    expected, _ = soundfile.read(io.BytesIO(wav_bytes()), dtype="int16")
    assert stream.data == expected.tobytes()


def test_sounddevice_without_a_device(path, device, monkeypatch):
    def refuse(**options):
        raise RuntimeError("Error querying device -1")

    monkeypatch.setattr(sys.modules["sounddevice"], "RawOutputStream", refuse)
    with (
        pytest.raises(PlaybackError, match="sounddevice: Error querying device"),
        open_player("sounddevice") as sink,
    ):
        put_wav(sink)
    heard = install(path, "aplay", HEARS)
    assert playback.play(put_wav, lambda text: None) == "aplay"
    assert heard.read_bytes() == wav_bytes()
