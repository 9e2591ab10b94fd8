"""Residual vector quantisation of complex latents on their real view R^2D."""

from .rvq import QuantizerOutput, ResidualVQ, cluster_means, perplexity
from .search import DEFAULT_BEAM, MAX_BEAM, SearchTables, beam_search, nearest, search_tables

__all__ = [
    "DEFAULT_BEAM",
    "MAX_BEAM",
    "QuantizerOutput",
    "ResidualVQ",
    "SearchTables",
    "beam_search",
    "cluster_means",
    "nearest",
    "perplexity",
    "search_tables",
]
