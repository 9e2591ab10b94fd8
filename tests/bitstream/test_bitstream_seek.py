"""Any range of a file, with the heads of the packets before it and nothing else."""

import io

import pytest
from helpers.streams import (
    OneByteAtATime,
    make_info,
    make_stream,
    packet_offsets,
    pairs,
    write_stream,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from eulerodec.bitstream import (
    EulReader,
    read,
    read_range,
)
from eulerodec.errors import BitstreamError


@settings(max_examples=100, deadline=None)
@given(
    n_frames=st.integers(0, 60),
    size=st.integers(1, 9),
    ranges=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=5),
    live=st.booleans(),
    recover=st.booleans(),
    prefix=st.binary(max_size=3),
)
def test_any_range_of_frames(n_frames, size, ranges, live, recover, prefix):
    data, _ = make_stream(n_frames, live=live, frames_per_packet=size)
    packets = list(read(data).packets)
    fileobj = io.BytesIO(prefix + data)
    fileobj.seek(len(prefix))  # a stream may lie inside a file
    reader = EulReader(fileobj, recover=recover)
    for a, b in ranges:
        a, b = sorted((a, b))
        if b > n_frames and a < b:
            with pytest.raises(BitstreamError, match="after the end"):
                list(reader.packets_between(a, b))
        else:
            expected = [p for p in packets if p.stop_frame > a and p.start_frame < b and a < b]
            assert list(reader.packets_between(a, b)) == expected
    assert reader.scan() == n_frames
    assert reader.info == read(data).info and reader.damage == []
    assert list(reader.packets()) == packets


class CountedReads(io.BytesIO):
    n_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.n_read += len(data)
        return data


def test_only_heads_are_read_on_the_way():
    info = make_info(frames_per_packet=92)
    data = write_stream(info, [(92, bytes(700))] * 1000)
    source = CountedReads(data)
    reader = EulReader(source)
    (packet,) = reader.packets_between(80_000, 80_010)
    assert packet.index == 869 and source.n_read < 869 * 8 + 2000
    source = CountedReads(data)
    part = read_range(source, 9_000_000, 9_024_000)
    assert part.info.n_samples == 24_000 and source.n_read < 8000 + 5 * 708
    assert 92 < part.n_frames <= 5 * 92


def test_seeking_past_damage():
    data, payloads = make_stream(40, seed=1)
    at = packet_offsets(data)
    broken = bytearray(data)
    broken[at[2] + 6] ^= 1
    reader = EulReader(io.BytesIO(bytes(broken)))
    assert pairs(reader.packets_between(12, 40)) == payloads[3:]  # damage is before it
    with pytest.raises(BitstreamError, match="packet 2 "):
        list(reader.packets_between(11, 13))
    broken[at[5]] ^= 1  # a head: what follows is found by reading only
    reader = EulReader(io.BytesIO(bytes(broken)), recover=True)
    for _ in range(2):  # damage that is met twice is reported once
        got = pairs(reader.packets_between(6, 26))
        assert got == [payloads[1], (4, None), *payloads[3:5], (4, None), payloads[6]]
    assert len(reader.damage) == 2
    assert reader.lost_s == pytest.approx(8 * 264 / 24_000)
    assert reader.damage[0].start_s == pytest.approx(8 * 264 / 24_000)
    assert reader.scan() == 40 and len(reader.damage) == 2


def test_a_range_of_a_damaged_file():
    data, _ = make_stream(400)
    broken = bytearray(data)
    broken[packet_offsets(data)[50] + 6] ^= 1
    with pytest.raises(BitstreamError, match="packet 50 "):
        read_range(io.BytesIO(bytes(broken)), 52_000, 54_000)
    file = read_range(io.BytesIO(bytes(broken)), 52_000, 54_000, recover=True)
    whole = read_range(io.BytesIO(data), 52_000, 54_000)
    lost = [packet.index for packet in file.packets if packet.lost]
    assert len(lost) == 1 and file.info == whole.info and len(file.damage) == 1
    assert [p for p in file.packets if not p.lost] == [
        p for p in whole.packets if p.index != lost[0]
    ]


def test_a_pipe_goes_forward_only():
    data, payloads = make_stream(40)
    reader = EulReader(OneByteAtATime(data))
    assert pairs(reader.packets_between(5, 9)) == payloads[1:3]
    assert pairs(reader.packets_between(21, 30)) == payloads[5:8]
    with pytest.raises(BitstreamError, match="pipe and cannot go back"):
        list(reader.packets_between(3, 9))
    with pytest.raises(BitstreamError, match="pipe and cannot seek"):
        reader.scan()


def test_scan_of_a_live_file_that_was_cut_off():
    data, payloads = make_stream(40, live=True)
    short = data[: packet_offsets(data)[7] + 5]
    with pytest.raises(BitstreamError, match="cut short after 7 whole packets"):
        EulReader(io.BytesIO(short)).scan()
    reader = EulReader(io.BytesIO(short), recover=True)
    assert reader.scan() == 28 and reader.info.n_samples == 28 * 264
    assert [damage.kind for damage in reader.damage] == ["truncated"]
    assert pairs(reader.packets_between(20, 28)) == payloads[5:7]
