"""Every stream comes back as it was, read by this package and by the independent decoder."""

import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from bitstream_samples import OneByteAtATime, make_codes, make_info, make_stream
from hypothesis import given, settings
from hypothesis import strategies as st
from minimal_decoder import decode

from eulerodec.bitstream import (
    EulReader,
    EulWriter,
    StreamInfo,
    drop_stages,
    drop_stages_file,
    dumps,
    loads,
    read,
)
from eulerodec.bitstream.pack import pack_codes, packed_size, unpack_codes
from eulerodec.errors import BitstreamError


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


@settings(max_examples=150, deadline=None)
@given(
    n_codebooks=st.integers(1, 12),
    n_channels=st.integers(1, 6),
    n_frames=st.integers(0, 40),
    frames_per_packet=st.integers(1, 12),
    bits=st.integers(8, 16),
    input_rate=st.sampled_from([8000, 24_000, 44_100, 192_000]),
    live=st.booleans(),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    trim=st.integers(0, 263),
    name=st.text(min_size=1, max_size=16).filter(str.isprintable),
)
def test_round_trip(
    n_codebooks, n_channels, n_frames, frames_per_packet, bits, input_rate, live, cuts, trim, name
):
    codes = make_codes(n_channels, n_codebooks, n_frames, bits)
    n_samples = max(n_frames * 264 - trim, 0)
    n_input = n_samples * input_rate // 24_000
    info = make_info(
        model_id=name,
        n_codebooks=n_codebooks,
        n_channels=n_channels,
        codebook_bits=bits,
        frames_per_packet=frames_per_packet,
        input_sample_rate=input_rate,
    )
    known = info.with_counts(n_samples, n_input)
    sink = io.BytesIO()
    writer = EulWriter(sink, info if live else known)
    for part in np.split(codes, sorted(min(cut, n_frames) for cut in cuts), axis=2):
        writer.write(part)
    writer.close(n_samples, n_input)
    data = sink.getvalue()
    assert writer.bytes_written == len(data) and writer.n_frames == n_frames

    assert loads(data)[0] == known
    assert np.array_equal(loads(data)[1], codes)
    head, other, *counts = decode(data)
    assert other == codes.tolist() and counts == [n_samples, n_input]
    assert head["model_id"] == name and head["input_sample_rate"] == input_rate
    if not live:
        assert data == dumps(known, codes)
    stages = 1 + n_frames % n_codebooks
    assert np.array_equal(read(data, n_codebooks=stages).codes, codes[:, :stages])
    assert decode(data, stages)[1] == codes[:, :stages].tolist()
    whole = read(data, recover=True)
    assert np.array_equal(whole.codes, codes) and whole.damage == [] and whole.info == known


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("stages", [1, 5, 6])
def test_dropping_stages_gives_the_file_of_the_lower_rate(stages, live):
    shape = {"n_codebooks": 6, "n_channels": 2, "extensions": ((5, b"kept"), (9, b""))}
    data, codes = make_stream(live=live, **shape)
    dropped = drop_stages(data, stages)
    info, kept = loads(dropped)
    assert np.array_equal(kept, codes[:, :stages])
    assert info == loads(data)[0].replace(n_codebooks=stages)
    assert decode(dropped)[1] == codes[:, :stages].tolist()
    if not live:
        assert dropped == dumps(info, codes[:, :stages])
    sink = OneByteAtATime()
    drop_stages_file(OneByteAtATime(data), sink, stages)
    assert bytes(sink.data) == dropped


@pytest.mark.parametrize("stages", [0, 4, -1])
def test_stages_that_are_not_there(stages):
    data, _ = make_stream(n_codebooks=3)
    with pytest.raises(BitstreamError, match=f"has 3 stages, {stages} cannot"):
        read(data, n_codebooks=stages)


def test_one_byte_at_a_time():
    data, codes = make_stream()
    assert np.array_equal(EulReader(OneByteAtATime(data)).read_all(), codes)
    sink = OneByteAtATime()
    with EulWriter(sink, loads(data)[0]) as writer:
        writer.write(codes)
    assert bytes(sink.data) == data


def test_a_packet_can_be_read_as_soon_as_it_is_written():
    """A live pipe: the reader must not wait for bytes after the packet that it can already give."""
    codes = make_codes(1, 3, 12)
    source, sink = os.pipe()
    seen = [threading.Event() for _ in range(3)]
    late = []

    def write():
        with os.fdopen(sink, "wb", buffering=0) as pipe, EulWriter(pipe, make_info()) as writer:
            for part in range(3):
                writer.write(codes[:, :, part * 4 : part * 4 + 4])
                late.append(not seen[part].wait(10))

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(source, "rb") as pipe:
        for part, got in enumerate(EulReader(pipe)):
            assert np.array_equal(got, codes[:, :, part * 4 : part * 4 + 4])
            seen[part].set()
    thread.join()
    assert late == [False, False, False]


