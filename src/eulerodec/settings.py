"""Arguments and settings, checked: numbers in a range, and dataclasses from JSON or TOML tables.

An error names the argument or setting, its value, and what is allowed.
"""

from __future__ import annotations

import difflib
import operator
import types
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import ConfigError

__all__ = ["build", "nearest", "whole"]

T = TypeVar("T")


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number, numpy's and torch's included, as a plain int.

    Args:
        name: of the argument, for the message.
        value: what was given.
        low, high: the smallest and the largest value that is allowed.

    Raises:
        ConfigError: for anything else; True and False are no numbers.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if isinstance(value, bool) or number is None or not low <= number <= high:
        raise ConfigError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return number


def build(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """A dataclass from a table of its fields; lists become tuples where the field is one.

    Args:
        kind: a dataclass whose fields are numbers, text, lists, tuples and dictionaries of such.
        values: field names and values.
        where: what the error message starts with, such as the file.

    Raises:
        ConfigError: an unknown name (the message has the nearest known one), a value of another
            type, or whatever ``kind`` itself refuses.
    """
    start = f"{where}: " if where else ""
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in names:
            raise ConfigError(f"{start}unknown setting {key!r:.60}; {nearest(key, names)}")
        hint = hints[key]
        if not _fits(value, hint):
            want = getattr(hint, "__name__", str(hint)) if get_origin(hint) is None else str(hint)
            raise ConfigError(f"{start}{key} = {value!r:.40} must be of type {want}")
        checked[key] = tuple(value) if get_origin(hint) is tuple else value
    try:
        return kind(**checked)
    except ConfigError as error:
        raise ConfigError(f"{start}{error}") from None


def nearest(key: str, known: Iterable[str]) -> str:
    """The way out for an unknown name: the nearest known one, or all of them."""
    known = sorted(known)
    match = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(known)}"


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, a) for a in args)
    if origin is list:
        return isinstance(value, list) and all(_fits(v, args[0]) for v in value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        if args[-1] is ...:
            return all(_fits(v, args[0]) for v in value)
        return len(value) == len(args) and all(map(_fits, value, args))
    if origin is dict:
        return isinstance(value, dict) and all(_fits(v, args[1]) for v in value.values())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    return True
