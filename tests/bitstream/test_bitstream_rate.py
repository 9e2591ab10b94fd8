"""No file is larger than its bitrate allows, and any file becomes one of a lower bitrate."""

import time
from fractions import Fraction

import pytest
from helpers.streams import (
    OneByteAtATime,
    encode_planes,
    lower,
    make_info,
    make_payloads,
    pairs,
    split,
    write_stream,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from eulerodec.bitstream import RateControl, lower_rate, read
from eulerodec.errors import BitstreamError, ConfigError


def limit(seconds, kbps, n_channels=1):
    """Bytes of audio at a rate, from the decimal digits of both."""
    return Fraction(str(kbps)) * seconds * n_channels * 125


def allowance(seconds):
    """Bytes that a file may have besides: 64 in front, 28 from five seconds on."""
    return 64 - 36 * min(seconds, 5) / Fraction(5)


rates = st.one_of(
    st.floats(1, 16),
    st.decimals(1, 16, places=2).map(float),
    st.sampled_from([1.0, 7.3, 6.0, 16.0]),
)
# Bytes that the payload coder would like to have: silence, and more than any rate gives.
content = st.lists(st.one_of(st.just(0), st.integers(0, 60), st.integers(0, 9000)), min_size=1)


@st.composite
def recordings(draw):
    """(header with counts, frames and wanted bytes of each packet, seconds)."""
    n_channels = draw(st.sampled_from([1, 1, 2, 5]))
    input_rate = draw(st.sampled_from([8000, 24_000, 44_100, 48_000, 96_000]))
    # One frame and more than the audio needs, as a codec with look-ahead may have.
    n_samples, extra = draw(st.integers(0, 24_000 * 12)), draw(st.integers(0, 2))
    n_input = n_samples * input_rate // 24_000
    names = ["eulerodec-24khz", "x" * 17]
    if n_samples > 48_000:  # what a longer name takes comes from the first packets
        names.append("x" * 64)
    info = make_info(
        model_id=draw(st.sampled_from(names)),
        n_channels=n_channels,
        bitrate_kbps=draw(rates),
        input_sample_rate=input_rate,
        frames_per_packet=draw(st.sampled_from([12, 24, 92, 100, 255])),
        n_samples=n_samples,
        n_input_samples=n_input,
    )
    n_frames = -(-n_samples // 264) + (extra if n_samples else 0)
    sizes = draw(content)
    packets = [
        (n, sizes[i % len(sizes)]) for i, n in enumerate(split(n_frames, info.frames_per_packet))
    ]
    return info, packets, Fraction(n_input, input_rate)


@settings(max_examples=80, deadline=None)
@given(recording=recordings(), carry=st.booleans(), kbps=rates)
def test_no_file_is_larger_than_its_rate_allows(recording, carry, kbps):
    info, packets, seconds = recording
    data, _ = encode_planes(info, packets, carry=carry, kbps=kbps)
    assert len(data) <= limit(seconds, kbps, info.n_channels) + allowance(seconds)
    lower_kbps = kbps * 0.6 + 0.4
    cut = lower(data, lower_kbps, carry=carry)
    assert len(cut) <= limit(seconds, lower_kbps, info.n_channels) + allowance(seconds)


@settings(max_examples=60, deadline=None)
@given(recording=recordings(), kbps=rates, carry=st.booleans())
def test_a_live_file_that_learns_its_length_at_the_end(recording, kbps, carry):
    info, packets, _ = recording
    n_samples = info.n_samples
    live = info.replace(n_samples=None, n_input_samples=None, input_sample_rate=24_000)
    data, _ = encode_planes(live, packets, carry=carry, kbps=kbps, last_samples=n_samples)
    seconds = Fraction(n_samples, 24_000)
    assert len(data) <= limit(seconds, kbps, info.n_channels) + allowance(seconds)
    assert read(data).info.n_samples == n_samples
    lower_kbps = kbps * 0.6 + 0.4
    lowered = limit(seconds, lower_kbps, info.n_channels)
    assert len(lower(data, lower_kbps)) <= lowered + allowance(seconds)


@settings(max_examples=60, deadline=None)
@given(recording=recordings(), carry=st.booleans())
def test_at_no_packet_more_than_the_rate(recording, carry):
    """A decoder on a channel of that rate never waits, once it has the header."""
    info, packets, seconds = recording
    data, totals = encode_planes(info, packets, carry=carry)
    for packet, total in zip(read(data).packets, totals, strict=True):
        time_s = min(Fraction(packet.stop_frame * 264, 24_000), seconds)
        most = limit(time_s, info.bitrate_kbps, info.n_channels)
        # Only the head of a short packet at the end may be more.
        assert total <= most if packet.payload else total <= most + 8


@pytest.mark.parametrize("kbps", [1, 3, 6, 7.3, 12, 16])
@pytest.mark.parametrize("frames", [24, 92])
@pytest.mark.parametrize("carry", [False, True])
def test_nothing_is_wasted(kbps, frames, carry):
    """Where there is always more to say, all the bytes are used but for one a packet."""
    n_samples = 30 * 24_000
    info = make_info(bitrate_kbps=kbps, frames_per_packet=frames).with_counts(n_samples, n_samples)
    wanted = [(n, 9000) for n in split(-(-n_samples // 264), frames)]
    data, _ = encode_planes(info, wanted, carry=carry)
    most = limit(30, kbps)
    # Some bytes are kept for a last packet without audio, and for longer counts than these.
    assert most + 12 <= len(data) <= most + 28


def test_silence_leaves_its_bytes_to_what_follows_or_saves_them():
    info = make_info(bitrate_kbps=8, frames_per_packet=100).with_counts(264 * 400, 264 * 400)
    wanted = [(100, 10), (100, 10), (100, 9000), (100, 9000)]
    share = 1100  # 1.1 s at 8 kbps
    carried, _ = encode_planes(info, wanted)
    kept = 7.2 * 1.1  # of each packet's share, for what is not a packet
    sizes = [len(p) for _, p in pairs(read(carried).packets)]
    assert sizes[:2] == [10, 10]
    # three heads, twenty bytes, and what the third second still owes
    assert 3 * share - 44 - 3 * kept - 1 <= sizes[2] <= 3 * share - 44
    assert sizes[3] == pytest.approx(share - 8 - kept, abs=1)
    saved, _ = encode_planes(info, wanted, carry=False)
    sizes = [len(p) for _, p in pairs(read(saved).packets)]
    assert sizes == [10, 10, *[pytest.approx(share - 8 - kept, abs=1)] * 2]


@settings(max_examples=60, deadline=None)
@given(
    recording=recordings(),
    # Closer rates may give one byte less in a packet: budgets are rounded down.
    steps=st.lists(st.sampled_from([1, 3, 5, 7.3, 10, 12, 14.1]), min_size=2, unique=True),
    carry=st.booleans(),
)
def test_step_by_step_is_the_same_as_at_once(recording, steps, carry):
    info, packets, _ = recording
    data, _ = encode_planes(info.replace(bitrate_kbps=16), packets)
    chain = data
    for kbps in sorted(steps, reverse=True):
        chain = lower(chain, kbps, carry=carry)
    assert chain == lower(data, min(steps), carry=carry)


@settings(max_examples=60, deadline=None)
@given(recording=recordings(), carry=st.booleans(), kbps=rates)
def test_a_cut_file_is_the_file_that_encoding_at_that_rate_gives(recording, carry, kbps):
    info, packets, _ = recording
    high, _ = encode_planes(info.replace(bitrate_kbps=16), packets)
    whole = {}  # the same payloads at both rates: prefixes of what the coder would say
    for packet in read(high).packets:
        whole[packet.index] = packet.payload
    control, direct = RateControl(info, kbps, carry=carry), []
    for i, (n_frames, _) in enumerate(packets):
        payload = whole[i][: control.budget(n_frames)]
        control.spend(n_frames, len(payload))
        direct.append((n_frames, payload))
    expected = write_stream(info.replace(bitrate_kbps=min(kbps, 16)), direct)
    assert lower(high, kbps, carry=carry) == expected


@settings(max_examples=50, deadline=None)
@given(n_frames=st.integers(0, 60), seed=st.integers(0, 99), kbps=st.floats(0.5, 20))
def test_every_packet_keeps_a_prefix(n_frames, seed, kbps):
    info = make_info(frames_per_packet=12, bitrate_kbps=12)
    payloads = make_payloads(info, n_frames, seed)
    data = write_stream(info, payloads)
    for (n, old), (m, new) in zip(payloads, pairs(read(lower(data, kbps)).packets), strict=True):
        assert n == m and old.startswith(new)


def test_a_rate_that_is_higher_changes_nothing():
    info = make_info(bitrate_kbps=6, frames_per_packet=92).with_counts(24_000 * 5, 24_000 * 5)
    data, _ = encode_planes(info, [(n, 9000) for n in split(455, 92)])
    assert lower(data, 6) == lower(data, 16) == data


def test_the_rate_is_lowered_in_a_pipe():
    info = make_info(bitrate_kbps=12, frames_per_packet=24)
    data, _ = encode_planes(info, [(n, 9000) for n in split(100, 24)], last_samples=26_000)
    sink = OneByteAtATime()
    lower_rate(OneByteAtATime(data), sink, 3)
    assert bytes(sink.data) == lower(data, 3)
    assert read(bytes(sink.data)).info.n_samples == 26_000


def test_lowering_the_rate_is_a_thousand_times_faster_than_real_time():
    info = make_info(bitrate_kbps=12, frames_per_packet=92)
    data, _ = encode_planes(info, [(n, 9000) for n in split(50_000, 92)])  # 9 minutes
    start = time.process_time()
    lower(data, 6)
    assert time.process_time() - start < 550 / 1000


@pytest.mark.parametrize("kbps", [0, -1, float("nan"), float("inf"), 656])
def test_a_bitrate_that_makes_no_sense(kbps):
    with pytest.raises(ConfigError, match="bitrate must be above 0, to 655 kbps"):
        RateControl(make_info(), kbps)
    with pytest.raises(ConfigError, match="bitrate must be"):
        lower(write_stream(make_info(), []), kbps)


def test_either_a_bitrate_or_codebooks():
    data = write_stream(make_info(), [])
    for wrong in ({}, {"bitrate_kbps": 3.0, "n_codebooks": 2}):
        with pytest.raises(ConfigError, match="give one of them"):
            lower(data, **wrong)
    with pytest.raises(ConfigError, match="as many codes as its bitrate holds"):
        lower(data, n_codebooks=2)


def test_a_damaged_file_is_not_cut():
    data = write_stream(make_info(), make_payloads(make_info(), 9))
    with pytest.raises(BitstreamError, match="cut short"):
        lower(data[:-1], 3)
