"""Inputs and outputs as jobs: planned, done one after the other or side by side, reported."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import AudioError, BitstreamError, ConfigError, EuleroDecError
from ..files import PIPE, atomic_output, is_pipe, open_input
from ._common import Failure, describe, print_json, show_as_lines
from ._progress import FileProgress, ProgressView, show_progress

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from ..bitstream import StreamInfo
    from ..bitstream.writer import WritableBytes

__all__ = [
    "AUDIO_TO_EUL", "EUL_TO_AUDIO", "EUL_TO_EUL", "Conversion", "Job", "Result", "Work",
    "check_distinct", "edit", "many_options", "plan_jobs", "run_jobs",
]  # fmt: skip

Result = dict[str, Any]
Work = Callable[["Job", FileProgress], Result]

# Audio and video that may lie in a folder and cannot be read: worth a line when it is searched.
_UNREAD = frozenset(".avi .dts .mp2 .mpg .pcm .ra .raw .tta .wmv".split())


@dataclass(frozen=True)
class Conversion:
    """What a command makes of what.

    Attributes:
        what: an input is, for messages.
        error: for an input that is missing.
        suffixes: endings of input files, when folders are searched.
        new_suffix: ending of the output.
    """

    what: str
    error: type[EuleroDecError]
    suffixes: Callable[[], Collection[str]]
    new_suffix: str


def _audio_suffixes() -> Collection[str]:
    from ..audio import AUDIO_SUFFIXES

    return AUDIO_SUFFIXES


AUDIO_TO_EUL = Conversion("an audio file", AudioError, _audio_suffixes, ".eul")
EUL_TO_AUDIO = Conversion("an .eul file", BitstreamError, lambda: {".eul"}, ".wav")
EUL_TO_EUL = Conversion("an .eul file", BitstreamError, lambda: {".eul"}, ".eul")


@dataclass(frozen=True)
class Job:
    """One file to make; ``-`` is standard input or output.

    ``make_folder``: that of the target, once the source can be read.
    """

    source: str
    target: str
    make_folder: bool = False


def many_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--jobs`` and ``--skip-existing``."""
    for option in (
        click.option("--skip-existing", is_flag=True, help="Skip files whose output exists."),
        click.option(
            "--jobs",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            metavar="N",
            help="Files to work on at a time, in processes that share the CPU threads.",
        ),
    ):
        command = option(command)
    return command


def plan_jobs(
    inputs: Sequence[str],
    output: str | None,
    conversion: Conversion,
    *,
    skip_existing: bool = False,
    note: Callable[[str], None] = lambda text: click.echo(text, err=True),
) -> list[Job]:
    """What to make from files and folders, which are searched and whose tree is kept.

    Args:
        inputs: files, folders, or ``-``.
        output: a file name (or ``-``) for one input file, else a folder. By default each output
            lies beside its input, with another ending.
        conversion: of inputs to outputs.
        skip_existing: leave out jobs whose output is there.
        note: gets a line about what was left out.

    Raises:
        ConfigError: outputs collide with each other, with an input, or with a file that is there
            and was not named; the output is not of the kind that is needed.
        AudioError: folders without a file to work on.
    """
    jobs = _plan(inputs, output, conversion, note)
    for job in jobs:
        check_distinct(job)
    if skip_existing:
        left = [job for job in jobs if is_pipe(job.target) or not os.path.exists(job.target)]
        if len(left) < len(jobs):
            note(f"skipped {_count(len(jobs) - len(left), 'file')} whose output is there already")
        jobs = left
    elif output is None:
        for job in jobs:
            if os.path.lexists(job.target):
                raise ConfigError(
                    f"{job.target}: it is there already; name the output with -o, or leave out"
                    " such files with --skip-existing"
                )
    if len(jobs) == 1 and not is_pipe(jobs[0].source):  # known at once, before the network loads
        with open_input(jobs[0].source, conversion.what, conversion.error):
            pass
    return jobs


def _plan(
    inputs: Sequence[str], output: str | None, conversion: Conversion, note: Callable[[str], None]
) -> list[Job]:
    if output is not None:
        to_folder = output.endswith(os.sep) or os.path.isdir(output)
        many = len(inputs) > 1 or os.path.isdir(inputs[0])
        if not many and not (to_folder and not is_pipe(inputs[0])):
            return [Job(inputs[0], output)]
    if PIPE in inputs:
        if output is None and len(inputs) == 1:
            raise ConfigError("standard input (-) has no name: give that of the output, -o FILE")
        raise ConfigError("standard input (-) must be the only input, with a file name as output")
    if output is not None:
        _check_folder(inputs, output, conversion.new_suffix)

    jobs: dict[str, Job] = {}
    for source, relative in _expand(inputs, conversion, note):
        stem = source if output is None else os.path.join(output, relative)
        target = os.path.splitext(stem)[0] + conversion.new_suffix
        if target in jobs:
            raise ConfigError(f"{jobs[target].source} and {source} would both become {target}")
        jobs[target] = Job(source, target, make_folder=output is not None)
    if not jobs:
        wanted = " ".join(sorted(conversion.suffixes()))
        raise AudioError(f"{', '.join(inputs)}: no files to work on ({wanted})")
    return list(jobs.values())


def _check_folder(inputs: Sequence[str], output: str, new_suffix: str) -> None:
    if is_pipe(output):
        raise ConfigError("several files cannot go to standard output, give a folder: -o FOLDER")
    if not os.path.isdir(output) and (os.path.exists(output) or output.endswith(new_suffix)):
        what = (
            f"several inputs ({inputs[0]}, ...)" if len(inputs) > 1 else f"the folder {inputs[0]}"
        )
        raise ConfigError(f"{output}: for {what} the output must be a folder")


