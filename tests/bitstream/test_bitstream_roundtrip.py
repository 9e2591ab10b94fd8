"""Every stream comes back as it was, read by this package and by the independent decoder."""

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.streams import (
    OneByteAtATime,
    header_end,
    make_info,
    make_packets,
    make_payloads,
    make_stream,
    pairs,
    write_stream,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from minimal_decoder import decode

from eulerodec.bitstream import EulReader, EulWriter, Packet, dumps, open_reader, read
from eulerodec.bitstream.constants import RATES
from eulerodec.bitstream.varint import pack_varint, parse_varint
from eulerodec.errors import BitstreamError

ROOT = Path(__file__).parents[2]


@given(number=st.integers(0, 2**42 - 1), before=st.binary(max_size=3), after=st.binary(max_size=3))
def test_varints_are_base_128_digits(number, before, after):
    packed = pack_varint(number)
    assert sum((byte & 127) * 128**i for i, byte in enumerate(packed)) == number
    assert [byte >> 7 for byte in packed] == [1] * (len(packed) - 1) + [0]
    assert len(packed) == max(-(-number.bit_length() // 7), 1)
    assert parse_varint(before + packed + after, len(before)) == (number, len(before + packed))
    assert parse_varint(packed[:-1]) is None


@settings(max_examples=80, deadline=None)
@given(
    n_channels=st.integers(1, 255),
    n_frames=st.integers(0, 600),
    frames_per_packet=st.integers(1, 255),
    input_rate=st.sampled_from([*RATES[1:], 1, 7999, 22_000, 1_000_000]),
    rate=st.sampled_from([24_000, 16_000, 48_000, 12_345]),
    hop=st.integers(1, 1000),
    kbps=st.floats(0.01, 100),
    live=st.booleans(),
    trim=st.integers(0, 263),
    off=st.integers(0, 1),
    context=st.tuples(st.integers(0, 65_535), st.integers(0, 65_535)),
    name=st.text(min_size=1, max_size=16).filter(str.isprintable),
    extensions=st.lists(st.tuples(st.integers(5, 127), st.binary(max_size=200)), max_size=3),
)
def test_round_trip(
    n_channels,
    n_frames,
    frames_per_packet,
    input_rate,
    rate,
    hop,
    kbps,
    live,
    trim,
    off,
    context,
    name,
    extensions,
):
    n_samples = max(n_frames * hop - trim, 0)
    n_input = n_samples * input_rate // rate + off
    info = make_info(
        model_id=name,
        n_channels=n_channels,
        bitrate_kbps=kbps,
        frames_per_packet=frames_per_packet,
        input_sample_rate=input_rate,
        sample_rate=rate,
        hop_length=hop,
        context=context,
        extensions=tuple(extensions),
    )
    known = info.with_counts(n_samples, n_input)
    payloads = make_payloads(info, n_frames, n_frames)
    data = write_stream(info if live else known, payloads, (n_samples, n_input))

    file = read(data)
    assert file.info == known and pairs(file.packets) == payloads and file.damage == []
    assert file.packets == make_packets(payloads) and file.n_frames == n_frames
    head, other = decode(data)
    assert other == payloads
    for key in ("model_id", "n_channels", "hop_length", "sample_rate", "input_sample_rate"):
        assert head[key] == getattr(known, key)
    assert head["bitrate_kbps"] == known.bitrate_kbps == pytest.approx(kbps, abs=0.0051)
    assert (head["n_samples"], head["n_input_samples"]) == (n_samples, n_input)
    assert head["context"] == list(context) and head["weights_hash"] == known.weights_hash.hex()
    if not live:
        assert data == dumps(known, file.packets)
    again = read(data, recover=True)
    assert again.packets == file.packets and again.damage == [] and again.info == known
    with open_reader(data) as reader:
        assert reader.scan() == n_frames and reader.info == known


def test_every_kind_of_source(tmp_path):
    data, payloads = make_stream(live=True)
    path = tmp_path / "a.eul"
    path.write_bytes(data)
    for source in (data, path, str(path), io.BytesIO(data), OneByteAtATime(data)):
        assert pairs(read(source).packets) == payloads
    sink = OneByteAtATime()
    with EulWriter(sink, make_info()) as writer:
        for n_frames, payload in payloads:
            writer.write(payload, n_frames)
        writer.close(14 * 264 - 176)
    assert bytes(sink.data) == data and writer.bytes_written == len(data)


def test_a_packet_can_be_read_as_soon_as_it_is_written():
    """A live pipe: the reader must not wait for bytes after the packet that it can already give."""
    payloads = make_payloads(make_info(), 12)
    source, sink = os.pipe()
    seen = [threading.Event() for _ in range(4)]
    late = []

    def write():
        with os.fdopen(sink, "wb", buffering=0) as pipe:
            writer = EulWriter(pipe, make_info())
            for part, (n_frames, payload) in enumerate(payloads):
                writer.write(payload, n_frames)
                late.append(not seen[part].wait(10))
            writer.close(3000)
            pipe.flush()

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(source, "rb") as pipe:
        for part, packet in enumerate(EulReader(pipe).packets()):
            assert (packet.n_frames, packet.payload) == payloads[part]
            seen[part].set()
    thread.join()
    assert late == [False, False, False]


def test_many_packets_go_around_the_index():
    data, payloads = make_stream(2000, frames_per_packet=3)
    assert pairs(read(data).packets) == payloads == decode(data)[1]
    assert [packet.index for packet in read(data).packets] == list(range(667))


def test_counts_default_to_all_that_the_frames_hold():
    payloads = make_payloads(make_info(), 5)
    info = read(dumps(make_info(input_sample_rate=48_000), make_packets(payloads))).info
    assert (info.n_samples, info.n_input_samples) == (1320, 2640)
    assert read(write_stream(make_info(), payloads)).info.n_samples == 1320


@pytest.mark.parametrize("name", ["eulerodec-24khz", "x" * 17])
@pytest.mark.parametrize("input_rate", [8000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("live", [False, True])
def test_a_header_is_small(name, input_rate, live):
    info = make_info(model_id=name, input_sample_rate=input_rate, frames_per_packet=92)
    for seconds in (0, 1, 60, 3 * 3600):
        counts = (seconds * 24_000, seconds * input_rate)
        sink = io.BytesIO()
        EulWriter(sink, info if live else info.with_counts(*counts))
        assert header_end(sink.getvalue()) == len(sink.getvalue()) <= 52
    empty = write_stream(info if live else info.with_counts(0, 0), [])
    assert len(empty) <= 64


def test_writer_refuses_what_the_reader_would():
    writer = EulWriter(io.BytesIO(), make_info())
    with pytest.raises(BitstreamError, match="must have 4 frames, or fewer if it is the last: 5"):
        writer.write(b"", 5)
    with pytest.raises(BitstreamError, match=r"must have 4 frames.*: 0"):
        writer.write(b"", 0)
    with pytest.raises(BitstreamError, match="payload of 65536 bytes, the limit is 65535"):
        writer.write(bytes(65_536), 4)
    writer.write(bytes(65_535), 4)
    writer.write(b"", 1)
    with pytest.raises(BitstreamError, match="4 after a short one"):
        writer.write(b"", 4)
    with pytest.raises(BitstreamError, match="claims 1321 samples, its frames hold 1320"):
        writer.close(1321)
    writer.close(1320)
    writer.close(7)  # closed already
    with pytest.raises(BitstreamError, match="closed"):
        writer.write(b"", 4)

    writer = EulWriter(io.BytesIO(), make_info(n_samples=300, n_input_samples=300))
    writer.write(b"", 2)
    with pytest.raises(BitstreamError, match=r"header says 300 and 300 samples, close\(\) 301"):
        writer.close(301)
    writer = EulWriter(io.BytesIO(), make_info(input_sample_rate=8000))
    with pytest.raises(BitstreamError, match="together"):
        writer.close(0)
    with pytest.raises(BitstreamError, match="packet 3 is lost and cannot be written"):
        dumps(make_info(), [Packet(3, 0, 4, None)])


def test_an_error_leaves_no_end_marker():
    sink = io.BytesIO()
    with pytest.raises(RuntimeError), EulWriter(sink, make_info()) as writer:
        writer.write(b"a", 4)
        writer.write(b"b", 4)
        raise RuntimeError
    with pytest.raises(BitstreamError, match="cut short after 2 whole packets"):
        read(sink.getvalue())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_codebooks": 300}, "n_codebooks must be 1 to 255, not 300"),
        ({"n_codebooks": 6.5}, "n_codebooks must be a whole number: 6.5"),
        ({"n_codebooks": 3, "bitrate_kbps": 6}, "one of bitrate_kbps and n_codebooks"),
        ({"bitrate_kbps": None}, "one of bitrate_kbps and n_codebooks"),
        ({"bitrate_kbps": 0}, "bitrate must be 0.01 to 655 kbps, not 0"),
        ({"bitrate_kbps": float("nan")}, "bitrate must be"),
        ({"codebook_bits": 11}, "only for a constant number"),
        ({"n_channels": 256}, "n_channels"),
        ({"codebook_bits": 7, "n_codebooks": 2}, "codebook_bits must be 8 to 16"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"input_sample_rate": 10**7}, "input_sample_rate"),
        ({"hop_length": 65536}, "hop_length"),
        ({"frames_per_packet": 256}, "frames_per_packet must be 1 to 255, not 256"),
        (
            {"frames_per_packet": 255, "n_codebooks": 200},
            "a packet of 255 frames would take 70126 bytes",
        ),
        ({"weights_hash": b"short"}, "weights_hash must be 8 bytes"),
        ({"model_id": ""}, "model_id"),
        ({"model_id": "a\x1b[31m"}, "printable"),
        ({"model_id": "ä" * 33}, "1 to 64 bytes"),
        ({"n_samples": 5}, "both known"),
        ({"n_samples": 2**40, "n_input_samples": 2**40}, "n_samples must be"),
        ({"n_samples": -1, "n_input_samples": 0}, "n_samples must be"),
        ({"n_samples": 24_000, "n_input_samples": 48_000}, "not the same duration"),
        ({"context": (65_536, 0)}, "context must be two numbers 0 to 65535"),
        ({"extensions": ((128, b""),)}, "5 to 127"),
        ({"extensions": ((1, b"title"),)}, "5 to 127"),
    ],
)
def test_a_header_that_makes_no_sense_cannot_be_made(changes, message):
    with pytest.raises(BitstreamError, match=message):
        make_info(**changes)


def test_a_header_that_is_too_long_cannot_be_written():
    with pytest.raises(BitstreamError, match="header of 65567 bytes is too long"):
        dumps(make_info(extensions=((9, bytes(65_535)),)), [])


def test_numpy_integers_become_plain_ones():
    info = make_info(n_codebooks=np.int64(3), hop_length=np.uint16(264))
    assert type(info.n_codebooks) is int and type(info.hop_length) is int


def test_what_the_header_says_of_rates():
    info = make_info(n_channels=2, n_samples=24_000, n_input_samples=24_000, bitrate_kbps=7.3)
    assert info.nominal_kbps == 14.6 and info.duration_s == 1
    assert info.measured_kbps(1825) == pytest.approx(14.6)
    assert info.frame_rate == pytest.approx(1000 / 11)
    assert make_info(n_codebooks=12).nominal_kbps == pytest.approx(12)
    assert make_info().duration_s is make_info().measured_kbps(5) is None
