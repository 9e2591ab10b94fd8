"""Residual vector quantisation of complex latents on their real view R^2D."""

from .rvq import QuantizerOutput, ResidualVQ, cluster_means, perplexity
from .search import DEFAULT_BEAM, beam_search, nearest

__all__ = [
    "DEFAULT_BEAM",
    "QuantizerOutput",
    "ResidualVQ",
    "beam_search",
    "cluster_means",
    "nearest",
    "perplexity",
]
