"""Damaged, cut, hostile: only BitstreamError, with the place, and the rest can be read."""

import io
import tracemalloc
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from bitstream_samples import (
    OneByteAtATime,
    make_codes,
    make_info,
    make_stream,
    packet_offsets,
    raw_packet,
    with_header_bytes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from eulerodec.bitstream import LOST, EulReader, drop_stages, dumps, loads, read, reader
from eulerodec.errors import BitstreamError

FRAME_S = 264 / 24_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"RIFF....WAVE", "not an .eul file: it starts with 52494646"),
        (b"\x89PNG\r\n\x1a\n", "not an .eul file"),
        (b"x", "not an .eul file"),
        (b"\x89E", "cut short inside its header: 2 bytes"),
        (b"\x89EUL\x01", "cut short inside its header: 5 bytes"),
        (b"\x89EUL\x01\xff\xff" + bytes(100), "cut short inside its header: 107 of 65546"),
    ],
)
@pytest.mark.parametrize("recover", [False, True])
def test_what_is_not_a_file_of_this_kind(data, message, recover):
    with pytest.raises(BitstreamError, match=message):
        read(data, recover=recover)


def test_a_newer_version_is_told_from_damage():
    data, _ = make_stream()
    with pytest.raises(BitstreamError, match="format version 2, this reader knows 1: update"):
        loads(with_header_bytes(data, 4, b"\x02"))
    with pytest.raises(BitstreamError, match="format version 2, this reader knows 1: or the"):
        loads(data[:4] + b"\x02" + data[5:])


def test_what_only_a_newer_reader_understands():
    data, _ = make_stream(extensions=((1, b"ab"),))
    with pytest.raises(BitstreamError, match="payload coding 2 is not known here: update"):
        loads(with_header_bytes(data, 7, b"\x02"))
    at = data.index(b"\x01\x00\x02ab")
    with pytest.raises(BitstreamError, match="header field 0x82 is not known here: update"):
        loads(with_header_bytes(data, at, b"\x82"))
    at = packet_offsets(data)[1]
    with pytest.raises(BitstreamError, match="packet type 0x83 is not known here: update"):
        loads(data[:at] + raw_packet(0x83, 0, b"new") + data[at:])


def test_what_an_older_reader_may_skip():
    data, codes = make_stream(extensions=((1, b"ab"), (127, b"")))
    info, _ = loads(data)
    assert info.extensions == ((1, b"ab"), (127, b""))
    for at in packet_offsets(data):
        longer = data[:at] + raw_packet(0x00, 12345, bytes(65535)) + data[at:]
        file = read(longer)
        assert np.array_equal(file.codes, codes) and file.info == info


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("n_frames", [0, 14, 16])
def test_cut_anywhere(live, n_frames):
    data, codes = make_stream(n_frames, live=live)
    offsets = packet_offsets(data)
    for size in range(len(data)):
        with pytest.raises(BitstreamError) as caught:
            loads(data[:size])
        assert "\n" not in str(caught.value)
        if size < offsets[0]:
            with pytest.raises(BitstreamError):
                read(data[:size], recover=True)
            continue
        whole = sum(end <= size for end in offsets[1:])  # data packets that are complete
        file = read(data[:size], recover=True)
        assert np.array_equal(file.codes, codes[:, :, : whole * 4])
        held = file.codes.shape[2] * 264
        assert file.info.n_samples == (held if live else min(held, loads(data)[0].n_samples or 0))
        assert [damage.kind for damage in file.damage] == ["truncated"]
        seconds = (file.info.n_samples or 0) / 24_000
        assert f"after {whole} whole packets, {seconds:.2f} s" in str(caught.value)
        assert f"{whole} whole packets, {seconds:.2f} s" in file.damage[0].message


def test_a_power_cut_that_leaves_zeros():
    data, codes = make_stream(live=True)
    file = read(data[: packet_offsets(data)[2]] + bytes(5000), recover=True)
    assert np.array_equal(file.codes, codes[:, :, :8])
    assert [damage.kind for damage in file.damage] == ["truncated"]


