"""How deep to search for a number of bytes."""

import numpy as np
import pytest
from helpers.code_tables import random_codes, random_tables

from eulerodec.bitstream.code_tables import TOTAL
from eulerodec.bitstream.payload import PayloadCoder
from eulerodec.quantize.allocation import SPARE, Allocation

TABLES = random_tables()
CODER = PayloadCoder(TABLES)


def entropy(counts):
    p = (counts.astype(float) + 1) / TOTAL
    return -(p * np.log2(p)).sum()


def bits_of(depths, layout):
    """Mean bits of each code within the depths, by a loop."""
    found = []
    n_base = TABLES.n_base
    for c, blocks in enumerate(depths.energies):
        found.append(8.0)
        for depth in blocks:
            for stage in range(n_base + depth):
                found.append(np.mean([entropy(x) for x in TABLES.energy_counts[stage]]))
        for t, depth in enumerate(depths.latents[c]):
            classes = layout.classes[c, t]
            found += [entropy(TABLES.latent_counts[k, classes]) for k in range(depth)]
    return found


@pytest.mark.parametrize("n_bytes", [0, 10, 25, 40, 60])
def test_depths_reach_a_little_further_than_the_bytes(n_bytes):
    codes = random_codes(2, TABLES, 2, 8)
    layout = CODER.layout(codes)
    depths = Allocation(TABLES).depths(layout, 4, n_bytes)
    bits = bits_of(depths, layout)
    wanted = 8 * n_bytes * SPARE + 160
    base = bits_of(type(depths)(0 * depths.latents, 0 * depths.energies, False), layout)
    assert not depths.complete
    # up to the code that goes beyond, or only the base, which is always there
    assert sum(bits) >= wanted and (sum(bits) - max(bits) < wanted or len(bits) == len(base))


@pytest.mark.parametrize("seed", range(6))
def test_codes_to_these_depths_fill_the_bytes(seed):
    """Codes that cost what codes cost, or more: the encoder never asks for deeper ones."""
    codes = random_codes(seed, TABLES, 2, 8)
    layout = CODER.layout(codes)
    for n_bytes in range(0, 70, 7):
        depths = Allocation(TABLES).depths(layout, 4, n_bytes)
        part = random_codes(seed, TABLES, 2, 8)
        part.latents[np.arange(5)[None, :, None] >= depths.latents[:, None]] = -1
        part.energies[:, 2:][np.arange(2)[None, :, None] >= depths.energies[:, None]] = -1
        assert CODER.encode(part, n_bytes) == CODER.encode(codes, n_bytes)


def test_all_codes_if_they_fit():
    layout = CODER.layout(random_codes(1, TABLES, 1, 5))
    depths = Allocation(TABLES).depths(layout, 3, 10_000)
    assert depths.complete
    assert (depths.latents == TABLES.n_latents).all()
    assert (depths.energies == TABLES.n_energies - TABLES.n_base).all()


def test_a_silent_channel_is_not_searched():
    codes = random_codes(1, TABLES, 2, 6)
    codes.levels[1] = 0
    depths = Allocation(TABLES).depths(CODER.layout(codes), 3, 10_000)
    assert depths.latents[1].sum() == depths.energies[1].sum() == 0 < depths.latents[0].min()
