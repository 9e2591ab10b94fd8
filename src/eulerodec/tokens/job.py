"""A corpus to shards of codes, in one process or several, exact after a stop of any kind.

The folder of a job holds ``shard-000000.parquet``, ... and, when all is done, ``manifest.json`` and
``skipped.jsonl``. Until then, ``job/plan.jsonl`` says which clips become which shard, and
``job/done-000000.json`` that a shard is complete. Each of these files is complete or absent, so a
job that is started again does what is missing: no clip is in two shards, and none is lost.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AudioError, ConfigError, EuleroDecError
from ..files import PathLike, atomic_output, write_bytes
from ..settings import whole
from .clips import Clip, clips_of
from .columns import pyarrow
from .plan import Unit, plan_units
from .shards import FORMAT, CodecFacts, write_shard

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

__all__ = ["MANIFEST", "JobReport", "LoadCodec", "Progress", "tokenize"]

MANIFEST, SKIPPED = "manifest.json", "skipped.jsonl"
SHARD_CLIPS = 1000

LoadCodec = Callable[[], Any]  # gives the codec; called once in each process
Progress = Callable[[dict[str, Any]], None]  # told of each shard that is complete


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """What a job made, runs before this one included.

    Attributes:
        shards, clips, rows: how many.
        skipped: clips that could not be coded.
        seconds: of audio that was coded, of all rows.
        bytes: of all shards.
    """

    shards: int
    clips: int
    rows: int
    skipped: int
    seconds: float
    bytes: int


def tokenize(
    inputs: Sequence[PathLike],
    out: PathLike,
    load_codec: LoadCodec,
    *,
    n_codebooks: int,
    beam: int | None = None,
    channels: str = "mix",
    shard_clips: int = SHARD_CLIPS,
    workers: int = 1,
    progress: Progress | None = None,
) -> JobReport:
    """Code a corpus with a constant number of codes a frame.

    Args:
        inputs: audio files, folders, manifests (``.csv``, ``.jsonl`` with ``path``), tars,
            Parquet files with a column of audio.
        out: folder of the job; made if missing. One that holds part of the same job is continued.
        load_codec: gives the codec; for several workers it is pickled and called in each.
        n_codebooks: K, codes of a frame.
        beam: paths of the code search; the codec's default if absent.
        channels: ``mix``: the mean of all channels; ``each``: a row for each.
        shard_clips: most clips of a shard.
        workers: processes.
        progress: told of each shard that is complete, in the process of the caller.

    Raises:
        AudioError: an input is missing or damaged (a clip that is, is skipped).
        ConfigError: a setting out of range, no clips, or another job in the folder.
        OSError: ``out`` cannot be written.
    """
    from ..quantize import DEFAULT_BEAM
    from .coding import codec_facts

    pyarrow()  # or it would be missed only when the first shard is written
    whole("shard_clips", shard_clips, 1, 1 << 24)
    whole("workers", workers, 1, 1 << 10)
    codec = load_codec()
    facts = codec_facts(codec, n_codebooks, channels, DEFAULT_BEAM if beam is None else beam)
    job = _Job(Path(out), [os.path.abspath(x) for x in inputs], facts, shard_clips)
    if job.is_complete():
        return job.report()
    job.prepare()
    todo = ((number, unit) for number, unit in job.units() if not job.done(number).exists())
    if workers == 1:
        outcomes = (_make_shard(codec, job.out, facts, *unit) for unit in todo)
    else:
        outcomes = _side_by_side(load_codec, job.out, facts, todo, workers)
    with closing(outcomes):  # or the workers of one that is interrupted here would go on
        for record in outcomes:
            if progress is not None:
                progress(record)
    job.finish()
    return job.report()


@dataclass(frozen=True)
class _Job:
    """The files of a job."""

    out: Path
    inputs: list[str]
    facts: CodecFacts
    shard_clips: int

    @property
    def plan(self) -> Path:
        return self.out / "job" / "plan.jsonl"

    def done(self, number: int) -> Path:
        return _done(self.out, number)

    def _settings(self) -> dict[str, Any]:
        settings = {"inputs": self.inputs, "shard_clips": self.shard_clips}
        return {"format": FORMAT, "codec": asdict(self.facts), **settings}

    def _check(self, found: dict[str, Any]) -> None:
        for name, value in self._settings().items():
            if found.get(name) != value:
                raise ConfigError(
                    f"{self.out} holds another job, whose {name} is {found.get(name)!r:.200}:"
                    " give another folder, or the same arguments"
                )

    def is_complete(self) -> bool:
        """Whether a run before this one came to the end."""
        if not (self.out / MANIFEST).exists():
            return False
        self._check(json.loads((self.out / MANIFEST).read_text(encoding="utf-8")))
        return True

    def prepare(self) -> None:
        """Make the plan, or check the one that is there, and remove what a stop left."""
        for rest in (*self.out.glob(".eulerodec-*.tmp"), *self.plan.parent.glob(".eulerodec-*")):
            rest.unlink(missing_ok=True)
        if self.plan.exists():
            with open(self.plan, encoding="utf-8") as lines:
                self._check(json.loads(next(lines)))
            return
        if any(self.out.glob("shard-*.parquet")):
            raise ConfigError(f"{self.out} holds shards of something else: give another folder")
        units = plan_units(self.inputs, self.shard_clips)
        first = next(units, None)
        if first is None:
            raise ConfigError(f"{', '.join(self.inputs)}: no audio to work on")
        with atomic_output(self.plan, make_folder=True) as file:
            file.write(_line(self._settings()))
            file.write(_line(first.to_json()))
            for unit in units:
                file.write(_line(unit.to_json()))

    def units(self) -> Iterator[tuple[int, Unit]]:
        """All units with their numbers, as the plan has them."""
        with open(self.plan, encoding="utf-8") as lines:
            next(lines)
            for number, line in enumerate(lines):
                yield number, Unit.from_json(json.loads(line))

    def finish(self) -> None:
        """Write the manifest, which says that all is there, and remove the plan."""
        shards = []
        with atomic_output(self.out / SKIPPED) as skipped:
            for number, _ in self.units():
                record = json.loads(self.done(number).read_text(encoding="utf-8"))
                for clip in record.pop("skipped"):
                    skipped.write(_line(clip))
                shards.append(record)
        manifest = self._settings() | {"shards": shards}
        write_bytes(self.out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
        shutil.rmtree(self.plan.parent)

    def report(self) -> JobReport:
        """What the manifest says."""
        shards = json.loads((self.out / MANIFEST).read_text(encoding="utf-8"))["shards"]
        with open(self.out / SKIPPED, encoding="utf-8") as lines:
            skipped = sum(1 for _ in lines)
        names = ("clips", "rows", "seconds", "bytes")
        totals = {name: sum(shard[name] for shard in shards) for name in names}
        return JobReport(shards=len(shards), skipped=skipped, **totals)


def _line(values: dict[str, Any]) -> bytes:
    return (json.dumps(values) + "\n").encode()


def _done(out: Path, number: int) -> Path:
    return out / "job" / f"done-{number:06d}.json"


def _make_shard(
    codec: Any, out: Path, facts: CodecFacts, number: int, unit: Unit
) -> dict[str, Any]:
    """Code a unit; returns what was made, and which clips were skipped."""
    from .coding import code_clips

    skipped: list[dict[str, str]] = []

    def skip(clip: Clip, reason: str) -> None:
        skipped.append({"source": clip.source, "key": clip.key, "reason": reason})

    rows = code_clips(codec, _until_damage(unit, skip), facts, skip)
    name = f"shard-{number:06d}.parquet"
    clips = sum(row.channel == 0 for row in rows)
    record = {"file": name, "clips": clips, **write_shard(out / name, rows, facts)}
    record["skipped"] = skipped
    write_bytes(_done(out, number), _line(record))
    return record


def _until_damage(unit: Unit, skip: Callable[[Clip, str], None]) -> Iterator[Clip]:
    """The clips of a unit; of a damaged file those before the damage."""
    try:
        yield from clips_of(unit)
    except AudioError as error:
        skip(Clip(unit.tar or unit.parquet, "", ""), f"the rest of it: {error}")


# ---- several processes ---------------------------------------------------------------------------

_worker: list[tuple[Any, Path, CodecFacts]] = []  # of this process, if it is a worker


def _start_worker(load_codec: LoadCodec, out: Path, facts: CodecFacts, stop: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and says it once
    parent = multiprocessing.parent_process()
    assert parent is not None
    # A killed parent cannot stop its workers, and they would wait for work for ever.
    for end in (stop.wait, parent.join):
        threading.Thread(target=_exit_after, args=(end,), daemon=True).start()
    _worker[:] = [(load_codec(), out, facts)]


def _exit_after(end: Callable[[], object]) -> None:
    """Ends this process at once: what it was writing is not there until it is complete."""
    end()
    os._exit(1)


def _work(number: int, unit: Unit) -> dict[str, Any]:
    return _make_shard(*_worker[0], number, unit)


def _side_by_side(
    load_codec: LoadCodec,
    out: Path,
    facts: CodecFacts,
    units: Iterator[tuple[int, Unit]],
    workers: int,
) -> Generator[dict[str, Any], None, None]:
    """Records of shards as they are made; few units wait, however long the plan is."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(load_codec, out, facts, stop),
    )
    running: set[Future[dict[str, Any]]] = set()
    try:
        for number, unit in units:
            running.add(pool.submit(_work, number, unit))
            if len(running) > workers:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    except BrokenProcessPool as error:
        raise EuleroDecError(
            "a process died, maybe for want of memory: try fewer workers; what is done stays"
        ) from error
    except BaseException:  # an interrupt: a shard may take minutes, and nobody waits for it
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
