"""Sound through the loudspeakers: by the package ``sounddevice``, or by a player program."""

from __future__ import annotations

import contextlib
import importlib
import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from ..errors import AudioError
from . import wav

__all__ = ["PlaybackError", "find_players", "open_player", "play"]

# Programs that play a WAV from standard input, or from a file whose name is {}.
_PROGRAMS = {
    "aplay": ("aplay", "-q", "-"),
    "paplay": ("paplay",),
    "ffplay": ("ffplay", "-v", "error", "-nodisp", "-autoexit", "-i", "-"),
    "afplay": ("afplay", "{}"),
}


class PlaybackError(AudioError):
    """A player that does not play."""


def play(
    write: Callable[[BinaryIO], object], note: Callable[[str], None], *, again: bool = True
) -> str | None:
    """Play a WAV by the first player that works.

    Args:
        write: Writes a 16-bit WAV to a file object; called anew for each player that is tried.
        note: Gets a line about every player that failed.
        again: ``write`` can be called more than once.

    Returns:
        The name of the player, or None if there is none that works.
    """
    for name in find_players()[: None if again else 1]:
        try:
            with open_player(name) as sink:
                write(sink)
        except PlaybackError as error:
            note(str(error))
        else:
            return name
    return None


def find_players() -> list[str]:
    """Names of what may play here, the best first; whether there is a device shows later."""
    found = []
    with contextlib.suppress(ImportError, OSError):  # it is there, its library is not
        importlib.import_module("sounddevice")
        found.append("sounddevice")
    return found + [name for name in _PROGRAMS if shutil.which(name)]


@contextlib.contextmanager
def open_player(name: str) -> Iterator[BinaryIO]:
    """A player by one of the names that :func:`find_players` gives.

    Yields:
        A file object that takes a 16-bit WAV, as fast as it is heard. The block ends when all of it
        has been heard, or early when the player was closed by its user.

    Raises:
        PlaybackError: for a player that fails, as without a device.
    """
    if name == "sounddevice":
        with _Device() as device:
            yield device  # type: ignore[misc]
        return
    command = _PROGRAMS[name]
    if "{}" not in command:
        with _program(name, command) as pipe:
            yield pipe
        return
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        yield file  # type: ignore[misc]
        file.flush()
        with _program(name, [file.name if part == "{}" else part for part in command]):
            pass


@contextlib.contextmanager
def _program(name: str, command: Any) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        )
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # why it ended is seen below
                yield process.stdin  # type: ignore[misc]
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
        except BaseException:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
            raise
        said.seek(0)
        lines = [line.strip() for line in said.read().decode(errors="replace").split("\n")]
        refused = [line for line in lines if "audio open" in line]  # ffplay then ends with code 0
        if process.returncode or refused:
            reasons = refused or [line for line in lines if line] or ["it failed"]
            raise PlaybackError(f"{name}: {reasons[-1]}")


class _Device:
    """Takes a 16-bit WAV and plays it by ``sounddevice``."""

    def __init__(self) -> None:
        self._head: bytearray | None = bytearray()
        self._stream: Any = None

    def __enter__(self) -> _Device:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if self._stream is not None:
            if kind is None:
                self._stream.stop()  # when all has been heard
            self._stream.close()

    def write(self, data: bytes) -> int:
        if self._head is None:
            self._stream.write(data)
            return len(data)
        self._head += data
        source = io.BytesIO(self._head)
        header = wav.parse_header(source, bytearray())
        if header is not None:
            self._head = None
            self._stream = self._open(header)
            self._stream.write(source.read())
        return len(data)

    def flush(self) -> None:
        """Every block goes to the device at once."""

    def seekable(self) -> bool:
        return False

    def _open(self, header: wav.WavHeader) -> Any:
        sounddevice = importlib.import_module("sounddevice")
        try:
            stream = sounddevice.RawOutputStream(
                samplerate=header.sample_rate, channels=header.n_channels, dtype="int16"
            )
            stream.start()
        except sounddevice.PortAudioError as error:
            raise PlaybackError(f"sounddevice: {' '.join(str(error).split())}") from error
        return stream
