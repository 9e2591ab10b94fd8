"""The frozen distance formula, and greedy and beam search over residual codebooks.

Nearest code of x: argmin_c  |c|^2 - 2 <x, c>, in float32, first index on a tie. |x|^2 is the same
for every code and left out. Files depend on the codes only, never on this formula, but two
encoders agree only if they use the same one.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional as F

from ..nn import better_dilated

__all__ = ["DEFAULT_BEAM", "MAX_BEAM", "SearchTables", "beam_search", "nearest", "search_tables"]

#: Code vectors, transposed ``[K, D, size]``, and their squared lengths ``[K, size]``.
SearchTables = tuple[Tensor, Tensor]

# A few paths gain most of what many would (docs/experiments.md: four gain 0.5 dB, sixteen 0.7);
# three keep encoder and search within 1.2 GMAC per second of audio.
DEFAULT_BEAM = 3
MAX_BEAM = 64  # far more than pays


def nearest(x: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest code.

    Args:
        x: ``[N, D]`` float32.
        codebook: ``[size, D]`` float32.

    Returns:
        int64 ``[N]``.
    """
    norms = codebook.square().sum(-1)
    return torch.addmm(norms, x, codebook.t(), alpha=-2.0).argmin(-1)


def search_tables(codebooks: Tensor) -> SearchTables:
    """What :func:`beam_search` needs of codebooks ``[K, size, D]``."""
    return codebooks.transpose(1, 2).contiguous(), codebooks.square().sum(-1)


def beam_search(
    x: Tensor,
    codebooks: Tensor,
    beam: int,
    tables: SearchTables | None = None,
    restarts: Collection[int] = (),
) -> Tensor:
    """Multi-path residual search: keeps the ``beam`` best partial sums after every stage.

    The decoder needs no change; beam 1 is the greedy search. (Multi-path RVQ encoding, e.g.
    arXiv 2509.19186.)

    At a restart only the best path goes on, so the codes before do not depend on the stages after;
    from there on one path less is kept, if there is more than one, for later stages gain less.

    Args:
        x: ``[N, D]`` float32.
        codebooks: ``[K, size, D]``.
        beam: paths kept per vector.
        tables: :func:`search_tables` of these codebooks or more stages, computed if absent.
        restarts: stages that start from the best path alone.

    Returns:
        codes int64 ``[N, K]`` minimising |x - sum of codes|^2 among the paths followed.
    """
    n = len(x)
    residual = x  # [N * b, D], the paths of a vector side by side
    error = x.new_zeros(n, 1)  # |residual|^2 - |x|^2
    first = torch.arange(n, device=x.device)[:, None]
    steps: list[tuple[Tensor, Tensor]] = []  # rows of the parents, codes [N, b]
    if tables is None:
        tables = search_tables(codebooks)
    for k, (codebook, transposed, norms) in enumerate(zip(codebooks, *tables, strict=False)):
        if k in restarts:
            best = _best(residual, n)
            parent, index = steps[-1]
            steps[-1] = parent.flatten()[best, None], index.flatten()[best, None]
            residual, error = residual[best], x.new_zeros(n, 1)
            beam = max(beam - 1, 1)
        width = error.shape[1]
        cost = _costs(residual, transposed, norms)
        if beam == 1:
            parent, index = first, cost.argmin(-1)[:, None]
        else:
            # the best `beam` children of each parent contain the best `beam` of all
            value, child = _smallest(cost, min(beam, cost.shape[1]))
            value = (value.view(n, width, -1) + error[:, :, None]).flatten(1)
            error, pick = value.topk(min(beam, value.shape[1]), largest=False)
            parent = first * width + pick // child.shape[-1]
            index = child.view(n, -1).gather(1, pick)
            residual = residual.index_select(0, parent.flatten())
        residual = residual - codebook.index_select(0, index.flatten())
        steps.append((parent, index))
    row, codes = _best(residual, n), []
    for parent, index in reversed(steps):
        codes.append(index.flatten()[row])
        row = parent.flatten()[row]
    return torch.stack(codes[::-1], -1)


def _best(residual: Tensor, n: int) -> Tensor:
    """Row of the best path of each of ``n`` vectors."""
    error = residual.square().sum(-1).view(n, -1)
    return torch.arange(n, device=error.device) * error.shape[1] + error.argmin(-1)


def _costs(x: Tensor, transposed: Tensor, norms: Tensor) -> Tensor:
    """|c|^2 - 2 <x, c> of vectors ``[N, D]`` and codes, ``[N, size]``."""
    if len(x) >= _ONEDNN_ROWS and better_dilated(transposed):
        # as a convolution: up to twice as fast as addmm
        product = F.conv1d(transposed[None], (-2.0 * x)[:, :, None], dilation=2)
        return product[0].add_(norms)
    return torch.addmm(norms, x, transposed, alpha=-2.0)


def _smallest(cost: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` smallest of each row ``[N, size]`` and their places, as topk gives them.

    They lie in columns (of a row folded into several) with the smallest minima: three times as
    fast as topk for rows of 2048.
    """
    n, size = cost.shape
    if size % _COLUMNS or count > _COLUMNS:
        return cost.topk(count, largest=False, sorted=False)
    folded = cost.view(n, -1, _COLUMNS)
    column = folded.amin(1).topk(count, largest=False, sorted=False).indices
    found = folded.gather(2, column[:, None].expand(-1, size // _COLUMNS, -1)).flatten(1)
    value, place = found.topk(count, largest=False, sorted=False)
    return value, place // count * _COLUMNS + column.gather(1, place % count)


_ONEDNN_ROWS = 32  # of fewer, addmm is faster
_COLUMNS = 256
