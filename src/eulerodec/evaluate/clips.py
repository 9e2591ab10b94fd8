"""The clips of an evaluation: a folder or a manifest, grouped into sets."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..errors import AudioError, ConfigError
from ..files import PathLike

__all__ = ["SAMPLE_RATE", "Clip", "find_clips", "read_clip"]

#: Rate in Hz at which references and decoded signals are compared.
SAMPLE_RATE = 24_000


@dataclass(frozen=True)
class Clip:
    """``name``: its path within the folder, unique. ``set``: what it is averaged with."""

    name: str
    set: str
    path: Path


def find_clips(source: PathLike, limit_per_set: int = 0) -> tuple[list[Clip], list[str]]:
    """Clips of a folder, a ``.jsonl`` manifest or one audio file.

    A folder is searched; the set of a clip is the first folder below it. A manifest has one JSON
    object per line with ``path`` (relative to the manifest) and, if wanted, ``set``.

    Args:
        source: folder, manifest or file.
        limit_per_set: clips of each set, evenly over it; 0 for all.

    Returns:
        The clips, and remarks on what was left out.

    Raises:
        ConfigError: a wrong manifest.
        AudioError: no clip.
    """
    source = Path(source)
    remarks: list[str] = []
    if source.is_dir():
        clips = [
            _clip(path, source, "")
            for path in sorted(source.rglob("*"))
            if path.is_file() and path.suffix.lower() in audio.AUDIO_SUFFIXES
        ]
    elif source.suffix == ".jsonl":
        clips = _manifest(source)
    else:
        clips = [_clip(source, source.parent, "")]
    counts = Counter(clip.name for clip in clips)
    remarks += [f"{name} was listed {n} times" for name, n in counts.items() if n > 1]
    clips = list({clip.name: clip for clip in clips}.values())
    absent = [clip for clip in clips if not clip.path.is_file()]
    if absent:
        raise AudioError(f"{absent[0].path}: no such file")
    if not clips:
        raise AudioError(f"{source}: no audio files in it")
    if limit_per_set:
        by_set: dict[str, list[Clip]] = {}
        for clip in clips:
            by_set.setdefault(clip.set, []).append(clip)
        clips = [clip for group in by_set.values() for clip in _spread(group, limit_per_set)]
        remarks.append(f"limited to {limit_per_set} clips of each set")
    return clips, remarks


def read_clip(clip: Clip) -> NDArray[np.float32]:
    """Mono samples [N] at :data:`SAMPLE_RATE`.

    Channels are averaged, the level is left alone.

    Raises:
        AudioError: as for :func:`audio.read`, and for a clip without samples.
    """
    wav, rate = audio.read(clip.path)
    if wav.shape[1] == 0:
        raise AudioError(f"{clip.path}: it has no samples")
    return audio.resample(wav.mean(0, keepdims=True), rate, SAMPLE_RATE)[0]


def _clip(path: Path, root: Path, group: str) -> Clip:
    try:
        relative = path.relative_to(root)
    except ValueError:  # a manifest may point elsewhere
        relative = path
    folders = relative.parts[:-1]
    return Clip(
        relative.as_posix(), group or (folders[0] if folders else root.name or "clips"), path
    )


def _manifest(source: Path) -> list[Clip]:
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise AudioError(f"{source}: {error.strerror}") from error
    clips = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            clips.append(_clip(source.parent / row["path"], source.parent, str(row.get("set", ""))))
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{source} line {number}: expected JSON with 'path'") from None
    return clips


def _spread(clips: list[Clip], n: int) -> list[Clip]:
    """``n`` of the clips, evenly over the list."""
    if len(clips) <= n:
        return clips
    return [clips[i * len(clips) // n] for i in range(n)]
