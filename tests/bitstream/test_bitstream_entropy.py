"""Entropy coded files: exact, each packet on its own, never larger, and safe."""

import io
import math

import numpy as np
import pytest
from bitstream_samples import make_codes, make_info, packet_offsets, raw_packet, with_header_bytes
from entropy_samples import expected_codes, make_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from minimal_decoder import decode

from eulerodec.bitstream import (
    LOST,
    EntropyTables,
    EulReader,
    add_tables,
    concat_files,
    cut_file,
    drop_stages,
    dumps,
    load_tables,
    loads,
    read,
    tables,
)
from eulerodec.bitstream.entropy import decode_packet, encode_packet
from eulerodec.bitstream.rangecoder import RangeDecoder, RangeEncoder
from eulerodec.errors import BitstreamError, WeightsError

TABLES = make_tables()
add_tables(TABLES)


def coded_info(**changes):
    fields = {"codebook_bits": 8, "frames_per_packet": 70, "entropy_tables": TABLES.hash}
    return make_info(**fields | changes)


def coded_stream(n_frames=200, **changes):
    info = coded_info(**changes)
    codes = expected_codes(TABLES, info.n_channels, info.n_codebooks, n_frames)
    return dumps(info, codes), codes


def kinds(data):
    return [data[at + 1] for at in packet_offsets(data)]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_range_coder_gives_back_what_it_got(data):
    """And needs at most 15 bits more than the symbols' information."""
    edges = data.draw(st.sets(st.integers(1, 65535), max_size=40))
    starts = [0, *sorted(edges), 65536]
    symbols = data.draw(st.lists(st.integers(0, len(starts) - 2), max_size=200))
    coder = RangeEncoder()
    for symbol in symbols:
        coder.put(starts[symbol], starts[symbol + 1])
    payload = coder.finish()
    information = sum(16 - math.log2(starts[s + 1] - starts[s]) for s in symbols)
    assert 8 * len(payload) <= information + 15
    decoder = RangeDecoder(payload)
    assert [decoder.get(starts) for _ in symbols] == symbols


def test_carries_go_through_many_bytes():
    """The last of two symbols again and again: all bytes so far are 255 and may still change."""
    starts = [0, 1, 65536]
    for tail in ([0], [1]):
        symbols = [1] * 200_000 + tail
        coder = RangeEncoder()
        for symbol in symbols:
            coder.put(starts[symbol], starts[symbol + 1])
        decoder = RangeDecoder(coder.finish())
        assert [decoder.get(starts) for _ in symbols] == symbols


def test_bytes_that_no_encoder_makes_are_an_error():
    decoder = RangeDecoder(b"\xff" * 20)
    starts = [0, 3, 50_001, 65536]
    with pytest.raises(BitstreamError, match="impossible"):
        for _ in range(100):
            decoder.get(starts)


