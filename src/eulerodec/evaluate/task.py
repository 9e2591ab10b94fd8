"""One clip through one system: a row of the table. Runs in a worker process."""

from __future__ import annotations

import hashlib
import json
import math
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .. import audio, metrics
from ..files import write_bytes
from .align import align
from .clips import SAMPLE_RATE, Clip, read_clip
from .systems import System

__all__ = ["FIELDS", "Row", "Task", "audio_name", "do", "fingerprint", "start_worker"]

Row = dict[str, str]

#: Columns before those of the metrics, and after them the one that names what went wrong.
FIELDS = (
    "clip",
    "set",
    "system",
    "seconds",
    "level_dbfs",
    "kbps",
    "file_kbps",
    "payload_bytes",
    "file_bytes",
    "delay_ms",
    "lag_samples",
    "config",
    "errors",
)
# A decoded signal may be longer by codec frames and padding, hardly shorter.
MAX_SHORTER_S, MAX_LONGER_S = 0.03, 0.25


@dataclass(frozen=True)
class Task:
    """``keep``: folder in which the decoded audio is kept, none if empty. ``metrics``: names."""

    clip: Clip
    system: System
    metrics: tuple[str, ...]
    config: str
    keep: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.clip.name, self.system.name


def fingerprint(system: System, clip: Clip, names: Sequence[str]) -> str:
    """What a row depends on, as 16 hex digits: the clip, the system, metrics and their versions."""
    measures = metrics.select(names)
    stat = clip.path.stat()
    facts = {
        "clip": [clip.name, clip.set, stat.st_size, stat.st_mtime_ns],
        "system": [system.name, system.kind, system.delay_s, system.identity],
        "metrics": sorted(names),
        "missing": sorted(m.metrics[0].name for m in measures if metrics.missing(m)),
        "versions": metrics.versions(measures),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def start_worker() -> None:
    """Ctrl-C is for the parent alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def do(task: Task) -> Row:
    """Code, align and measure. What fails is in the row's ``errors``, JSON of name to message."""
    row: Row = dict.fromkeys((*FIELDS, *task.metrics), "")
    clip, system = task.clip, task.system
    row |= {"clip": clip.name, "set": clip.set, "system": system.name, "config": task.config}
    row["delay_ms"] = f"{system.delay_s * 1000:g}"
    try:
        reference = _reference(clip)
        seconds = len(reference) / SAMPLE_RATE
        row |= {"seconds": f"{seconds:.4f}", "level_dbfs": f"{_level(reference):.2f}"}
        coded = system.code(reference)
        row |= {
            "payload_bytes": str(coded.payload_bytes),
            "file_bytes": str(coded.file_bytes),
            "kbps": f"{coded.payload_bytes * 8e-3 / seconds:.4f}",
            "file_kbps": f"{coded.file_bytes * 8e-3 / seconds:.4f}",
        }
        decoded = _at_reference_rate(coded.audio, coded.sample_rate, len(reference))
        estimate, lag = align(reference, decoded, SAMPLE_RATE)
        row["lag_samples"] = str(lag)
        wanted = metrics.select(task.metrics)
        values, errors = metrics.measure(reference, estimate, SAMPLE_RATE, wanted)
        row |= {name: f"{values[name]:.6g}" for name in task.metrics if name in values}
        errors = {name: text for name, text in errors.items() if name in task.metrics}
        if task.keep:
            _keep(Path(task.keep), clip, "original", reference)
            _keep(Path(task.keep), clip, system.name, estimate)
    except Exception as error:  # one clip of many: it is named, and the others go on
        text = " ".join(str(error).split()) or type(error).__name__
        errors = {"system": f"{type(error).__name__}: {text}"[:300]}
    row["errors"] = json.dumps(errors, ensure_ascii=False) if errors else ""
    return row


def audio_name(clip: Clip, system: str) -> str:
    """File name of kept audio: readable, and different for different clips and systems."""
    text = f"{clip.name}--{system}"
    plain = "".join(c if c.isalnum() or c in "-._" else "_" for c in text)
    return f"{plain[-80:]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.wav"


@lru_cache(maxsize=2)
def _reference(clip: Clip) -> np.ndarray:
    return read_clip(clip)


def _at_reference_rate(x: np.ndarray, rate: int, n: int) -> np.ndarray:
    """At the reference's rate, whole. A wrong length most likely means a wrong rate: an error."""
    x = audio.resample(x[None], rate, SAMPLE_RATE)[0]
    audio.check_finite(x[None], "decoded audio")
    longer = (len(x) - n) / SAMPLE_RATE
    if not -MAX_SHORTER_S <= longer <= MAX_LONGER_S:
        raise ValueError(
            f"decoded audio lasts {len(x) / SAMPLE_RATE:.3f} s, the clip {n / SAMPLE_RATE:.3f} s:"
            f" is {rate} Hz its sample rate?"
        )
    return x


def _level(x: np.ndarray) -> float:
    """Root mean square in dB of a full-scale square wave; -200 for silence."""
    return 20 * math.log10(max(float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))), 1e-10))


def _keep(folder: Path, clip: Clip, system: str, x: np.ndarray) -> None:
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(x, -1, 1), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / audio_name(clip, system), buffer.getvalue())
