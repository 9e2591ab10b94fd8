"""Latents and band energies of packets to codes, and back: search, energies, allocation.

Names load on first use: :mod:`.coding` and what it stands on need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .code_book import CodeBook
    from .coding import DEFAULT_BEAM, MAX_BEAM, Coding, Known
    from .packet_coder import Coded, PacketCoder
    from .search import SearchTables, beam_search, nearest, search_tables

_HOME = {
    "DEFAULT_BEAM": "coding",
    "MAX_BEAM": "coding",
    "CodeBook": "code_book",
    "Coded": "packet_coder",
    "Coding": "coding",
    "Known": "coding",
    "PacketCoder": "packet_coder",
    "SearchTables": "search",
    "beam_search": "search",
    "nearest": "search",
    "search_tables": "search",
}

__all__ = [
    "DEFAULT_BEAM",
    "MAX_BEAM",
    "CodeBook",
    "Coded",
    "Coding",
    "Known",
    "PacketCoder",
    "SearchTables",
    "beam_search",
    "nearest",
    "search_tables",
]


def __getattr__(name: str) -> Any:  # PEP 562
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
