"""The codec: audio at any rate to codes, bytes and files, and back.

``Codec`` is what a user meets (:mod:`.api`). Names load on first use, so finding weights
(:mod:`.weights`) does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Codec
    from .encoded import Encoded
    from .files import FileReport
    from .info import CodecInfo

__all__ = ["Codec", "CodecInfo", "Encoded", "FileReport"]

_HOME = {"Codec": "api", "CodecInfo": "info", "Encoded": "encoded", "FileReport": "files"}


def __getattr__(name: str) -> Any:  # PEP 562
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
