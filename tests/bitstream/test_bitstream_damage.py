"""Damaged, cut, hostile: only BitstreamError, with the place, and the rest can be read."""

import io
import tracemalloc
import zlib

import pytest
from helpers.streams import (
    OneByteAtATime,
    header_end,
    make_info,
    make_stream,
    packet_offsets,
    pairs,
    raw_end,
    raw_packet,
    with_body,
    with_header_bytes,
    write_stream,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from eulerodec.bitstream import EulReader, format, read
from eulerodec.errors import BitstreamError

FRAME_S = 264 / 24_000


def lose(payloads, *lost):
    """What is read when some packets are lost."""
    return [(n, None if i in lost else payload) for i, (n, payload) in enumerate(payloads)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"RIFF....WAVE", "not an .eul file: it starts with 52494646"),
        (b"\x89PNG\r\n\x1a\n", "not an .eul file"),
        (b"x", "not an .eul file"),
        (b"\x89E", "cut short inside its header: 2 bytes"),
        (b"\x89EUL\x02", "cut short inside its header: 5 bytes"),
        (b"\x89EUL\x02\xff\xff" + bytes(100), "cut short inside its header: 107 of 65546"),
    ],
)
@pytest.mark.parametrize("recover", [False, True])
def test_what_is_not_a_file_of_this_kind(data, message, recover):
    with pytest.raises(BitstreamError, match=message):
        read(data, recover=recover)


def test_errors_say_whether_recovering_helps():
    data, _ = make_stream()
    for bad in (data[:-1], data + b"x"):
        with pytest.raises(BitstreamError) as caught:
            read(bad)
        assert caught.value.recoverable and read(bad, recover=True).damage
    with pytest.raises(BitstreamError) as caught:
        read(data[4:])
    assert not caught.value.recoverable


def test_other_versions_are_told_from_damage():
    data, _ = make_stream()
    with pytest.raises(BitstreamError, match="version 3, this reader knows 2: update eulerodec"):
        read(with_header_bytes(data, 4, b"\x03"))
    with pytest.raises(BitstreamError, match="version 1, this reader knows 2: an earlier release"):
        read(with_header_bytes(data, 4, b"\x01"))
    for version in (b"\x01", b"\x03"):
        with pytest.raises(BitstreamError, match="knows 2: or the header is damaged"):
            read(data[:4] + version + data[5:])


@pytest.mark.parametrize("recover", [False, True])
def test_a_file_of_the_first_release(recover):
    """Its header: the same beginning and the same checksum, all else is different."""
    header = bytes.fromhex(
        "8945554c0100320000ff80017ffe55aa0b06010108000400005dc000005dc000"
        "0000092900000009290f65756c65726f6465632d32346b687ad05c91fe"
    )
    message = "format version 1, .*; encode the audio again with this one$"
    with pytest.raises(BitstreamError, match=message):
        read(header + b"\xe5\x82" + bytes(30), recover=recover)


def test_what_only_a_newer_reader_understands():
    data, _ = make_stream(extensions=((9, b"ab"),))
    for flags in (8, 0x80):
        with pytest.raises(BitstreamError, match=f"flags {flags:#04x} are not known here: update"):
            read(with_header_bytes(data, 7, bytes([flags])))
    with pytest.raises(BitstreamError, match="sample rate 15 is not known here: update"):
        read(with_header_bytes(data, 16, b"\x6f"))
    at = data.index(b"\x09\x02ab")
    with pytest.raises(BitstreamError, match="header field 0x82 is not known here: update"):
        read(with_header_bytes(data, at, b"\x82"))


def test_what_an_older_reader_may_skip():
    data, payloads = make_stream(extensions=((9, b"ab"), (127, b"")))
    assert read(data).info.extensions == ((9, b"ab"), (127, b""))
    assert pairs(read(data).packets) == payloads


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("n_frames", [0, 14, 16])
def test_cut_anywhere(live, n_frames):
    data, payloads = make_stream(n_frames, live=live)
    offsets = packet_offsets(data)
    for size in range(len(data)):
        with pytest.raises(BitstreamError) as caught:
            read(data[:size])
        assert "\n" not in str(caught.value)
        if size < offsets[0]:
            with pytest.raises(BitstreamError):
                read(data[:size], recover=True)
            continue
        whole = sum(end <= size for end in offsets[1:])  # data packets that are complete
        file = read(data[:size], recover=True)
        assert pairs(file.packets) == payloads[:whole]
        held = file.n_frames * 264
        assert file.info.n_samples == (held if live else min(held, read(data).info.n_samples or 0))
        assert [damage.kind for damage in file.damage] == ["truncated"]
        seconds = (file.info.n_samples or 0) / 24_000
        assert f"after {whole} whole packets, {seconds:.2f} s" in str(caught.value)
        assert f"{whole} whole packets, {seconds:.2f} s" in file.damage[0].message