@pytest.mark.parametrize("live", [False, True])
def test_every_flipped_bit_is_found_and_placed(live):
    data, codes = make_stream(live=live)
    offsets = packet_offsets(data)
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(BitstreamError) as caught:
            loads(bytes(broken))
        hit = sum(at <= bit // 8 for at in offsets) - 1
        if hit < 0:  # the header: nothing else can be trusted
            with pytest.raises(BitstreamError):
                read(bytes(broken), recover=True)
            continue
        if hit < len(offsets) - 2:
            start, end = hit * 4 * FRAME_S, (hit + 1) * 4 * FRAME_S
            where = f"packet {hit} ({start:.2f} s to {end:.2f} s) is damaged"
            assert where in str(caught.value)
        file = read(bytes(broken), recover=True)
        assert len(file.damage) == 1
        expected = codes.copy()
        if hit < len(offsets) - 1:  # a data packet
            expected[:, :, hit * 4 : hit * 4 + 4] = LOST
            assert file.damage[0].kind == "corrupt"
            assert (file.damage[0].start_frame, file.damage[0].n_frames) == (hit * 4, 4)
        else:
            assert file.damage[0].kind == "truncated"
        assert np.array_equal(file.codes[:, :, :14], expected)


def test_lost_packets_are_marked_and_time_is_kept():
    data, codes = make_stream(22)
    at = packet_offsets(data)
    file = read(data[: at[1]] + data[at[3] :], recover=True)  # packets 1 and 2 are missing
    assert np.array_equal(file.codes[:, :, 12:], codes[:, :, 12:])
    assert (file.codes[:, :, 4:12] == LOST).all()
    assert file.damage[0].kind == "missing"
    assert "packets 1 to 2 (0.04 s to 0.13 s): missing" in file.damage[0].message
    eul = EulReader(io.BytesIO(data[: at[1]] + data[at[3] :]), recover=True)
    got = [(packet.index, packet.start_frame, packet.lost) for packet in eul.packets()]
    assert got == [(i, i * 4, i in (1, 2)) for i in range(6)]
    with pytest.raises(BitstreamError, match=r"packet 1 .* packet 3 stands in its place"):
        loads(data[: at[1]] + data[at[3] :])


def test_bytes_that_were_cut_out_cost_one_packet():
    data, codes = make_stream(22)
    at = packet_offsets(data)
    file = read(data[: at[1] + 5] + data[at[1] + 9 :], recover=True)
    assert np.array_equal(file.codes[:, :, 8:], codes[:, :, 8:])
    assert [damage.kind for damage in file.damage] == ["corrupt"]


def test_bytes_that_were_put_in_cost_nothing():
    data, codes = make_stream(22)
    at = packet_offsets(data)[2]
    file = read(data[:at] + b"\xe5\x81junk\xe5" + data[at:], recover=True)
    assert np.array_equal(file.codes, codes)
    assert "7 bytes that belong to no packet before packet 2" in file.damage[0].message


def test_packets_in_the_wrong_order():
    data, codes = make_stream(22)
    at = packet_offsets(data)
    swapped = data[: at[1]] + data[at[2] : at[3]] + data[at[1] : at[2]] + data[at[3] :]
    with pytest.raises(BitstreamError, match=r"packet 1 .* is damaged: packet 2 stands in"):
        loads(swapped)
    file = read(swapped, recover=True)  # too late for packet 1, and packet 2 is kept
    codes[:, :, 4:8] = LOST
    assert np.array_equal(file.codes, codes)
    assert [damage.kind for damage in file.damage] == ["missing", "corrupt"]


def test_bytes_after_the_end():
    data, codes = make_stream()
    with pytest.raises(BitstreamError, match=f"ends at byte {len(data)}, but more bytes follow"):
        loads(data + data)
    file = read(data + b"\0", recover=True)
    assert np.array_equal(file.codes, codes)
    assert [damage.kind for damage in file.damage] == ["trailing"]


def test_a_short_packet_must_be_the_last():
    data, _ = make_stream(6)
    at = packet_offsets(data)
    payload = data[at[0] + 11 : at[1]]
    more = data[: at[2]] + raw_packet(0x81, 2, payload) + raw_packet(0x82, 3, b"")
    with pytest.raises(BitstreamError, match="packet 2"):
        loads(more)


def test_a_duration_that_the_frames_do_not_hold():
    data, _ = make_stream(14)
    huge = with_header_bytes(data, 31, (2**39).to_bytes(5, "big") * 2)
    with pytest.raises(BitstreamError, match="claims 549755813888 samples, its frames hold 3696"):
        loads(huge)
    file = read(huge, recover=True)
    assert file.info.n_samples == 3696 and file.damage[0].kind == "counts"


def test_reading_goes_on_up_to_the_damage():
    data, codes = make_stream(14)
    broken = bytearray(data)
    broken[packet_offsets(data)[2] + 20] ^= 1
    eul = EulReader(OneByteAtATime(bytes(broken)))
    got = []
    with pytest.raises(BitstreamError, match="packet 2"):
        got.extend(eul)
    assert np.array_equal(np.concatenate(got, axis=2), codes[:, :, :8])


@settings(max_examples=300, deadline=None)
@given(data=st.data(), live=st.booleans(), recover=st.booleans())
def test_anything_done_to_a_file_gives_a_typed_error_or_codes(data, live, recover):
    broken = bytearray(make_stream(live=live)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(broken)))
        count = data.draw(st.integers(0, 20))
        broken[at : at + count] = data.draw(st.binary(max_size=20))
    try:
        file = read(bytes(broken), recover=recover)
    except BitstreamError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert file.codes.shape[:2] == (1, 3)
        assert (file.info.n_samples or 0) <= file.codes.shape[2] * 264


