"""Band energies of blocks: levels, the loop from block to block, what codes stand for."""

import numpy as np
import pytest
from helpers.code_tables import random_codes, random_tables

from eulerodec.bitstream.payload import PacketCodes, PayloadCoder
from eulerodec.quantize.energies import BlockEnergies, latent_gain

TABLES = random_tables()
ENERGIES = BlockEnergies(TABLES)
PAYLOAD = PayloadCoder(TABLES)


def talk(seed=0, n_channels=2, n_frames=9):
    """log10 energies [C, T, N] in steps of 1/32 from -1 to 1: exact in float32."""
    numbers = np.random.default_rng(seed).integers(-32, 33, (n_channels, n_frames, 3))
    return (numbers / 32).astype(np.float32)


def search(bands):
    codes = PacketCodes.empty(TABLES, len(bands), bands.shape[1])
    return codes, ENERGIES.search(bands, codes)


@pytest.mark.parametrize("tens", [3, 6])
def test_the_same_audio_softer_has_the_same_codes_at_another_level(tens):
    loud, _ = search(talk())
    soft, _ = search(talk() - np.float32(tens))
    # 30 and 60 dB are 40 and 80 steps
    np.testing.assert_array_equal(loud.levels - soft.levels, 10 * tens / 0.75)
    np.testing.assert_array_equal(loud.energies, soft.energies)


def test_40_db_softer_is_the_nearest_level():
    loud, soft = ENERGIES.levels(talk()), ENERGIES.levels(talk() - np.float32(4))
    assert np.abs(0.75 * (loud - soft) - 40).max() <= 0.75


def test_the_level_is_that_of_the_loudest_frame():
    bands = np.full((1, 6, 3), -5, np.float32)
    bands[0, 4] = 0
    assert ENERGIES.levels(bands).tolist() == [160]  # power 1 in every band
    assert ENERGIES.levels(bands + 1).tolist() == [160 + round(10 / 0.75)]
    assert ENERGIES.levels(bands - 12).tolist() == [0]  # digital silence


def test_the_decoder_stands_where_the_encoder_stood():
    """What the search leaves over is exactly what the decoder is still away from the energies."""
    bands = talk()
    codes, rest = search(bands)
    layout = PAYLOAD.layout(codes)
    left = rest.reshape(2, -1, TABLES.n_bands)[:, : bands.shape[1]]
    stands = layout.bands + 12 * (codes.levels - 160)[:, None, None]  # 1/16 dB
    # the floor, 70 dB below the level, lifts these energies by less than 0.01 dB
    np.testing.assert_allclose((stands + left) / 160, bands, atol=1e-3)
    decoded = ENERGIES.decode(codes, layout)
    calm = TABLES.loudness(layout.bands) <= 6
    assert calm.any() and not calm.all()
    np.testing.assert_allclose(decoded.bands[calm], stands[calm] / 160, atol=1e-6)
    assert (decoded.n_codes == TABLES.n_base).all()


def test_no_frame_is_louder_than_the_level():
    """Whatever the codes say; loudness by its formula: that of white noise of equal power of the
    compressed spectrum."""
    codes = random_codes(3, TABLES, 2, 9)
    layout = PAYLOAD.layout(codes)
    decoded = ENERGIES.decode(codes, layout)
    power = (10.0 ** (0.75 * decoded.bands.astype(float)) * TABLES.band_width).sum(-1)
    loudness = 10 / 0.75 * np.log10(power / TABLES.band_width.sum())
    level = 0.75 * (codes.levels - 160)
    over = loudness - level[:, None]
    assert over.max() == pytest.approx(0.375, abs=0.1)  # half a step of the level
    most = 10 ** (0.75 * (level + 0.375) / 20)
    assert (decoded.gain <= most[:, None] * 1.001).all()


def test_a_silent_channel_has_its_level_alone():
    bands = talk()
    bands[1] = -15
    codes, _ = search(bands)
    assert codes.levels[0] > 0 and codes.levels[1] == 0
    assert (codes.energies[1] == -1).all() and (codes.energies[0, : TABLES.n_base] >= 0).all()
    assert (ENERGIES.gain(codes, PAYLOAD.layout(codes))[1] == 0).all()


def test_refinement_goes_as_deep_as_each_block_wants():
    codes, rest = search(talk())
    depth = np.array([[0, 1, 2, 0, 1], [2, 2, 0, 1, 1]])
    ENERGIES.refine(rest, codes, depth)
    np.testing.assert_array_equal((codes.energies >= 0).sum(1), TABLES.n_base + depth)
    books = TABLES.energy_books[TABLES.n_base :].astype(float)
    for c, b in zip(*np.nonzero(depth), strict=True):
        left = rest[c, b].astype(float)
        for stage in range(depth[c, b]):
            distance = np.square(left - books[stage]).sum(1)
            code = codes.energies[c, TABLES.n_base + stage, b]
            assert distance[code] == pytest.approx(distance.min(), rel=1e-5)
            left = left - books[stage][code]
    known = ENERGIES.decode(codes, PAYLOAD.layout(codes)).n_codes
    np.testing.assert_array_equal(known, TABLES.n_base + depth.repeat(2, 1)[:, :9])


def test_gain_of_latents_is_that_of_the_compressed_spectrum():
    gain = latent_gain(np.array([[0, -320], [0, 0]]), np.array([160, 0]))
    # |X|^0.75: 20 dB less are 10^-0.75; silence has none
    np.testing.assert_allclose(gain, [[1, 10**-0.75], [0, 0]], rtol=1e-6)
