"""Decode audio once into one flat int16 file at the model's rate.

A cache is a folder with ``audio.s16`` (all files one after the other, little-endian int16, mono)
and ``index.jsonl`` (a header line, then one line per file with its offset and length). A line is
written only after its samples are on disk, so an interrupted run goes on where it stopped, and
packing a list that has grown adds only the new files.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError, ConfigError, TrainingError

__all__ = ["Cache", "Item", "default_cache_dir", "is_cache", "open_cache", "pack", "synthesize"]

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".oga", ".mp3", ".aiff", ".aif", ".au", ".caf"}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file of a cache; ``offset`` and ``n`` in samples."""

    path: str
    offset: int
    n: int
    source: str = ""
    speaker: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Cache:
    """Decoded audio: ``audio`` int16 [total samples] at ``sample_rate`` in Hz, and what lies
    where."""

    audio: NDArray[np.int16]
    sample_rate: int
    items: list[Item] = field(default_factory=list)


def is_cache(path: str | Path) -> bool:
    return (Path(path) / "index.jsonl").is_file()


def open_cache(path: str | Path, sample_rate: int | None = None) -> Cache:
    """Open a packed cache; the audio is memory-mapped.

    Args:
        path: folder of the cache.
        sample_rate: the rate in Hz that is needed; any by default.

    Raises:
        TrainingError: the folder is no cache, its audio is at another rate, or shorter than the
            index says.
    """
    path = Path(path)
    rate, items = _read_index(path)
    if sample_rate not in (None, rate):
        raise TrainingError(
            f"{path} holds audio at {rate} Hz, the model works at {sample_rate} Hz; pack it again "
            f"with `eulerodec pack --sample-rate {sample_rate}`"
        )
    audio = path / "audio.s16"
    total = max((i.offset + i.n for i in items), default=0)
    if not audio.is_file() or audio.stat().st_size < 2 * total:
        raise TrainingError(f"{audio} is shorter than its index says; delete {path} and pack again")
    if total == 0:
        raise TrainingError(f"the cache {path} holds no audio")
    return Cache(np.memmap(audio, dtype="<i2", mode="r"), rate, items)


