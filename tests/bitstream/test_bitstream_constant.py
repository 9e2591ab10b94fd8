"""The constant coding: rectangular codes of a fixed width, and fewer codebooks of them."""

import io

import numpy as np
import pytest
from helpers.streams import make_constant, make_info, read_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from minimal_decoder import constant_codes, decode

from eulerodec.bitstream import ConstantCoder, ConstantCodes, lower_rate, read
from eulerodec.bitstream.constant import pack_codes, packed_size, unpack_codes
from eulerodec.errors import BitstreamError, ConfigError


@given(
    values=st.lists(st.integers(0, 2**16 - 1), max_size=60),
    bits=st.integers(8, 16),
)
def test_packing_equals_one_big_binary_number(values, bits):
    values = [value % (1 << bits) for value in values]
    text = "".join(f"{value:0{bits}b}" for value in values)
    text += "0" * (-len(text) % 8)
    oracle = bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))
    packed = pack_codes(np.array(values, np.int64), bits)
    assert packed == oracle
    assert len(packed) == packed_size(len(values), bits)
    assert unpack_codes(packed, len(values), bits).tolist() == values


@pytest.mark.parametrize("bad", [-1, 2048, 2**40])
def test_a_code_that_does_not_fit_is_named(bad):
    with pytest.raises(BitstreamError, match=f"code {bad} does not fit in 11 bits"):
        pack_codes(np.array([0, bad, 1]), 11)


def test_codes_must_be_integers():
    with pytest.raises(BitstreamError, match="integers, not float64"):
        pack_codes(np.array([1.0]), 11)


@settings(max_examples=100, deadline=None)
@given(
    n_codebooks=st.integers(1, 12),
    n_channels=st.integers(1, 6),
    n_frames=st.integers(0, 40),
    frames_per_packet=st.integers(1, 12),
    bits=st.integers(8, 16),
    live=st.booleans(),
)
def test_round_trip(n_codebooks, n_channels, n_frames, frames_per_packet, bits, live):
    data, levels, codes = make_constant(
        n_frames,
        live=live,
        n_codebooks=n_codebooks,
        n_channels=n_channels,
        frames_per_packet=frames_per_packet,
        codebook_bits=bits,
    )
    head, packets = decode(data)
    assert constant_codes(head, packets) == (levels.tolist(), codes.tolist())
    got = read_codes(read(data))
    assert np.array_equal(got[0], levels) and np.array_equal(got[1], codes)
    few = 1 + n_frames % n_codebooks
    assert np.array_equal(read_codes(read(data), few)[1], codes[:, :few])
    assert constant_codes(head, packets, few)[1] == codes[:, :few].tolist()


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("keep", [1, 4, 5, 6])
@pytest.mark.parametrize("bits", [8, 11])
def test_a_lower_rate_keeps_the_first_codebooks(keep, live, bits):
    shape = {"n_channels": 2, "live": live, "extensions": ((5, b"kept"),), "codebook_bits": bits}
    data, levels, codes = make_constant(n_codebooks=6, **shape)
    sink = io.BytesIO()
    kbps = 24 * bits / 264 * keep
    info = lower_rate(io.BytesIO(data), sink, kbps + 0.05)
    by_number = io.BytesIO()
    assert lower_rate(io.BytesIO(data), by_number, n_codebooks=keep) == info
    assert by_number.getvalue() == sink.getvalue()
    lower = read(sink.getvalue())
    assert info == lower.info == read(data).info.replace(n_codebooks=keep)
    got = read_codes(lower)
    assert np.array_equal(got[0], levels) and np.array_equal(got[1], codes[:, :keep])
    assert constant_codes(*decode(sink.getvalue()))[1] == codes[:, :keep].tolist()


def test_exactly_the_rate_of_so_many_codebooks_is_enough():
    data, _, _ = make_constant(n_codebooks=12)
    sink = io.BytesIO()
    assert lower_rate(io.BytesIO(data), sink, 6).n_codebooks == 6
    assert lower_rate(io.BytesIO(data), sink, 5.99).n_codebooks == 5
    assert lower_rate(io.BytesIO(data), sink, 99).n_codebooks == 12
    with pytest.raises(ConfigError, match=r"0\.9 kbps is less than one codebook, 1 kbps"):
        lower_rate(io.BytesIO(data), sink, 0.9)


@pytest.mark.parametrize("n_codebooks", [0, 4, -1])
def test_codebooks_that_are_not_there(n_codebooks):
    info = make_info(n_codebooks=3)
    with pytest.raises(BitstreamError, match=f"has 3 codebooks, {n_codebooks} cannot"):
        ConstantCoder(info, n_codebooks)
    with pytest.raises(BitstreamError, match="planes"):
        ConstantCoder(make_info())


def test_shapes_and_levels_that_do_not_fit():
    coder = ConstantCoder(make_info(n_codebooks=3, n_channels=2))
    zeros = np.zeros((2, 3, 5), int)
    with pytest.raises(BitstreamError, match=r"shape \[2, 3, T\], not \[1, 3, 5\]"):
        coder.encode(ConstantCodes(np.zeros(2, int), zeros[:1]))
    for levels in ([0], [0, 256], [-1, 0]):
        with pytest.raises(BitstreamError, match="levels must be 2 whole numbers 0 to 255"):
            coder.encode(ConstantCodes(np.array(levels), zeros))
    with pytest.raises(BitstreamError, match="need 42 bytes, not 40"):
        coder.decode(bytes(42), 5)


def test_many_channels_get_shorter_packets():
    info = make_info(n_channels=255, n_codebooks=12, frames_per_packet=0)
    assert info.frames_per_packet == (65535 - 255) * 8 // (255 * 12 * 11)
    assert make_info(n_codebooks=12, frames_per_packet=0).frames_per_packet == 248
    data, _, codes = make_constant(40, n_channels=255, n_codebooks=12, frames_per_packet=0)
    assert np.array_equal(read_codes(read(data))[1], codes)


@pytest.mark.parametrize("stages", [6, 12])
def test_bytes_on_disk_are_close_to_the_rate_of_the_codes(stages):
    data, _, _ = make_constant(
        -(-60 * 24_000 // 264) + 1,
        n_codebooks=stages,
        frames_per_packet=0,
        input_sample_rate=44_100,
    )
    kbps = read(data).info.measured_kbps(len(data))
    assert stages <= kbps <= stages * 1.008
