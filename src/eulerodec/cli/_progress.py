"""Progress on standard error: a bar by ``rich`` in a terminal, else nothing but result lines."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import click

__all__ = ["FileProgress", "ProgressView", "show_progress"]

FileProgress = Callable[[float], None]  # fraction of the current file that is done


class ProgressView(Protocol):
    def file(self, name: str) -> FileProgress: ...

    def line(self, text: str) -> None: ...


class _Plain:
    def file(self, name: str) -> FileProgress:
        return lambda fraction: None

    def line(self, text: str) -> None:
        click.echo(text, err=True)


class _Rich:
    def __init__(self, bar: Any, total: int, verb: str) -> None:
        self._bar = bar
        self._task = bar.add_task(verb, total=total)
        self._files = 0

    def file(self, name: str) -> FileProgress:
        done = self._files
        self._files += 1
        self._bar.update(self._task, completed=done, description=os.path.basename(name)[-40:])
        return lambda fraction: self._bar.update(self._task, completed=done + fraction)

    def line(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def show_progress(total: int, verb: str) -> Iterator[ProgressView]:
    """A progress view for ``total`` files."""
    try:
        if not sys.stderr.isatty():
            raise ImportError
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield _Plain()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.1f}/{task.total:g}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Rich(bar, total, verb)