@settings(max_examples=300, deadline=None)
@given(
    body=st.binary(max_size=120),
    packets=st.lists(
        st.tuples(st.integers(0, 255), st.integers(0, 4), st.binary(max_size=60)), max_size=4
    ),
    recover=st.booleans(),
)
def test_random_headers_and_packets_with_right_checksums(body, packets, recover):
    """Fuzzing behind the checksums: the fields themselves are nonsense."""
    data = with_header_bytes(
        b"\x89EUL\x01" + len(body).to_bytes(2, "big") + bytes(len(body)), 7, body
    )
    data += b"".join(raw_packet(*packet) for packet in packets)
    try:
        read(data, recover=recover)
    except BitstreamError as error:
        assert str(error)


@settings(max_examples=200, deadline=None)
@given(offset=st.integers(7, 52), new=st.binary(min_size=1, max_size=6), recover=st.booleans())
def test_headers_that_lie(offset, new, recover):
    data, _ = make_stream(live=True)
    new = new[: max(53 - offset, 1)]
    try:
        read(with_header_bytes(data, offset, new), recover=recover)
    except BitstreamError as error:
        assert str(error)


@pytest.mark.parametrize("recover", [False, True])
@pytest.mark.parametrize(
    ("offset", "new"),
    [
        (17, b"\xff\xff"),  # 255 stages, 255 channels
        (21, b"\xff\xff"),  # 65535 frames per packet
        (23, b"\xff" * 8),  # 4 GHz
        (31, b"\xff\xff\xff\xff\xfe" * 2),  # 10^12 samples
        (41, b"\xff"),  # a model id longer than the header
        (21, b"\x00\x00"),  # no frames in a packet
    ],
)
def test_header_bombs_cost_no_memory(offset, new, recover):
    data, _ = make_stream(live=True)
    bomb = with_header_bytes(data, offset, new)
    tracemalloc.start()
    try:
        read(bomb, recover=recover)
    except BitstreamError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20


def test_a_gap_without_bytes_is_bounded():
    """An index of 16 million must not make 16 million packets of zeros."""
    data, _ = make_stream(14)
    at = packet_offsets(data)
    jump = data[: at[1]] + raw_packet(0x81, 2**24 - 2, data[at[1] + 11 : at[2]])
    assert read(jump, recover=True).codes.shape[2] == 4


def test_every_second_packet_lost():
    data, codes = make_stream(1201)
    at = packet_offsets(data)
    half = b"".join(data[at[i] : at[i + 1]] for i in range(0, len(at) - 1, 2))
    file = read(data[: at[0]] + half + data[at[-1] :], recover=True)
    codes.reshape(1, 3, -1)[:, :, [i for i in range(1201) if i // 4 % 2]] = LOST
    assert np.array_equal(file.codes, codes)
    assert len(file.damage) == 150


def test_a_file_of_false_packets_takes_no_quadratic_time(monkeypatch):
    info = make_info(n_codebooks=12, n_channels=6, frames_per_packet=600)
    head = dumps(info, make_codes(6, 12, 0))[:-11]
    size = info.payload_size(600)
    false = bytes([0xE5, 0x81, 0, 0, 0]) + size.to_bytes(2, "big") + bytes(4)
    data = head + false * 20_000  # a checksum at each would read 1.2 GB
    work = []

    def crc32(data, value=0):
        work.append(len(data))
        return zlib.crc32(data, value)

    monkeypatch.setattr(reader, "zlib", SimpleNamespace(crc32=crc32))
    assert read(data, recover=True).codes.shape[2] == 0
    assert sum(work) < 9 * len(data) + 2 * 2**20


def test_dropping_stages_of_a_damaged_file_is_an_error():
    data, _ = make_stream()
    with pytest.raises(BitstreamError, match="cut short"):
        drop_stages(data[:-1], 1)
