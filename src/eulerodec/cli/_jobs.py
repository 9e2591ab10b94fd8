"""Inputs and outputs as jobs: planned, done one after the other, reported."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import AudioError, ConfigError
from ..files import PIPE, atomic_output, is_pipe
from ._common import describe, print_json
from ._progress import FileProgress, show_progress

if TYPE_CHECKING:
    from ..bitstream import StreamInfo
    from ..bitstream.writer import WritableBytes

__all__ = ["Job", "Result", "Work", "check_distinct", "edit", "plan_jobs", "run_jobs"]

Result = dict[str, Any]
Work = Callable[["Job", FileProgress], Result]


@dataclass(frozen=True)
class Job:
    """One file to make: ``-`` is standard input or output."""

    source: str
    target: str

    def make_folder(self) -> None:
        """The folder of the target, made only when there is something to put into it."""
        if not is_pipe(self.target):
            Path(self.target).parent.mkdir(parents=True, exist_ok=True)


def plan_jobs(
    inputs: Sequence[str], output: str, *, suffixes: Collection[str], new_suffix: str
) -> list[Job]:
    """What to make from files and folders; folders are searched for ``suffixes``, their tree kept.

    ``output`` is a file name (or ``-``) for one input file, else a folder. Errors:
    :class:`ConfigError` if outputs collide with each other or with an input, or if the output is
    not of the kind that is needed; :class:`AudioError` for folders without a file to code.
    """
    to_folder = output.endswith(os.sep) or os.path.isdir(output)
    many = len(inputs) > 1 or os.path.isdir(inputs[0])
    if not many and not (to_folder and not is_pipe(inputs[0])):
        check_distinct(Job(inputs[0], output))
        return [Job(inputs[0], output)]
    if PIPE in inputs:
        raise ConfigError("standard input (-) must be the only input, with a file name as output")
    if is_pipe(output):
        raise ConfigError("several files cannot go to standard output, give a folder: -o FOLDER")
    if not os.path.isdir(output) and (os.path.exists(output) or output.endswith(new_suffix)):
        what = (
            f"several inputs ({inputs[0]}, ...)" if len(inputs) > 1 else f"the folder {inputs[0]}"
        )
        raise ConfigError(f"{output}: for {what} the output must be a folder")

    jobs: dict[str, Job] = {}
    for source, relative in _expand(inputs, suffixes):
        target = os.path.join(output, os.path.splitext(relative)[0] + new_suffix)
        job = Job(source, target)
        check_distinct(job)
        if target in jobs:
            raise ConfigError(f"{jobs[target].source} and {source} would both become {target}")
        jobs[target] = job
    if not jobs:
        wanted = " ".join(sorted(suffixes))
        raise AudioError(f"{', '.join(inputs)}: no files to work on ({wanted})")
    return list(jobs.values())


def _expand(inputs: Sequence[str], suffixes: Collection[str]) -> list[tuple[str, str]]:
    """(file, its name relative to the folder it was found in)."""
    found = []
    for given in inputs:
        if not os.path.isdir(given):
            found.append((given, os.path.basename(given)))
            continue
        for folder, folders, names in os.walk(given):
            folders.sort()
            for name in sorted(names):
                if os.path.splitext(name)[1].lower() in suffixes:
                    path = os.path.join(folder, name)
                    found.append((path, os.path.relpath(path, given)))
    return found


def check_distinct(job: Job) -> None:
    """Errors: :class:`ConfigError` for an output that is the input."""
    if is_pipe(job.source) or is_pipe(job.target):
        return
    if os.path.realpath(job.source) == os.path.realpath(job.target):
        raise ConfigError(f"{job.source}: the output would overwrite the input")


def run_jobs(jobs: Sequence[Job], work: Work, *, verb: str, as_json: bool) -> int:
    """Do all jobs; a file that fails does not stop the others. Returns the exit code.

    Results go to standard error as lines, or to standard output as one JSON object.
    """
    results: list[Result] = []
    codes: list[int] = []
    with show_progress(len(jobs), verb) as progress:
        for job in jobs:
            head = {"input": job.source, "output": job.target}
            try:
                result = work(job, progress.file(job.source))
            except Exception as error:
                known = describe(error)
                if known is None:
                    raise
                codes.append(known.code)
                results.append(head | {"ok": False, "error": known.text})
                progress.line(f"error: {known.text}")
            else:
                results.append(head | {"ok": True} | result)
                if not as_json:
                    progress.line(_line(results[-1]))
    if as_json:
        print_json({"files": results, "failed": len(codes)})
    elif codes and len(jobs) > 1:
        click.echo(f"{len(codes)} of {len(jobs)} files failed", err=True)
    return codes[0] if codes else 0


def _line(result: Result) -> str:
    return (
        f"{result['input']} -> {result['output']}  {result['bytes']} bytes,"
        f" {result['seconds']:.2f} s, {result['kbps']:.2f} kbps,"
        f" {result['speed']:.1f} x real time"
    )


def edit(job: Job, write: Callable[[WritableBytes], StreamInfo]) -> Result:
    """Let ``write`` make the target; facts about it for :func:`run_jobs`."""
    start = time.perf_counter()
    with atomic_output(job.target) as target:
        sink = _Counter(target)
        info = write(sink)
    elapsed = max(time.perf_counter() - start, 1e-9)
    seconds = info.duration_s or 0.0
    return {
        "bytes": sink.n_bytes,
        "seconds": seconds,
        "sample_rate": info.input_sample_rate,
        "channels": info.n_channels,
        "samples": info.n_input_samples,
        "bitrate_kbps": info.nominal_kbps / info.n_channels,
        "kbps": info.measured_kbps(sink.n_bytes) or 0.0,
        "speed": seconds / elapsed,
    }


class _Counter:
    """Counts the bytes that go to a file."""

    def __init__(self, fileobj: IO[bytes]) -> None:
        self.n_bytes = 0
        self._file = fileobj

    def write(self, data: bytes, /) -> int:
        done = self._file.write(data)
        self.n_bytes += done
        return done