def _expand(
    inputs: Sequence[str], conversion: Conversion, note: Callable[[str], None]
) -> list[tuple[str, str]]:
    """(file, its name relative to the folder it was found in)."""
    found = []
    for given in inputs:
        if not os.path.isdir(given):
            found.append((given, os.path.basename(given)))
            continue
        suffixes, unread, linked = conversion.suffixes(), [], []
        for folder, folders, names in os.walk(given):
            folders.sort()
            linked += [p for name in folders if os.path.islink(p := os.path.join(folder, name))]
            for name in sorted(names):
                path = os.path.join(folder, name)
                suffix = os.path.splitext(name)[1].lower()
                if suffix in suffixes:
                    found.append((path, os.path.relpath(path, given)))
                elif suffix in _UNREAD and ".eul" not in suffixes:
                    unread.append(path)
        for what, paths in (
            ("file that cannot be read", unread),
            ("linked folder that is not searched", linked),
        ):
            if paths:
                more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
                note(f"skipped {what}: {paths[0]}{more}")
    return found


def check_distinct(job: Job) -> None:
    """Raise :class:`ConfigError` for an output that is the input."""
    if is_pipe(job.source) or is_pipe(job.target):
        return
    if os.path.realpath(job.source) == os.path.realpath(job.target):
        raise ConfigError(f"{job.source}: the output would overwrite the input")


def run_jobs(
    jobs: Sequence[Job],
    make_work: Callable[[], Work],
    *,
    verb: str,
    as_json: bool,
    n_processes: int = 1,
) -> int:
    """Do all jobs; a file that fails does not stop the others. Returns the exit code.

    Results go to standard error as lines, or to standard output as one JSON object.

    Args:
        jobs: what to make.
        make_work: loads what is needed; the result does a job. For several processes it is pickled
            and called in each.
        verb: for the progress bar.
        as_json: print JSON.
        n_processes: that work side by side.
    """
    results: dict[int, Result] = {}
    codes: list[int] = []
    with (
        show_progress(len(jobs), verb) as progress,
        # closed: or the processes of one that is interrupted here would go on
        closing(_outcomes(jobs, make_work, n_processes, progress)) as outcomes,
    ):
        for index, done in outcomes:
            job = jobs[index]
            head = {"input": job.source, "output": job.target}
            if isinstance(done, Failure):
                codes.append(done.code)
                results[index] = head | {"ok": False, "error": done.text}
                progress.line(f"error: {done.text}")
                continue
            results[index] = head | {"ok": True} | done
            if not as_json:
                progress.line(_line(results[index]))
    if as_json:
        print_json({"files": [results[i] for i in sorted(results)], "failed": len(codes)})
    elif codes and len(jobs) > 1:
        click.echo(f"{len(codes)} of {len(jobs)} files failed", err=True)
    return codes[0] if codes else 0


def _outcomes(
    jobs: Sequence[Job], make_work: Callable[[], Work], n_processes: int, progress: ProgressView
) -> Generator[tuple[int, Result | Failure], None, None]:
    """Number and outcome of each job, in the order in which they are done."""
    if not jobs:
        return
    work = make_work()
    if n_processes == 1 or len(jobs) == 1:
        for index, job in enumerate(jobs):
            yield index, _attempt(work, job, progress.file(job.source))
        return
    yield from _side_by_side(jobs, make_work, n_processes, progress)


def _side_by_side(
    jobs: Sequence[Job], make_work: Callable[[], Work], n_processes: int, progress: ProgressView
) -> Generator[tuple[int, Result | Failure], None, None]:
    import multiprocessing  # here: every command starts faster without these
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(
        min(n_processes, len(jobs)),
        mp_context=context,
        initializer=_start_worker,
        initargs=(make_work, stop),
    )
    try:
        running = {pool.submit(_work_in_worker, job): i for i, job in enumerate(jobs)}
        for future in as_completed(running):
            index = running[future]
            yield index, future.result()
            progress.file(jobs[index].source)(1.0)
    except BrokenProcessPool as error:
        raise EuleroDecError(
            "a process died, maybe for want of memory: try fewer --jobs"
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _attempt(work: Work, job: Job, progress: FileProgress) -> Result | Failure:
    try:
        return work(job, progress)
    except Exception as error:
        known = describe(error)
        if known is None:
            raise
        return known


_worker: list[tuple[Work, Event]] = []  # of this process, if it is a worker


def _start_worker(make_work: Callable[[], Work], stop: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and says it once
    show_as_lines()
    _worker[:] = [(make_work(), stop)]


def _work_in_worker(job: Job) -> Result | Failure:
    work, stop = _worker[0]

    def go_on(fraction: float) -> None:
        if stop.is_set():
            raise KeyboardInterrupt  # on its way out it removes the half-written output

    go_on(0.0)
    return _attempt(work, job, go_on)


def _line(result: Result) -> str:
    return (
        f"{result['input']} -> {result['output']}  {result['bytes']} bytes,"
        f" {result['seconds']:.2f} s, {result['kbps']:.2f} kbps,"
        f" {result['speed']:.1f} x real time"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def edit(job: Job, write: Callable[[WritableBytes], StreamInfo]) -> Result:
    """Let ``write`` make the target, an ``.eul`` file; facts about it for :func:`run_jobs`."""
    from ..audio import check_eul_name

    check_eul_name(job.target)
    start = time.perf_counter()
    with atomic_output(job.target, make_folder=job.make_folder) as target:
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
