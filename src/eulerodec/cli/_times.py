"""Times on the command line."""

from __future__ import annotations

import re
from fractions import Fraction

import click

__all__ = ["Seconds"]


class Seconds(click.ParamType):
    """``90``, ``1:30`` or ``0:01:30.25`` as exact seconds."""

    name = "time"

    def convert(
        self, value: str | Fraction, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        if isinstance(value, Fraction):
            return value
        found = re.fullmatch(r"(?:(?:(\d{1,9}):)?(\d{1,9}):)?(\d{1,9}(?:\.\d{0,99})?)", value)
        if not found:
            self.fail(f"{value!r} is no time: use seconds (90.5) or H:MM:SS (0:01:30.5)")
        hours, minutes, seconds = (Fraction(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + seconds
