"""Tables fitted to a little synthetic audio do what tables are for."""

import numpy as np
import pytest

from eulerodec.bitstream.code_tables import TOTAL
from eulerodec.bitstream.payload import PacketCodes, PayloadCoder
from eulerodec.quantize.energies import BlockEnergies
from eulerodec.train.tables import (
    PlaneRule,
    count_codes,
    first_tables,
    fit_classes,
    fit_energies,
    kmeans,
    nearest,
)

RULE = PlaneRule(slope=0.2, max_delay=3, energy_planes=(2, 4), n_latents=3)
N_BANDS, BLOCK = 3, 2
WIDTH = np.array([1.0, 2.0, 4.0], np.float32)


def packets(n=40, n_frames=16, seed=0):
    """dB against the level, [n, T, N]: a spectrum that goes up and down slowly."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((n, n_frames, 1)) * 4 + rng.standard_normal((n, n_frames, N_BANDS))
    walk = steps.cumsum(1)
    walk -= walk.max((1, 2), keepdims=True) + np.array([0.0, 6.0, 12.0])
    return walk.astype(np.float32)


@pytest.fixture(scope="module")
def fit():
    blocks = packets().reshape(40, -1, BLOCK * N_BANDS)
    weight = np.ones(BLOCK * N_BANDS, np.float32)
    return fit_energies(blocks, weight, 256, n_base=2, n_more=2, turns=1)


@pytest.fixture(scope="module")
def tables(fit):
    return first_tables(fit, WIDTH, RULE, n_classes=4, n_contexts=3)


def searched(tables, n_more=2):
    """Codes of all packets, latents drawn so that code and class go together, and errors in dB."""
    energies, coder, rng = BlockEnergies(tables), PayloadCoder(tables), np.random.default_rng(1)
    found, errors = [], []
    for bands in packets():
        codes = PacketCodes.empty(tables, 1, len(bands))
        rest = energies.search(bands[None] / 10, codes)
        energies.refine(rest, codes, np.full((1, len(bands) // BLOCK), n_more))
        decoded = energies.decode(codes, coder.layout(codes)).bands[0]
        errors.append(np.square(10 * decoded - bands).mean())
        codes.latents[:] = rng.integers(0, 20, codes.latents.shape)
        found.append(codes)
    return found, float(np.mean(errors))


def test_kmeans_finds_the_means_of_clusters():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 0], [0, 10]], np.float32)
    x = np.concatenate([c + 0.1 * rng.standard_normal((50, 2)) for c in centres])
    x = x.astype(np.float32)
    book = kmeans(x, 3)
    means = [x[k : k + 50].mean(0) for k in (0, 50, 100)]
    np.testing.assert_allclose(book[nearest(np.array(means, np.float32), book)], means, atol=1e-4)
    heavy = np.r_[np.full(50, 9.0), np.ones(50)].astype(np.float32)
    one = kmeans(x[:100], 1, heavy)
    np.testing.assert_allclose(one[0], np.average(x[:100], 0, heavy), atol=1e-3)


def test_every_stage_lowers_the_error(tables):
    errors = [searched(tables, n_more)[1] for n_more in (0, 1, 2)]
    assert errors == sorted(errors, reverse=True) and errors[2] < 0.75 * errors[0]
    spread = np.square(packets() - packets().mean((0, 1))).mean()
    assert errors[0] < 0.1 * spread


def test_fitted_frequencies_make_payloads_smaller(tables):
    found, _ = searched(tables)
    fitted = fit_classes(tables, found)
    layouts = [PayloadCoder(fitted).layout(codes) for codes in found]
    assert len(np.unique([layout.classes for layout in layouts])) > 1
    counted = count_codes(fitted, found)
    for counts in (counted.latent_counts, counted.energy_counts):
        assert (counts.astype(int).sum(-1) + counts.shape[-1] == TOTAL).all()
    # codes 0 to 19 are all there is: they have nearly all the frequency
    assert (counted.latent_counts[..., :20].astype(int).sum(-1) > 0.8 * TOTAL).all()
    before, after = PayloadCoder(fitted), PayloadCoder(counted)
    for codes in found[:3]:
        small = after.encode(codes, 1000)
        assert len(small) < 0.85 * len(before.encode(codes, 1000))
        decoded = after.decode(small, 1, codes.latents.shape[2])
        np.testing.assert_array_equal(decoded.latents, codes.latents)
        np.testing.assert_array_equal(decoded.energies, codes.energies)


def test_the_order_follows_the_rule(tables):
    assert tables.latent_plane.tolist() == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]
    assert tables.energy_plane.tolist() == [[2, 2, 3, 3], [4, 4, 5, 5]]
    # 0.2 planes a dB: whole planes at 5, 10 and 15 dB
    loudness = 16 * np.array([3, 0, -4.9, -5.1, -9.9, -10.1, -15.1, -60])
    assert tables.delays(loudness.astype(int)).tolist() == [0, 0, 0, 1, 1, 2, 3, 3]
