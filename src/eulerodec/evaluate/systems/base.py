"""What every system under test offers, and helpers for command-line codecs."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import audio
from ...errors import AudioError, ConfigError, EuleroDecError
from ..clips import SAMPLE_RATE

__all__ = ["Absent", "Coded", "Signal", "Spec", "System", "need_tool", "run_tool", "work_folder"]

Signal = NDArray[np.float32]
TIMEOUT_S = 600  # of one tool on one clip


class Absent(EuleroDecError):
    """A system that cannot run here; the message says what is missing."""


@dataclass(frozen=True)
class Spec:
    """A system as the user names it: ``[label=]kind:kbps[:option...]``.

    ``text`` is its name in all results, ``kind`` one of the known kinds or a directory of weights,
    ``options`` words and ``key=value`` pairs.
    """

    text: str
    kind: str
    kbps: float
    options: dict[str, str]

    def reject_options(self, *known: str) -> None:
        """Check the options.

        Raises:
            ConfigError: one is not among the ``known``.
        """
        for name in self.options:
            if name not in known:
                allowed = ", ".join(known) or "none"
                raise ConfigError(f"{self.text}: no option {name!r}; there are: {allowed}")

    def kbps_of(self, allowed: Sequence[float]) -> float:
        """The rate.

        Raises:
            ConfigError: it is not among the ``allowed``.
        """
        if self.kbps not in allowed:
            rates = ", ".join(f"{rate:g}" for rate in allowed)
            raise ConfigError(f"{self.text}: {self.kbps:g} kbps is not available, allowed: {rates}")
        return self.kbps


@dataclass(frozen=True)
class Coded:
    """One clip through a system.

    ``audio``: [N] at ``sample_rate``, the system's known delay taken off. ``payload_bytes``: what
    the codec produced, as stored; ``file_bytes``: the whole file with headers and framing.
    """

    audio: Signal
    sample_rate: int
    payload_bytes: int
    file_bytes: int


class System(ABC):
    """A codec at one rate. Instances are sent to other processes, so they hold plain data only.

    ``name``: the spec; ``title``: what it is, for the report; ``delay_s``: known delay, which
    :meth:`code` takes off; ``identity``: version, weights and settings, so that results of
    something else are not taken for these.
    """

    title: str
    delay_s: float = 0.0

    def __init__(self, spec: Spec) -> None:
        self.name = spec.text
        self.kind = spec.kind
        self.kbps = spec.kbps

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]: ...

    @abstractmethod
    def code(self, wav: Signal) -> Coded:
        """Encode and decode mono samples [N] at :data:`SAMPLE_RATE`; N is not kept exactly."""


def need_tool(name: str, package: str) -> str:
    """The path of a program.

    Raises:
        Absent: it is not installed; the message names the Debian package.
    """
    path = shutil.which(name)
    if path is None:
        raise Absent(f"{name} is not installed (apt-get install {package})")
    return path


def run_tool(command: Sequence[str | Path]) -> str:
    """Run a program; returns its output.

    Raises:
        AudioError: it failed; the message has its last line.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AudioError(f"{Path(words[0]).name}: no end after {TIMEOUT_S} s") from error
    text = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode != 0:
        last = text.splitlines()[-1] if text else "no message"
        raise AudioError(f"{Path(words[0]).name}: exit code {done.returncode}: {last}")
    return text


@contextmanager
def work_folder() -> Iterator[Path]:
    """A temporary folder for the files of one clip."""
    with tempfile.TemporaryDirectory(prefix="eulerodec-") as folder:
        yield Path(folder)


def to_rate(wav: Signal, rate: int, *, pad: int = 0) -> Signal:
    """[N] at :data:`SAMPLE_RATE` to ``rate``, with ``pad`` samples of silence after it."""
    return np.pad(audio.resample(wav[None], SAMPLE_RATE, rate)[0], (0, pad))


def to_pcm16(wav: Signal) -> NDArray[np.int16]:
    """Samples of full scale 1 as 16-bit integers, clipped."""
    return np.clip(np.rint(wav * np.float32(32768)), -32768, 32767).astype("<i2")
