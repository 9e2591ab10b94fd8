"""Latents and band energies of packets to codes, and back: search, energies, allocation."""

from .code_book import CodeBook
from .packet_coder import Coded, PacketCoder
from .search import DEFAULT_BEAM, MAX_BEAM, SearchTables, beam_search, nearest, search_tables

__all__ = [
    "DEFAULT_BEAM",
    "MAX_BEAM",
    "CodeBook",
    "Coded",
    "PacketCoder",
    "SearchTables",
    "beam_search",
    "nearest",
    "search_tables",
]
