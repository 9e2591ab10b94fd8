"""What codes stand for, as vectors: a table to start the embeddings of a language model from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..settings import whole

if TYPE_CHECKING:
    from ..codec import Codec

__all__ = ["code_vectors"]


def code_vectors(codec: Codec, n_codebooks: int) -> Tensor:
    """The vector of every code of the constant coding.

    A row of latents has the vector that a code adds to the latents of its frame, at unit power. A
    row of energies holds, in frame t of a packet, code j = t mod F of a block of F frames, so an id
    means another vector for each j: all F of them stand one after the other. A vector has the
    latents first, then the energies of j = 0, ..., F - 1 as log10 of power; what a row has not is
    zero.

    Args:
        codec: with the codes.
        n_codebooks: K, rows of the constant coding.

    Returns:
        float32 ``[K, S, D]``, on the CPU.

    Raises:
        ConfigError: so many codebooks cannot be had.
    """
    coder = codec.model.coder
    rows = whole("n_codebooks", n_codebooks, 1, coder.max_codebooks)
    energy_rows, latent_rows = coder.constant_rows(rows)
    latents = coder.codebooks.detach().cpu()
    books = torch.from_numpy(coder.tables.energy_books.astype("float32")) / 160
    size = coder.tables.block_frames
    width, n_energies = latents.shape[2], books.shape[2]
    table = torch.zeros(rows, latents.shape[1], width + size * n_energies)
    for stage, row in enumerate(latent_rows):
        table[row, :, :width] = latents[stage]
    for k, row in enumerate(energy_rows):
        of_block = books[k * size : (k + 1) * size]  # [F, S, V]
        table[row, :, width:] = of_block.transpose(0, 1).flatten(1)
    return table
