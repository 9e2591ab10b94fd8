"""The table of code vectors against what the decoder is given."""

import numpy as np
import pytest
import torch

from eulerodec.bitstream import ConstantCodes
from eulerodec.errors import ConfigError
from eulerodec.tokens import code_vectors

K, D, V, F = 8, 264, 120, 4  # rows; latents, energies of a block, frames of a block
ENERGY_ROWS = (0, 6)


@pytest.fixture
def codes(codec):
    size = codec.info.codebook_size
    return np.random.default_rng(0).integers(0, size, (1, K, 8))


def coded(codec, codes):
    return codec.model.coder.decode_constant(ConstantCodes(np.array([150]), codes))


def test_latents_of_a_frame_are_the_sum_of_its_vectors(codec, codes):
    """But for the gain, which depends on the energies."""
    table = code_vectors(codec, K)
    assert table.shape == (K, codec.info.codebook_size, D + F * V)
    z = coded(codec, codes).z[0]
    for t in range(codes.shape[2]):
        total = sum(table[k, codes[0, k, t], :D] for k in range(K))
        similar = torch.cosine_similarity(total, z[:, t], dim=0)
        assert similar > 1 - 1e-5
    for row in range(K):
        latent = bool(table[row, :, :D].any())
        assert latent == (row not in ENERGY_ROWS) == (not table[row, :, D:].any())


@pytest.mark.parametrize(("row", "frame"), [(0, 2), (0, 7), (6, 0), (6, 5)])
def test_another_energy_code_moves_the_energies_of_its_block_by_the_difference(
    codec, codes, row, frame
):
    """In frames that are not limited by the level, where all bands move alike."""
    table = code_vectors(codec, K)[row]
    j, block = frame % F, frame // F
    other = codes.copy()
    other[0, row, frame] = (codes[0, row, frame] + 1) % codec.info.codebook_size
    moved = coded(codec, other).bands[0] - coded(codec, codes).bands[0]  # [N, T]
    part = table[:, D + j * V : D + (j + 1) * V]
    want = part[other[0, row, frame]] - part[codes[0, row, frame]]
    want = want.view(F, V // F).T
    inside = slice(block * F, (block + 1) * F)
    shape = moved[:, inside] - moved[:, inside].mean(0)
    assert torch.allclose(shape, want - want.mean(0), atol=2e-3) and shape.abs().max() > 0.01
    moved[:, inside] = 0
    assert not moved.any()


def test_too_many_codebooks_are_refused(codec):
    with pytest.raises(ConfigError, match="n_codebooks"):
        code_vectors(codec, 99)
