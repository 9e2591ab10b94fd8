"""What the verbs share: errors as text, inputs and outputs as jobs, progress, results."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..errors import AudioError, BitstreamError, ConfigError, EuleroDecError, WeightsError
from ..files import PIPE, is_pipe
from ._progress import FileProgress, show_progress

__all__ = [
    "Failure",
    "Job",
    "Result",
    "Work",
    "block_option",
    "check_distinct",
    "describe",
    "plan_jobs",
    "print_json",
    "run_jobs",
    "weights_options",
]

Result = dict[str, Any]
Work = Callable[["Job", FileProgress], Result]

_EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (ConfigError, 2),
    (AudioError, 3),
    (BitstreamError, 3),
    (WeightsError, 4),
    (EuleroDecError, 1),
)


@dataclass(frozen=True)
class Failure:
    """An error as one line and an exit code."""

    text: str
    code: int


def describe(error: BaseException) -> Failure | None:
    """An error a user can cause as a line and an exit code; ``None`` for any other, a bug."""
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind):
            return Failure(" ".join(str(error).splitlines()), code)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return Failure(f"{error.filename}: {reason}" if error.filename else reason, 1)
    # torch says RuntimeError when it cannot allocate
    if isinstance(error, MemoryError) or ("memory" in str(error) and "alloc" in str(error)):
        return Failure("not enough memory", 1)
    return None


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


def print_json(value: Any) -> None:
    """One JSON object on standard output (ASCII, so any file name can be printed)."""
    click.echo(json.dumps(_strict(value), indent=2))


def _strict(value: Any) -> Any:
    """NaN and infinity are no JSON: null."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def block_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--block-frames`` of the verbs that code files and streams."""
    return click.option(
        "--block-frames",
        type=click.IntRange(1, 4096),
        metavar="N",
        help="Frames of 11 ms computed together: fewer for less delay, more for speed. "
        "By default 128 for files and 32 for pipes.",
    )(command)


def weights_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every verb that runs the network."""
    for option in (
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, or auto."),
        click.option("--threads", type=click.IntRange(1), help="CPU threads; all by default."),
        click.option(
            "--weights", metavar="DIR", help="Directory or name of weights; bundled by default."
        ),
    ):
        command = option(command)
    return command