@given(
    n_channels=st.integers(1, 3),
    n_codebooks=st.integers(1, 3),
    n_frames=st.integers(1, 200),
    likely=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_packets_round_trip(n_channels, n_codebooks, n_frames, likely, seed):
    if likely:
        codes = expected_codes(TABLES, n_channels, n_codebooks, n_frames, seed)
    else:
        codes = make_codes(n_channels, n_codebooks, n_frames, bits=8, seed=seed)
    payload = encode_packet(codes, TABLES, 1 << 16)
    assert np.array_equal(decode_packet(payload, TABLES, n_channels, n_codebooks), codes)


@pytest.mark.parametrize("bits", [8, 9, 11])
def test_any_size_of_codebook(bits):
    own = make_tables(2, bits, seed=bits)
    codes = make_codes(1, 2, 66, bits=bits)
    payload = encode_packet(codes, own, 1 << 16)
    assert np.array_equal(decode_packet(payload, own, 1, 2), codes)


def test_frequencies_are_whole_and_sum_to_all():
    rng = np.random.default_rng(0)
    hidden = rng.integers(0, 128, (50, 5))
    for starts in (TABLES.parts(1, hidden), TABLES.members(1, hidden, rng.integers(0, 16, 50))):
        assert starts.dtype == np.int64 and (np.diff(starts) >= 1).all()
        assert (starts[:, 0] == 0).all() and (starts[:, -1] == 65536).all()


@given(n_frames=st.integers(0, 150), live=st.booleans(), n_channels=st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_an_independent_decoder_agrees(n_frames, live, n_channels):
    data, codes = coded_stream(n_frames, n_channels=n_channels)
    assert decode(data, tables=TABLES.to_bytes())[1] == codes.tolist()
    assert np.array_equal(loads(data)[1], codes)


def test_files_are_smaller_and_say_what_they_need():
    data, codes = coded_stream()
    assert kinds(data) == [0x83, 0x83, 0x83, 0x82]
    fixed = dumps(coded_info(entropy_tables=None), codes)
    assert len(data) < 0.9 * len(fixed)
    assert loads(data)[0].replace(entropy_tables=None) == loads(fixed)[0]


def test_what_gets_no_smaller_is_stored_as_it_is():
    codes = make_codes(1, 3, 200, bits=8)
    data = dumps(coded_info(), codes)
    assert kinds(data) == [0x81, 0x81, 0x81, 0x82]
    assert len(data) == len(dumps(coded_info(entropy_tables=None), codes)) + 11
    assert np.array_equal(loads(data)[1], codes)


def test_seeking_and_length_need_only_the_packets_that_are_asked_for():
    data, codes = coded_stream(400)
    broken = bytearray(data)
    broken[packet_offsets(data)[1] + 40] ^= 1
    reader = EulReader(io.BytesIO(bytes(broken)))
    assert np.array_equal(reader.read_frames(150, 300), codes[:, :, 150:300])
    assert reader.scan() == 400
    with pytest.raises(BitstreamError, match=r"packet 1 .*damaged"):
        reader.read_frames(60, 100)


def test_edits_keep_the_codes_and_the_coding():
    data, codes = coded_stream(400)
    fewer = drop_stages(data, 2)
    assert fewer == dumps(coded_info(n_codebooks=2), codes[:, :2])
    assert np.array_equal(read(data, n_codebooks=1).codes, codes[:, :1])
    part, both = io.BytesIO(), io.BytesIO()
    cut_file(io.BytesIO(data), part, 264 * 90, 264 * 250)
    info, some = loads(part.getvalue())
    assert info.entropy_tables == TABLES.hash and 0x83 in kinds(part.getvalue())
    start = max(90 - 8 - 64, 0)
    assert np.array_equal(some, codes[:, :, start : start + some.shape[2]])
    concat_files([io.BytesIO(data), io.BytesIO(data)], both)
    assert np.array_equal(loads(both.getvalue())[1], np.concatenate([codes, codes], 2))


def test_a_fixed_and_a_coded_file_can_be_joined():
    data, codes = coded_stream(100)
    fixed = dumps(coded_info(entropy_tables=None), codes)
    for first, second in ((data, fixed), (fixed, data)):
        sink = io.BytesIO()
        concat_files([io.BytesIO(first), io.BytesIO(second)], sink)
        assert np.array_equal(loads(sink.getvalue())[1], np.concatenate([codes, codes], 2))


def test_damage_is_found_and_costs_one_packet():
    data, codes = coded_stream(400)
    at = packet_offsets(data)[2]
    broken = data[: at + 30] + b"\x00\xff" + data[at + 32 :]
    with pytest.raises(BitstreamError, match=r"packet 2 .*checksum"):
        loads(broken)
    file = read(broken, recover=True)
    whole = codes.copy()
    whole[:, :, 140:210] = LOST
    assert np.array_equal(file.codes, whole) and len(file.damage) == 1


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0abc", b"\0\x46", b"\0\x47" + bytes(60)])
def test_impossible_payloads_with_a_good_checksum(payload):
    data, _ = coded_stream(70)
    at = packet_offsets(data)
    other = data[: at[0]] + raw_packet(0x83, 0, payload) + data[at[1] :]
    with pytest.raises(BitstreamError, match=r"packet 0 .*impossible"):
        loads(other)


def test_impossible_codes_with_a_good_checksum():
    data, codes = coded_stream(140)
    at = packet_offsets(data)
    payload = (70).to_bytes(2, "big") + b"\xff" * 150
    other = data[: at[0]] + raw_packet(0x83, 0, payload) + data[at[1] :]
    with pytest.raises(BitstreamError, match=r"packet 0 .*damaged: the range coder"):
        loads(other)
    file = read(other, recover=True)
    assert (file.codes[:, :, :70] == LOST).all()
    assert np.array_equal(file.codes[..., 70:], codes[..., 70:])
    assert len(file.damage) == 1 and file.damage[0].n_frames == 70


def test_predictable_codes_do_not_make_tiny_packets():
    """A bound on the work that a byte can cause: at least a 16th of the fixed width."""
    sure = make_tables()
    sure.b_part[:, 3] = sure.b_member[:, :, 2] = 30_000
    codes = np.broadcast_to(sure.code[:, (3 << 4) + 2][None, :, None], (1, 3, 160))
    assert len(encode_packet(codes, sure, 480)) == 30
    payload = encode_packet(codes, sure, 480)
    assert np.array_equal(decode_packet(payload, sure, 1, 3), codes)


def test_absent_tables_are_one_clear_line():
    data, _ = coded_stream(20)
    at = data.index(TABLES.hash)
    other = with_header_bytes(data, at, bytes(8))
    for recover in (False, True):
        with pytest.raises(BitstreamError, match=r"tables 0{16} of the weights 'test-model'"):
            read(other, recover=recover)


def test_headers_that_contradict_themselves():
    data, _ = coded_stream(20)
    for offset, new in ((7, b"\0"), (data.index(TABLES.hash) - 3, b"\x05")):
        with pytest.raises(BitstreamError, match=r"contradict|not known"):
            loads(with_header_bytes(data, offset, new))
    with pytest.raises(BitstreamError, match="do not fit the entropy tables"):
        loads(with_header_bytes(data, 16, b"\x0b"))
    with pytest.raises(BitstreamError, match="entropy_tables must be 8 bytes"):
        coded_info(entropy_tables=b"abc")


def test_tables_on_disk(tmp_path):
    (tmp_path / tables.TABLES_FILE).write_bytes(TABLES.to_bytes())
    again = load_tables(tmp_path)
    assert again.hash == TABLES.hash and again.to_bytes() == TABLES.to_bytes()
    assert load_tables(tmp_path / "nowhere") is None


def test_damaged_tables_are_typed_errors(tmp_path):
    data = TABLES.to_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(data)
        for at in rng.integers(0, 1500, 3):
            broken[at] = rng.integers(0, 256)
        try:
            EntropyTables.from_bytes(bytes(broken[: rng.integers(1, len(data) + 1)]))
        except WeightsError as error:
            assert "\n" not in str(error)
    (tmp_path / tables.TABLES_FILE).write_bytes(data[:-1])
    with pytest.raises(WeightsError, match=r"entropy.safetensors.*damaged"):
        load_tables(tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rank", lambda x: x * 0),
        ("powers", lambda x: x * 0),
        ("levels", lambda x: x[::-1]),
        ("sizes", lambda x: x + 9),
        ("features", lambda x: x[:, :-1]),
        ("w_now", lambda x: x.astype("int16")),
    ],
)
def test_tables_that_make_no_sense(name, change):
    arrays = {key: getattr(TABLES, key) for key in tables._SHAPES}
    arrays[name] = np.ascontiguousarray(change(arrays[name]))
    with pytest.raises(WeightsError, match="entropy tables"):
        EntropyTables(**arrays)