@pytest.mark.parametrize("stages", [6, 12])
@pytest.mark.parametrize(("seconds", "limit"), [(10, 1.018), (60, 1.0075)])
@pytest.mark.parametrize("live", [False, True])
def test_bytes_on_disk_are_the_stated_rate(stages, seconds, limit, live):
    n_samples = 24_000 * seconds
    info = StreamInfo(
        model_id="eulerodec-24khz",
        weights_hash=bytes(8),
        input_sample_rate=44_100,
        n_codebooks=stages,
    )
    known = info.with_counts(n_samples, 44_100 * seconds)
    sink = io.BytesIO()
    writer = EulWriter(sink, info if live else known)
    writer.write(make_codes(1, stages, -(-n_samples // 264) + 1))
    writer.close(n_samples, 44_100 * seconds)
    kbps = len(sink.getvalue()) * 8 / seconds / 1000
    assert stages <= kbps <= stages * limit + (0.01 if live else 0)
    assert known.measured_kbps(len(sink.getvalue())) == pytest.approx(kbps)
    assert known.nominal_kbps == pytest.approx(stages)
    assert known.frame_rate == pytest.approx(1000 / 11)
    assert known.duration_s == seconds


def test_many_channels_get_shorter_packets():
    info = make_info(n_channels=255, n_codebooks=12, frames_per_packet=0)
    assert info.frames_per_packet == 65535 * 8 // (255 * 12 * 11)
    codes = make_codes(255, 12, 40)
    assert np.array_equal(loads(dumps(info, codes))[1], codes)


def test_counts_default_to_all_that_the_frames_hold():
    info, _ = loads(dumps(make_info(input_sample_rate=48_000), make_codes(1, 3, 5)))
    assert (info.n_samples, info.n_input_samples) == (1320, 2640)
    sink = io.BytesIO()
    with EulWriter(sink, make_info()) as writer:
        writer.write(make_codes(1, 3, 5))
    assert loads(sink.getvalue())[0].n_samples == 1320


def test_writer_refuses_what_the_reader_would():
    writer = EulWriter(io.BytesIO(), make_info(n_channels=2))
    with pytest.raises(BitstreamError, match=r"shape \[2, 3, T\], not \[1, 3, 5\]"):
        writer.write(make_codes(1, 3, 5))
    with pytest.raises(BitstreamError, match="integers"):
        writer.write(np.zeros((2, 3, 5)))
    writer.write(make_codes(2, 3, 5))
    with pytest.raises(BitstreamError, match="5 frames hold 1320 samples, not 1321"):
        writer.close(1321)
    writer.close(1320)
    writer.close(7)  # closed already
    with pytest.raises(BitstreamError, match="closed"):
        writer.write(make_codes(2, 3, 1))

    writer = EulWriter(io.BytesIO(), make_info(n_samples=300, n_input_samples=300))
    writer.write(make_codes(1, 3, 2))
    with pytest.raises(BitstreamError, match=r"header says 300 and 300 samples, close\(\) 301"):
        writer.close(301)
    writer = EulWriter(io.BytesIO(), make_info(input_sample_rate=8000))
    with pytest.raises(BitstreamError, match="together"):
        writer.close(0)


def test_an_error_leaves_no_end_marker():
    sink = io.BytesIO()
    with pytest.raises(RuntimeError), EulWriter(sink, make_info()) as writer:
        writer.write(make_codes(1, 3, 9))
        raise RuntimeError
    with pytest.raises(BitstreamError, match="cut short after 2 whole packets"):
        loads(sink.getvalue())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_codebooks": 0}, "n_codebooks must be 1 to 255, not 0"),
        ({"n_codebooks": 6.5}, "n_codebooks must be a whole number: 6.5"),
        ({"n_channels": 256}, "n_channels"),
        ({"codebook_bits": 7}, "codebook_bits must be 8 to 16"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"input_sample_rate": 10**7}, "input_sample_rate"),
        ({"hop_length": 65536}, "hop_length"),
        ({"frames_per_packet": 65535}, "a packet of 65535 frames would take 270332 bytes"),
        ({"weights_hash": b"short"}, "weights_hash must be 8 bytes"),
        ({"model_id": ""}, "model_id"),
        ({"model_id": "a\x1b[31m"}, "printable"),
        ({"model_id": "ä" * 33}, "1 to 64 bytes"),
        ({"n_samples": 5}, "both known"),
        ({"n_samples": 2**40 - 1, "n_input_samples": 2**40 - 1}, "n_samples must be"),
        ({"n_samples": 24_000, "n_input_samples": 48_000}, "not the same duration"),
        ({"extensions": ((128, b""),)}, "0 to 127"),
        ({"extensions": ((1, bytes(65535)),)}, "too long"),
    ],
)
def test_a_header_that_makes_no_sense_cannot_be_made(changes, message):
    with pytest.raises(BitstreamError, match=message):
        make_info(**changes)


def test_numpy_integers_become_plain_ones():
    info = make_info(n_codebooks=np.int64(3), hop_length=np.uint16(264))
    assert type(info.n_codebooks) is int and type(info.hop_length) is int


def test_the_container_needs_no_torch():
    script = "import sys, eulerodec.bitstream; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
