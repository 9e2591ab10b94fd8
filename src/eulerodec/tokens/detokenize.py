"""Shards of codes back to audio files, to hear what a model is trained on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from .. import audio
from ..codec import Codec, Encoded
from ..errors import BitstreamError, WeightsError
from ..files import PathLike
from .job import MANIFEST
from .plan import is_audio
from .shards import CodecFacts, Row, read_facts, read_rows, sha256_of

__all__ = ["detokenize"]

_TOGETHER = 16  # clips that are decoded together

Progress = Callable[[str], None]  # told of each file that is written


def detokenize(
    source: PathLike,
    out: PathLike,
    codec: Codec,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Decode the clips of a job, or of one of its shards, to WAV files.

    A file is called by the key of its clip; a key that comes again gets a number.

    Args:
        source: the folder of a job that is complete, or a shard.
        out: folder for the files; made if missing.
        codec: with the codes that the shards were made with.
        limit: decode only so many clips, the first ones.
        progress: told of each file that is written.

    Returns:
        The number of files.

    Raises:
        BitstreamError: no complete job, or a shard that is missing or damaged.
        WeightsError: the shards were made with other codes.
        OSError: ``out`` cannot be written.
    """
    clips = (
        (facts, clip)
        for shard in _shards(Path(source))
        for facts in [read_facts(shard)]
        for clip in _clips(read_rows(shard))
    )
    taken: set[str] = set()
    for batch in _batches(itertools.islice(clips, limit)):
        coded = [_encoded(codec, facts, row) for facts, clip in batch for row in clip]
        sounds = iter(codec.decode_batch(coded))
        for _, clip in batch:
            wav = np.concatenate([next(sounds).numpy() for _ in clip])
            path = Path(out) / f"{_free(_name(clip[0].key), taken)}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write(path, wav, clip[0].sample_rate)
            if progress is not None:
                progress(str(path))
    return len(taken)


def _encoded(codec: Codec, facts: CodecFacts, row: Row) -> Encoded:
    """A channel as it was encoded."""
    if facts.codes_sha256 != codec.codes_sha256:
        raise WeightsError(
            f"made with the codes {facts.codes_sha256[:16]} of {facts.name!r}, but those of"
            f" {codec.name!r} are {codec.codes_sha256[:16]}: decode with weights that have them"
        )
    info = codec.stream_info(
        n_codebooks=facts.n_codebooks,
        sample_rate=row.sample_rate,
        frames_per_packet=facts.frames_per_packet,
    ).replace(
        n_samples=audio.resampled_length(row.n_samples, row.sample_rate, facts.sample_rate),
        n_input_samples=row.n_samples,
    )
    return Encoded.from_codes(row.codes[None], info, row.levels[None])


def _shards(source: Path) -> Iterator[Path]:
    """Shards whose bytes are those of the manifest; or the one that was given."""
    if not source.is_dir():
        yield source
        return
    try:
        manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        shards = [(source / shard["file"], shard["sha256"]) for shard in manifest["shards"]]
    except FileNotFoundError:
        raise BitstreamError(f"{source}: no {MANIFEST}: no job, or one that is not done") from None
    except (ValueError, KeyError, TypeError):
        raise BitstreamError(f"{source / MANIFEST}: damaged") from None
    for path, sha256 in shards:
        if not path.exists():
            raise BitstreamError(f"{path}: no such file, but the manifest has it")
        if sha256_of(path) != sha256:
            raise BitstreamError(f"{path}: damaged, it is not the file that the manifest has")
        yield path


def _clips(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows of one clip each: its channels."""
    clip: list[Row] = []
    for row in rows:
        if clip and row.channel == 0:
            yield clip
            clip = []
        clip.append(row)
    if clip:
        yield clip


def _batches(
    clips: Iterator[tuple[CodecFacts, list[Row]]],
) -> Iterator[list[tuple[CodecFacts, list[Row]]]]:
    while batch := list(itertools.islice(clips, _TOGETHER)):
        yield batch


def _name(key: str) -> str:
    """A key as a name inside of a folder, whatever it says; without the ending of audio."""
    parts = PurePosixPath(key.replace("\\", "/")).parts
    path = PurePosixPath(*[part for part in parts if part not in ("/", "..")])
    if not path.name:
        return "clip"
    return str(path.with_suffix("") if is_audio(path.name) else path)


def _free(name: str, taken: set[str]) -> str:
    """A name that no file has yet, and has from now on."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    found = next(x for x in itertools.chain([name], numbered) if x not in taken)
    taken.add(found)
    return found