@pytest.mark.parametrize("live", [False, True])
def test_every_flipped_bit_is_found_and_placed(live):
    data, payloads = make_stream(live=live)
    offsets = packet_offsets(data)
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(BitstreamError) as caught:
            read(bytes(broken))
        hit = sum(at <= bit // 8 for at in offsets) - 1
        if hit < 0:  # the header: nothing else can be trusted
            with pytest.raises(BitstreamError):
                read(bytes(broken), recover=True)
            continue
        if hit < len(offsets) - 2:
            start, end = hit * 4 * FRAME_S, (hit + 1) * 4 * FRAME_S
            where = f"packet {hit} ({start:.2f} s to {end:.2f} s) is damaged"
            cut = "cut short after"  # a size that goes beyond the end of the file
            assert where in str(caught.value) or cut in str(caught.value)
        file = read(bytes(broken), recover=True)
        assert len(file.damage) == 1
        if hit < len(offsets) - 1:  # a data packet; the last has two frames
            assert pairs(file.packets) == lose(payloads, hit)
            assert file.damage[0].kind == "corrupt"
            lost = payloads[hit][0]
            assert (file.damage[0].start_frame, file.damage[0].n_frames) == (hit * 4, lost)
            assert file.info == read(data).info
        else:
            assert file.damage[0].kind == "truncated"
            assert pairs(file.packets) == payloads


def test_lost_packets_are_marked_and_time_is_kept():
    data, payloads = make_stream(22)
    at = packet_offsets(data)
    short = data[: at[1]] + data[at[3] :]  # packets 1 and 2 are missing
    file = read(short, recover=True)
    assert pairs(file.packets) == lose(payloads, 1, 2)
    assert file.damage[0].kind == "missing"
    assert "packets 1 to 2 (0.04 s to 0.13 s): missing" in file.damage[0].message
    assert file.lost_s == pytest.approx(8 * FRAME_S)
    got = [(packet.index, packet.start_frame, packet.lost) for packet in file.packets]
    assert got == [(i, i * 4, i in (1, 2)) for i in range(6)]
    with pytest.raises(BitstreamError, match=r"packet 1 .* packet 3 stands in its place"):
        read(short)


def test_bytes_that_were_cut_out_cost_one_packet():
    data, payloads = make_stream(22, seed=3)
    at = packet_offsets(data)
    file = read(data[: at[1] + 3] + data[at[1] + 6 :], recover=True)
    assert pairs(file.packets) == lose(payloads, 1)
    assert [damage.kind for damage in file.damage] == ["corrupt"]


def test_bytes_that_were_put_in_cost_nothing():
    data, payloads = make_stream(22)
    at = packet_offsets(data)[2]
    file = read(data[:at] + b"\xe5\x81junk\xe5" + data[at:], recover=True)
    assert pairs(file.packets) == payloads
    assert "7 bytes that belong to no packet before packet 2" in file.damage[0].message


def test_packets_in_the_wrong_order():
    data, payloads = make_stream(22)
    at = packet_offsets(data)
    swapped = data[: at[1]] + data[at[2] : at[3]] + data[at[1] : at[2]] + data[at[3] :]
    with pytest.raises(BitstreamError, match=r"packet 1 .* is damaged: packet 2 stands in"):
        read(swapped)
    file = read(swapped, recover=True)  # too late for packet 1, and packet 2 is kept
    assert pairs(file.packets) == lose(payloads, 1)
    assert [damage.kind for damage in file.damage] == ["missing", "corrupt"]


def test_a_packet_that_comes_twice():
    data, payloads = make_stream(22)
    at = packet_offsets(data)
    file = read(data[: at[2]] + data[at[1] :], recover=True)
    assert pairs(file.packets) == payloads
    assert [damage.kind for damage in file.damage] == ["corrupt"]


@pytest.mark.parametrize("first", [0, 10, 300])
@pytest.mark.parametrize("count", [1, 100, 200, 300, 700])
def test_a_hole_of_any_size(first, count):
    """Bad blocks of a disk: indices are modulo 256, the size of the hole tells the rest."""
    data, _ = make_stream(0)
    info = read(data).info.replace(n_samples=None, n_input_samples=None)
    payloads = [(4, bytes([i % 251]) * (2 + i % 3)) for i in range(1200)]
    data = write_stream(info.replace(bitrate_kbps=2), payloads)  # about 11 bytes a packet
    at = packet_offsets(data)
    hole = data[: at[first]] + bytes(at[first + count] - at[first]) + data[at[first + count] :]
    file = read(hole, recover=True)
    assert pairs(file.packets) == lose(payloads, *range(first, first + count))
    assert [damage.kind for damage in file.damage] == ["corrupt"]


def test_bytes_after_the_end():
    data, payloads = make_stream()
    with pytest.raises(BitstreamError, match=f"ends at byte {len(data)}, but more bytes follow"):
        read(data + data)
    file = read(data + b"\0", recover=True)
    assert pairs(file.packets) == payloads
    assert [damage.kind for damage in file.damage] == ["trailing"]


def test_a_short_packet_must_be_the_last():
    data, payloads = make_stream(6)
    at = packet_offsets(data)
    more = data[: at[2]] + raw_packet(4, 2, b"") + raw_end(3)
    with pytest.raises(BitstreamError, match="packet 2"):
        read(more)
    assert pairs(read(more, recover=True).packets)[:2] == payloads


def test_a_packet_of_more_frames_than_the_header_says():
    data, _ = make_stream(6)
    at = packet_offsets(data)
    with pytest.raises(BitstreamError, match="it claims 5 frames, a packet has 4"):
        read(data[: at[0]] + raw_packet(5, 0, b"") + data[at[1] :])


def test_a_constant_payload_of_an_impossible_size():
    data, _ = make_stream(6, n_codebooks=3)
    at = packet_offsets(data)
    with pytest.raises(BitstreamError, match="its size, 17 bytes, is impossible"):
        read(data[: at[0]] + raw_packet(4, 0, bytes(17)) + data[at[1] :])
    file = read(data[: at[0]] + raw_packet(4, 0, bytes(17)) + data[at[1] :], recover=True)
    assert [packet.lost for packet in file.packets] == [True, False]


def test_a_duration_that_the_frames_do_not_hold():
    data, payloads = make_stream(14, live=True)
    at = packet_offsets(data)[-1]
    huge = data[:at] + raw_end(4, b"\xff\xff\xff\xff\x0f" * 2)
    with pytest.raises(BitstreamError, match="claims 4294967295 samples, its frames hold 3696"):
        read(huge)
    file = read(huge, recover=True)
    assert pairs(file.packets) == payloads
    assert file.info.n_samples == 3696 and file.damage[0].kind == "counts"


def test_reading_goes_on_up_to_the_damage():
    data, payloads = make_stream(14)
    broken = bytearray(data)
    broken[packet_offsets(data)[2] + 6] ^= 1
    reader = EulReader(OneByteAtATime(bytes(broken)))
    got = []
    with pytest.raises(BitstreamError, match="packet 2"):
        got.extend(reader.packets())
    assert pairs(got) == payloads[:2]


@settings(max_examples=100, deadline=None)
@given(data=st.data(), live=st.booleans(), recover=st.booleans())
def test_anything_done_to_a_file_gives_a_typed_error_or_packets(data, live, recover):
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
        assert (file.info.n_samples or 0) <= file.n_frames * file.info.hop_length


@settings(max_examples=100, deadline=None)
@given(
    body=st.binary(max_size=120),
    packets=st.lists(
        st.tuples(st.integers(1, 255), st.integers(0, 4), st.binary(max_size=60)), max_size=4
    ),
    recover=st.booleans(),
)
def test_random_headers_and_packets_with_right_checksums(body, packets, recover):
    """Fuzzing behind the checksums: the fields themselves are nonsense."""
    body = bytes([body[0] & 7]) + body[1:] if body else body
    data = with_body(b"\x89EUL\x02\0\0" + bytes(4), body)
    data += b"".join(raw_packet(*packet) for packet in packets)
    try:
        read(data, recover=recover)
    except BitstreamError as error:
        assert str(error)


@settings(max_examples=80, deadline=None)
@given(offset=st.integers(7, 40), new=st.binary(min_size=1, max_size=6), recover=st.booleans())
def test_headers_that_lie(offset, new, recover):
    data, _ = make_stream(live=True)
    new = new[: header_end(data) - 4 - offset]
    try:
        read(with_header_bytes(data, offset, new), recover=recover)
    except BitstreamError as error:
        assert str(error)


def test_fields_of_the_header_that_are_cut_short():
    data, _ = make_stream(n_codebooks=3)
    body = data[7 : header_end(data) - 4]
    for size in range(len(body)):
        with pytest.raises(BitstreamError, match="header is damaged"):
            read(with_body(data, body[:size]))
    with pytest.raises(BitstreamError, match="a number has no end"):
        read(with_body(data, body[:10] + b"\xff" * 20))
    name = body.index(b"test-model")
    with pytest.raises(BitstreamError, match="not UTF-8"):
        read(with_body(data, body[:name] + b"\xff" + body[name + 1 :]))
    for at, what in ((13, "frames_per_packet"), (name - 3, "n_codebooks")):
        with pytest.raises(BitstreamError, match=f"{what} is 0"):
            read(with_body(data, body[:at] + b"\0" + body[at + 1 :]))


@pytest.mark.parametrize("recover", [False, True])
def test_header_bombs_cost_no_memory(recover):
    data, _ = make_stream(n_samples=2**39, n_input_samples=2**39)
    huge = (
        {"n_channels": 255, "frames_per_packet": 255},
        {"n_channels": 255, "n_codebooks": 23, "bitrate_kbps": None, "frames_per_packet": 0},
        {"n_samples": 2**40 - 1, "n_input_samples": 2**40 - 1},
        {"input_sample_rate": 1_000_000, "hop_length": 65_535},
    )
    for changes in huge:
        bomb = write_stream(make_info(**changes), [], ()) if "n_samples" not in changes else None
        bomb = (bomb or data)[:-6]
        tracemalloc.start()
        try:
            read(bomb + bytes(100), recover=recover)
        except BitstreamError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 2**20


def test_frames_in_place_of_lost_packets_are_bounded():
    """Each packet that stands 100 places too far must not make 100 packets of nothing."""
    data, _ = make_stream(0, live=True)
    jumps = b"".join(raw_packet(4, i * 100, b"") for i in range(1000))
    file = read(data[: header_end(data)] + jumps, recover=True)
    assert len(file.packets) <= 65 + (header_end(data) + len(jumps)) / 4
    once = read(data[: header_end(data)] + raw_packet(4, 120, b""), recover=True)
    assert len(once.packets) == 0  # more than its bytes account for


def test_every_second_packet_lost():
    data, payloads = make_stream(1201)
    at = packet_offsets(data)
    half = b"".join(data[at[i] : at[i + 1]] for i in range(0, len(at) - 1, 2))
    file = read(data[: at[0]] + half + data[at[-1] :], recover=True)
    assert pairs(file.packets) == lose(payloads, *range(1, 301, 2))
    assert len(file.damage) == 150


def test_a_file_of_false_packets_takes_no_quadratic_time(monkeypatch):
    data, _ = make_stream(0, frames_per_packet=255)
    false = bytes([0xE5, 0x81, 0]) + (65_535).to_bytes(2, "big") + bytes(3)
    data = data[: header_end(data)] + false * 20_000  # a checksum at each would read 1.3 GB
    work = []

    class Zlib:
        @staticmethod
        def crc32(part, value=0):
            work.append(len(part))
            return zlib.crc32(part, value)

    monkeypatch.setattr(format, "zlib", Zlib)
    assert read(data, recover=True).packets == []
    assert sum(work) < 9 * len(data) + 2 * 2**20


def test_a_live_file_whose_end_has_no_sense():
    data, _ = make_stream(14, live=True)
    at = packet_offsets(data)[-1]
    with pytest.raises(BitstreamError, match="counts are damaged"):
        read(data[:at] + raw_end(4, b"\xff" * 8))
    with pytest.raises(BitstreamError, match="not the same duration"):
        read(data[:at] + raw_end(4, b"\x80\x10\x00"), recover=True)
    assert read(io.BytesIO(data)).damage == []