def _read_index(path: Path) -> tuple[int, list[Item]]:
    """Sample rate and items of an index; a last line that was cut off by a crash is dropped."""
    try:
        lines = (path / "index.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise TrainingError(f"no audio cache in {path}: {error.strerror}") from None
    names = {f.name for f in fields(Item)}
    rate, items = 0, []
    for number, line in enumerate(lines):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            if number == len(lines) - 1:
                break
            raise TrainingError(f"{path}/index.jsonl line {number + 1} is damaged") from None
        if number == 0:
            rate = row.get("sample_rate")
            if row.get("format") != 1 or not isinstance(rate, int) or rate < 1:
                raise TrainingError(f"{path} is not a cache of format 1")
            continue
        items.append(Item(**{k: v for k, v in row.items() if k in names}))
    return rate, items


def default_cache_dir(paths: Sequence[str | Path], sample_rate: int) -> Path:
    """Folder in the user's cache directory, named by the rate and the list of paths."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    names = "\n".join(str(Path(p).resolve()) for p in paths)
    digest = hashlib.sha256(names.encode()).hexdigest()[:12]
    return Path(base) / "eulerodec" / f"audio-{sample_rate}-{digest}"


def pack(
    paths: Sequence[str | Path], out: str | Path, *, sample_rate: int, quiet: bool = False
) -> Path:
    """Decode folders, manifests and files into the cache ``out`` (mono int16).

    Files that are in the cache already are kept; files that cannot be read are skipped with a
    warning. Channels are averaged.

    Args:
        paths: folders (searched recursively), ``.jsonl`` manifests (``path`` relative to the
            manifest, optional ``source``, ``speaker``, ``licence``) or audio files.
        out: folder of the cache; created if missing.
        sample_rate: of the cache in Hz, that of the model to be trained.

    Returns:
        ``out``.

    Raises:
        ConfigError: a path does not exist or a manifest line is damaged.
        TrainingError: nothing could be read, or the cache that is there has another rate.
    """
    out = Path(out)
    rows = [row for path in paths for row in scan(path)]
    out.mkdir(parents=True, exist_ok=True)
    there, done = _read_index(out) if is_cache(out) else (sample_rate, [])
    if there != sample_rate:
        raise TrainingError(f"the cache {out} is at {there} Hz, not {sample_rate}; give another")
    end = max((i.offset + i.n for i in done), default=0)
    have = {i.path for i in done}
    todo = [row for row in rows if row["path"] not in have]
    bad = 0
    header = {"format": 1, "sample_rate": sample_rate}
    lines = [json.dumps(row, ensure_ascii=False) for row in (header, *map(vars, done))]
    (out / "index.tmp").write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(out / "index.tmp", out / "index.jsonl")
    with (
        open(out / "audio.s16", "ab") as audio,
        open(out / "index.jsonl", "a", encoding="utf-8") as index,
    ):
        audio.truncate(2 * end)  # the samples of a file that was cut off
        for number, row in enumerate(todo, 1):
            try:
                wave = _decode(Path(row["path"]), sample_rate)
            except Exception as error:  # any decoder error concerns this file alone
                bad += 1
                print(f"skipped {row['path']}: {error}", file=sys.stderr)
                continue
            audio.write(wave.tobytes())
            audio.flush()
            index.write(json.dumps({**row, "offset": end, "n": len(wave)}, ensure_ascii=False))
            index.write("\n")
            index.flush()
            end += len(wave)
            if not quiet and (number % 20 == 0 or number == len(todo)):
                hours = end / sample_rate / 3600
                print(f"decoded {number}/{len(todo)} files, {hours:.2f} h", file=sys.stderr)
    if end == 0:
        raise TrainingError(f"no audio could be read from {', '.join(map(str, paths))}")
    return out


def scan(path: str | Path) -> Iterator[dict[str, Any]]:
    """Rows (path, source, speaker, licence) of a folder, a manifest or one file."""
    path = Path(path)
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and file.is_file():
                parents = file.relative_to(path).parts[:-1]
                speaker = parents[-1] if parents else ""
                yield _row(file.resolve(), {"source": path.name, "speaker": speaker})
    elif path.suffix == ".jsonl" and path.is_file():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                file = path.parent / row["path"]
            except (json.JSONDecodeError, KeyError, TypeError):
                raise ConfigError(f"{path} line {number}: expected JSON with 'path'") from None
            yield _row(file.resolve(), row)
    elif path.is_file():
        yield _row(path.resolve(), {"source": path.stem})
    else:
        raise ConfigError(f"no such file or folder: {path}")


def _row(file: Path, row: dict[str, Any]) -> dict[str, Any]:
    names = ("source", "speaker", "licence")
    return {"path": str(file), **{k: str(row[k]) for k in names if row.get(k)}}


def _decode(path: Path, sample_rate: int) -> NDArray[np.int16]:
    import soundfile  # here and not above: training from a ready cache needs neither library
    import soxr

    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    wave = wave.mean(axis=1)
    if not len(wave):
        raise AudioError("no samples")
    if not np.isfinite(wave).all():
        raise AudioError("NaN or infinite samples")
    if rate != sample_rate:
        wave = soxr.resample(wave, rate, sample_rate, quality="VHQ")
    return np.clip(np.rint(wave * 32768.0), -32768, 32767).astype("<i2")


def synthesize(seconds: float, sample_rate: int, seed: int = 0) -> Cache:
    """Generated audio for smoke runs: harmonic tones with vibrato, chirps and filtered noise.

    Every second is an item of its own, of source ``tone``, ``chirp`` or ``noise`` in turn.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(sample_rate) / sample_rate
    items, waves = [], []
    for number in range(max(1, round(seconds))):
        source = ("tone", "chirp", "noise")[number % 3]
        if source == "tone":
            pitch = rng.uniform(80, 400) * (1 + 0.02 * np.sin(2 * np.pi * 5 * time))
            phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
            wave = sum(np.sin(k * phase + rng.uniform(0, 6.28)) / k for k in range(1, 12))
        elif source == "chirp":
            low, high = np.sort(rng.uniform(100, 0.375 * sample_rate, size=2))
            wave = np.sin(
                2 * np.pi * low * np.expm1(time * np.log(high / low)) / np.log(high / low)
            )
        else:
            spectrum = np.fft.rfft(rng.standard_normal(len(time)))
            spectrum /= 1 + (np.arange(len(spectrum)) / rng.uniform(300, 3000)) ** 2
            wave = np.fft.irfft(spectrum, n=len(time))
        wave = wave * (0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(1, 6) * time))
        wave = wave / np.abs(wave).max() * rng.uniform(0.2, 0.9)
        items.append(
            Item(
                path=f"{source}-{number:04d}",
                offset=number * sample_rate,
                n=sample_rate,
                source=source,
                speaker=f"{source}-{number // 3 % 10}",
            )
        )
        waves.append(np.rint(wave * 32767).astype("<i2"))
    return Cache(np.concatenate(waves), sample_rate, items)
