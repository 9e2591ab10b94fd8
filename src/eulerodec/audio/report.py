"""What is wrong with an input: told as a warning, or refused."""

from __future__ import annotations

import warnings

from ..errors import AudioError, AudioWarning

__all__ = ["Report"]


class Report:
    """Collects what a reader finds wrong with its input.

    Attributes:
        name: What messages call the input.
        recover: Read what is there of a damaged input.
        warnings: Every warning that was given, one line each, with the name.
    """

    def __init__(self, name: str, recover: bool) -> None:
        self.name, self.recover = name, recover
        self.warnings: list[str] = []

    def note(self, text: str, *, recoverable: bool = False) -> None:
        """Warn, once for each text: everything there is has been read all the same.

        Args:
            text: What is wrong.
            recoverable: More can be had with ``recover``.
        """
        line = f"{self.name}: {text}"
        if line not in self.warnings:
            self.warnings.append(line)
            warnings.warn(AudioWarning(line, recoverable=recoverable), stacklevel=2)

    def missing(self, text: str) -> None:
        """Part of the recording is missing: a warning if that was asked for, else an error.

        Raises:
            AudioError: without ``recover``.
        """
        if not self.recover:
            raise AudioError(f"{self.name}: {text}", recoverable=True)
        self.note(text)
