"""The frozen distance formula, and greedy and beam search over residual codebooks.

Nearest code of x: argmin_c  |c|^2 - 2 <x, c>, in float32, first index on a tie.  |x|^2 is the same
for every code and left out.  Files depend on the codes only, never on this formula, but two
encoders agree only if they use the same one.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["DEFAULT_BEAM", "beam_search", "nearest"]

# A few paths gain most of what many would (docs/experiments.md: four gain 0.5 dB, sixteen 0.7);
# three keep encoder and search within 1.2 GMAC per second of audio.
DEFAULT_BEAM = 3


def nearest(x: Tensor, codebook: Tensor, norms: Tensor | None = None) -> Tensor:
    """Index of the nearest code.

    Args:
        x: ``[N, D]`` float32.
        codebook: ``[size, D]`` float32.
        norms: |c|^2 ``[size]``, computed if absent.
    Returns:
        int64 ``[N]``.
    """
    if norms is None:
        norms = codebook.square().sum(-1)
    return torch.addmm(norms, x, codebook.t(), alpha=-2.0).argmin(-1)


def beam_search(x: Tensor, codebooks: Tensor, beam: int, norms: Tensor | None = None) -> Tensor:
    """Multi-path residual search: keeps the ``beam`` best partial sums after every stage.

    The decoder needs no change; beam 1 is the greedy search.  (Multi-path RVQ encoding, e.g.
    arXiv 2509.19186.)

    Args:
        x: ``[N, D]`` float32.
        codebooks: ``[K, size, D]``.
        beam: paths kept per vector.
        norms: |c|^2 ``[K or more, size]``, computed if absent.
    Returns:
        codes int64 ``[N, K]`` minimising |x - sum of codes|^2 among the paths followed.
    """
    n, dim = x.shape
    size = codebooks.shape[1]
    residual = x[:, None]  # [N, b, D]
    error = x.new_zeros(n, 1)  # |residual|^2 - |x|^2
    paths = torch.zeros(n, 1, 0, dtype=torch.int64, device=x.device)
    if norms is None:
        norms = codebooks.square().sum(-1)
    for codebook, norm in zip(codebooks, norms, strict=False):
        width = residual.shape[1]
        cost = torch.addmm(norm, residual.reshape(-1, dim), codebook.t(), alpha=-2.0)
        if beam == 1:
            index = cost.argmin(-1)[:, None]
        else:
            # the best `beam` children of each parent contain the best `beam` of all
            value, child = cost.topk(min(beam, size), largest=False, sorted=False)
            value = (value.view(n, width, -1) + error[:, :, None]).flatten(1)
            error, pick = value.topk(min(beam, value.shape[1]), largest=False)
            parent = pick // child.shape[-1]
            index = child.view(n, -1).gather(1, pick)
            residual = residual.gather(1, parent[:, :, None].expand(-1, -1, dim))
            paths = paths.gather(1, parent[:, :, None].expand(-1, -1, paths.shape[-1]))
        residual = residual - codebook[index]
        paths = torch.cat([paths, index[:, :, None]], -1)
    best = residual.square().sum(-1).argmin(-1)
    return paths[torch.arange(n, device=x.device), best]
