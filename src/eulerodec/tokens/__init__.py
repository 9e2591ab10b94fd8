"""Codes as tokens for language models: vocabularies, patterns, and tables to start from.

``codec.encode(wav, rate, n_codebooks=K).codes`` are codes ``[C, K, T]``; everything here takes
such codes of a batch, ``[B, K, T]``. See ``docs/tokens.md``. Names load on first use, so reading
shards does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .patterns import (
        from_delayed,
        from_flat,
        from_parallel,
        to_delayed,
        to_flat,
        to_parallel,
    )
    from .vectors import code_vectors
    from .vocabulary import Vocabulary

__all__ = [
    "Vocabulary",
    "code_vectors",
    "from_delayed",
    "from_flat",
    "from_parallel",
    "to_delayed",
    "to_flat",
    "to_parallel",
]

_HOME = {
    "Vocabulary": "vocabulary",
    "code_vectors": "vectors",
    "from_delayed": "patterns",
    "from_flat": "patterns",
    "from_parallel": "patterns",
    "to_delayed": "patterns",
    "to_flat": "patterns",
    "to_parallel": "patterns",
}


def __getattr__(name: str) -> Any:  # PEP 562
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
