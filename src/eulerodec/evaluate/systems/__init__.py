"""The systems under test, by the names that the command line takes.

To add one: a class with :class:`~.base.System`'s interface, and a line in :func:`build`.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import ConfigError, WeightsError
from .base import Absent, Coded, Spec, System
from .eulerodec import EuleroDecSystem
from .lyra import Lyra
from .opus import Opus
from .reference import Reference
from .speech import AmrWb, Codec2

__all__ = ["Absent", "Coded", "Spec", "System", "build", "parse", "parse_list"]

PEERS: dict[str, type[System]] = {"opus": Opus, "codec2": Codec2, "amrwb": AmrWb}
KINDS = ("eulerodec", "reference", *PEERS, "lyra")
_RATE = re.compile(r"\d+(\.\d+)?")


def parse(text: str) -> Spec:
    """A system as a user names it, ``[label=]kind:kbps[:option...]``, or the word ``reference``.

    With a label the name of the system is ``label:kbps[:option...]``.

    Raises:
        ConfigError: it is not of this form.
    """
    if text == "reference":
        return Spec(text, text, 384.0, {})
    words = text.split(":")
    rates = [i for i, word in enumerate(words) if i and _RATE.fullmatch(word)]
    kind = ":".join(words[: rates[0]]) if rates else ""
    label, equals, rest = kind.partition("=")
    if equals and "/" not in label:
        kind = rest
    else:
        label = kind
    if not (kind and label):
        raise ConfigError(
            f"system {text!r} is not of the form KIND:KBPS, such as eulerodec:6 or"
            f" path/to/weights:12; kinds: {', '.join(KINDS)}, or a directory of weights"
        )
    rate, *options = words[rates[0] :]
    pairs = (option.partition("=") for option in options)
    name = ":".join((label, rate, *options))
    return Spec(name, kind, float(rate), {key: value for key, _, value in pairs})


def parse_list(text: str) -> list[Spec]:
    """Systems separated by commas.

    Raises:
        ConfigError: one is wrong or named twice.
    """
    specs = [parse(part.strip()) for part in text.split(",") if part.strip()]
    names = [spec.text for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{name} is given twice; label one: other={name}")
    if not specs:
        raise ConfigError("no systems were given")
    return specs


def build(spec: Spec, *, lyra_models: Path | None = None) -> System:
    """The system of a spec.

    Raises:
        Absent: a peer that is not installed.
        ConfigError: a rate or option that it does not have.
        WeightsError: weights that are not there.
    """
    if spec.kind == "reference":
        return Reference(spec)
    if spec.kind == "lyra":
        return Lyra(spec, lyra_models)
    if spec.kind in PEERS:
        return PEERS[spec.kind](spec)
    try:
        return EuleroDecSystem(spec)
    except WeightsError as error:
        if spec.kind == "eulerodec" or Path(spec.kind).is_dir():
            raise
        known = ", ".join(KINDS)
        raise ConfigError(
            f"{spec.text}: {spec.kind!r} is no directory of weights and none of {known}"
        ) from error
