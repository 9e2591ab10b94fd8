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

_PATTERN = re.compile(
    r"(?:(?P<label>[^=:/]+)=)?(?P<kind>.+?):(?P<kbps>\d+(?:\.\d+)?)(?::(?P<options>[\w=,]+))?"
)


def parse(text: str) -> Spec:
    """``[label=]kind:kbps[:option,...]`` as a :class:`Spec`, or the word ``reference``.

    With a label the name is ``label:kbps[:option,...]``. Errors: :class:`ConfigError`.
    """
    if text == "reference":
        return Spec(text, text, 384.0, {})
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"system {text!r} is not of the form KIND:KBPS, such as eulerodec:6 or"
            f" path/to/weights:12; kinds: {', '.join(KINDS)}, or a directory of weights"
        )
    words = [word for word in (match["options"] or "").split(",") if word]
    options = {key: value for key, _, value in (word.partition("=") for word in words)}
    name = text if match["label"] is None else text[match.end("label") + 1 :]
    if match["label"] is not None:
        name = match["label"] + name[len(match["kind"]) :]
    return Spec(name, match["kind"], float(match["kbps"]), options)


def parse_list(text: str) -> list[Spec]:
    """Systems separated by commas. A comma within options belongs to them.

    Errors: :class:`ConfigError` for one that is wrong or named twice.
    """
    parts: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        # `opus:12:cbr,speech`: a part without a colon continues the options before it
        if ":" not in part and part != "reference" and parts and parts[-1].count(":") > 1:
            parts[-1] += "," + part
        else:
            parts.append(part)
    specs = [parse(part) for part in parts]
    names = [spec.text for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{name} is given twice; label one: other={name}")
    if not specs:
        raise ConfigError("no systems were given")
    return specs


def build(spec: Spec, *, lyra_models: Path | None = None) -> System:
    """The system of a spec.

    Errors: :class:`Absent` for a peer that is not installed, :class:`ConfigError` for a rate or
    option that it does not have, :class:`WeightsError` for weights that are not there.
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
