"""All clips through all systems, on several processes, into a CSV that grows row by row.

A run that was stopped goes on where it was: rows that are there, and belong to the same clip,
system, metrics and versions, are kept. Rows of failed systems are tried again.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError
from ..tabular import csv_text, write_csv
from .task import FIELDS, Row, Task, audio_name, do, start_worker

__all__ = ["TABLE", "columns", "read_table", "run"]

TABLE = "results.csv"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Done = Callable[[Row, int], None]


def columns(metric_names: Sequence[str]) -> list[str]:
    """Columns of the table, in order."""
    return [*FIELDS[:-1], *metric_names, FIELDS[-1]]


def read_table(path: Path) -> list[Row]:
    """Rows of a table without a last line that was cut off; none if there is no table."""
    if not path.is_file():
        return []
    text = path.read_bytes().decode("utf-8", "replace")
    complete = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(io.StringIO(complete, newline=""))
    width = len(reader.fieldnames or ())
    return [row for row in reader if len(row) == width and None not in row.values()]


def run(
    tasks: Sequence[Task], out: Path, *, jobs: int = 1, done: Done = lambda row, count: None
) -> list[Row]:
    """Do all tasks that ``out / TABLE`` does not have yet.

    Args:
        tasks: one for each clip and system.
        out: folder of the table.
        jobs: processes.
        done: called with every new row and the number of rows there are.

    Returns:
        The rows of all tasks, old ones too.

    Raises:
        ConfigError: ``out`` holds a table of another kind.
        OSError: the table cannot be written.
    """
    table = out / TABLE
    names = columns(tasks[0].metrics) if tasks else columns(())
    old = {(row.get("clip", ""), row.get("system", "")): row for row in read_table(table)}
    if old and "config" not in next(iter(old.values())):
        raise ConfigError(f"{table}: not a table of this program; give another --out")
    kept = {t.key: old[t.key] for t in tasks if t.key in old and _valid(old[t.key], t)}
    out.mkdir(parents=True, exist_ok=True)
    write_csv(table, kept.values(), names)
    todo = [task for task in tasks if task.key not in kept]
    with open(table, "ab", buffering=0) as sink:
        for row in _rows(todo, jobs):
            sink.write(csv_text([row], names, header=False).encode())
            kept[row["clip"], row["system"]] = row
            done(row, len(kept))
    return [kept[task.key] for task in tasks]


def _valid(row: Row, task: Task) -> bool:
    """The row is what the task would give, and its audio is there if it is to be kept."""
    if row["config"] != task.config or '"system"' in row["errors"]:
        return False
    wanted = ("original", task.system.name) if task.keep else ()
    return all((Path(task.keep) / audio_name(task.clip, name)).is_file() for name in wanted)


def _rows(tasks: Sequence[Task], jobs: int) -> Iterator[Row]:
    """Rows as they are finished. A task that kills its process gives a row that says so."""
    if jobs == 1:
        yield from map(do, tasks)
        return
    waiting = deque(tasks)
    while waiting:
        suspects: list[Task] = []
        with _pool(jobs) as pool:
            running: dict[Future[Row], Task] = {}
            while (waiting or running) and not suspects:
                while waiting and len(running) < jobs + 1:
                    task = waiting.popleft()
                    try:
                        running[pool.submit(do, task)] = task
                    except BrokenProcessPool:
                        suspects.append(task)
                        break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        suspects.append(task)
            suspects += running.values()
        yield from map(_alone, suspects)


def _alone(task: Task) -> Row:
    """A task in a process of its own, after a process has died that it may have been in."""
    with _pool(1) as pool:
        try:
            return pool.submit(do, task).result()
        except BrokenProcessPool:
            row = dict.fromkeys((*FIELDS, *task.metrics), "")
            facts = {"clip": task.clip.name, "set": task.clip.set, "system": task.system.name}
            return row | facts | {"config": task.config, "errors": '{"system": "the process died"}'}


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes with one thread each; what waits is dropped when the block is left."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))  # read when a process loads its libraries
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
