"""Payloads: whole, cut at every byte, and read by an independent reader."""

import hashlib
import json
import random
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from helpers.code_tables import arrays, assert_beginning, n_codes, random_codes, random_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from minimal_decoder import PayloadReader

from eulerodec.bitstream.code_tables import TOTAL, CodeTables
from eulerodec.bitstream.payload import CodesEndError, PacketCodes, PayloadCoder
from eulerodec.errors import WeightsError

TABLES = random_tables()
CODER = PayloadCoder(TABLES)
PLAIN = PayloadReader({f.name: getattr(TABLES, f.name).tolist() for f in fields(TABLES)})
ALL = 1 << 20  # bytes that hold everything
GOLDEN = Path(__file__).parents[1] / "golden/payload.json"

shapes = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(0, 1 << 30))


def assert_read_alike(payload, n_channels, n_frames):
    found = CODER.decode(payload, n_channels, n_frames)
    plain = PLAIN.read(payload, n_channels, n_frames)
    for got, expected in zip(arrays(found), plain, strict=True):
        np.testing.assert_array_equal(got, np.array(expected).reshape(got.shape))
    return found


@given(shapes)
@settings(max_examples=15, deadline=None)
def test_a_whole_payload_gives_all_codes_back(shape):
    n_channels, n_frames, seed = shape
    codes = random_codes(seed, TABLES, n_channels, n_frames)
    found = CODER.decode(CODER.encode(codes, ALL), n_channels, n_frames)
    for given_, got in zip(arrays(codes), arrays(found), strict=True):
        np.testing.assert_array_equal(given_, got)


@pytest.mark.parametrize(("n_channels", "n_frames"), [(1, 1), (1, 8), (2, 5)])
def test_every_prefix_is_a_payload_of_a_lower_rate(n_channels, n_frames):
    codes = random_codes(n_frames, TABLES, n_channels, n_frames)
    whole, most = CODER.encode(codes, ALL), 0
    for n in range(len(whole) + 1):
        made = CODER.encode(codes, n)
        assert len(made) <= n and made == whole[: len(made)]
        found = CODER.decode(whole[:n], n_channels, n_frames)
        assert_beginning(found, codes)
        assert n_codes(found) == n_codes(CODER.decode(made, n_channels, n_frames)) >= most
        most = n_codes(found)
    assert most == n_codes(codes)


@given(shapes)
@settings(max_examples=8, deadline=None)
def test_the_package_reads_as_the_independent_reader_does(shape):
    n_channels, n_frames, seed = shape
    whole = CODER.encode(random_codes(seed, TABLES, n_channels, n_frames), ALL)
    junk = random.Random(seed).randbytes(60)
    for payload in (whole, whole[: len(whole) // 2], whole[:3], b"", junk):
        assert_read_alike(payload, n_channels, n_frames)


@given(st.binary(max_size=80), st.integers(1, 3), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_any_bytes_give_codes_in_range(payload, n_channels, n_frames):
    for array in arrays(CODER.decode(payload, n_channels, n_frames)):
        assert array.min(initial=0) >= -1 and array.max(initial=0) <= 255


def test_a_silent_channel_takes_its_level_alone():
    codes = random_codes(3, TABLES, 2, 8)
    codes.levels[1] = 0
    codes.energies[1] = codes.latents[1] = -1
    found = assert_read_alike(CODER.encode(codes, ALL), 2, 8)
    np.testing.assert_array_equal(found.latents, codes.latents)
    both = PacketCodes.empty(TABLES, 2, 8)
    both.levels[:] = 0
    payload = CODER.encode(both, ALL)
    assert len(payload) <= 3  # 8 bits each, and what tells that they are whole
    assert CODER.decode(payload, 2, 8).levels.tolist() == [0, 0]


def test_planes_come_one_after_the_other():
    """Where the bytes end, no later plane has begun, and louder frames are deeper."""
    codes = random_codes(5, TABLES, 1, 12)
    delays = CODER.layout(codes).delays[0]
    assert set(delays.tolist()) == {0, 1, 2, 3}
    planes = TABLES.latent_plane[:, delays]
    whole = CODER.encode(codes, ALL)
    for n in range(len(whole)):
        there = CODER.decode(whole[:n], 1, 12).latents[0] >= 0
        assert planes[there].max(initial=0) <= planes[~there].min(initial=255)


def test_a_softer_channel_waits():
    codes = random_codes(6, TABLES, 2, 8)
    codes.energies[1] = codes.energies[0]
    codes.levels[:] = 160, 160
    alike = CODER.layout(codes).delays
    np.testing.assert_array_equal(*alike)
    codes.levels[1] = 143  # 12.75 dB less
    softer = CODER.layout(codes).delays
    np.testing.assert_array_equal(softer[0], alike[0])
    assert (softer[1] >= alike[0]).all() and softer[1].sum() > alike[0].sum()


def test_loudness_agrees_with_its_formula():
    """In whole numbers to its step, 1/16 dB."""
    bands = np.random.default_rng(0).integers(-900, 300, (500, TABLES.n_bands))
    width = TABLES.band_width / TABLES.band_width.sum()
    exact = 160 / 0.75 * np.log10((10 ** (0.75 * bands / 160)) @ width)
    assert np.abs(TABLES.loudness(bands) - exact).max() <= 0.6


def test_codes_that_end_too_early_are_refused():
    codes = random_codes(1, TABLES, 1, 8)
    codes.latents[0, 1:] = -1
    assert CODER.encode(codes, 2)
    with pytest.raises(CodesEndError, match="end before"):
        CODER.encode(codes, ALL)


def test_golden_payload():
    """These bytes must be made and read for ever, whatever makes the range coder."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    codes = PacketCodes(*(np.array(golden[name]) for name in ("levels", "energies", "latents")))
    payload = bytes.fromhex(golden["payload"])
    assert hashlib.sha256(TABLES.digest()).hexdigest()[:16] == golden["tables_hash"]
    assert CODER.encode(codes, ALL) == payload
    assert_read_alike(payload, *codes.latents.shape[::2])
    assert_beginning(codes, CODER.decode(payload, *codes.latents.shape[::2]))


def test_tables_survive_as_arrays_and_damage_is_named():
    again = CodeTables.from_arrays(TABLES.arrays())
    assert again.digest() == TABLES.digest()
    wrong = TABLES.arrays() | {"latent_counts": TABLES.latent_counts.copy()}
    wrong["latent_counts"][0, 0, 0] ^= 1
    with pytest.raises(WeightsError, match=str(TOTAL)):
        CodeTables.from_arrays(wrong)
    del wrong["energy_mean"]
    with pytest.raises(WeightsError, match="tensors must be"):
        CodeTables.from_arrays(wrong)
