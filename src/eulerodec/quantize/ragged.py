"""Residual search where every vector has a depth of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from ..bitstream.code_tables import ABSENT
from .search import DEFAULT_BEAM, SearchTables, beam_search, search_tables

__all__ = ["ragged_decode", "ragged_search"]

_PART = 1536  # paths at once: their table of distances stays in a processor's cache


@torch.no_grad()
def ragged_search(
    x: Tensor,
    codebooks: Tensor,
    depth: Tensor,
    beam: int = DEFAULT_BEAM,
    tables: SearchTables | None = None,
) -> Tensor:
    """Codes of vectors, each as many stages deep as it wants.

    Args:
        x: ``[N, D]`` float32.
        codebooks: ``[K, size, D]``.
        depth: int ``[N]``, 0 to K.
        beam: paths kept per vector.
        tables: of these codebooks, computed if absent.

    Returns:
        int64 ``[N, K]``, -1 from a vector's depth on.
    """
    tables = search_tables(codebooks) if tables is None else tables
    codes = torch.full((len(x), len(codebooks)), ABSENT, dtype=torch.int64, device=x.device)
    for deep in depth.unique().tolist():
        if deep == 0:
            continue
        rows = (depth == deep).nonzero()[:, 0]
        for part in rows.split(max(1, _PART // beam)):
            codes[part, :deep] = beam_search(x[part], codebooks[:deep], beam, tables)
    return codes


def ragged_decode(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Sums of code vectors ``[N, D]`` of codes ``[N, K]``; -1 adds nothing."""
    out = codebooks.new_zeros(len(codes), codebooks.shape[-1])
    for book, index in zip(codebooks, codes.unbind(1), strict=True):
        rows = (index >= 0).nonzero()[:, 0]
        if len(rows):
            out.index_add_(0, rows, book[index[rows]])
    return out
