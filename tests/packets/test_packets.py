"""Packets over a network: any order within the depth, loss, duplicates, wraps, and bytes of any
kind."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import pytest
import torch
from helpers.cli import speech
from helpers.concealment import lose, play
from helpers.models import HOP, noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eulerodec import Codec, ConfigError, PacketError
from eulerodec.codec.streaming import LIVE_BLOCK_FRAMES
from eulerodec.packets import (
    HEADER_SIZE,
    JitterBuffer,
    Packet,
    PacketDecoder,
    PacketEncoder,
    burst_loss,
    gilbert_elliott,
    pack_packet,
    parse_packet,
    reorder,
    uniform_loss,
)
from eulerodec.packets.jitter import MAX_AHEAD_FRAMES

quick = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
WAV = noise(60 * HOP + 5)[0]
SEEDS = st.integers(0, 2**32 - 1)


def send(codec, wav=WAV, chunk=1000, **options):
    options = {"n_codebooks": 3, "block_frames": 32} | options
    encoder = PacketEncoder(codec, **options)
    parts = [encoder.push(wav[:, k : k + chunk]) for k in range(0, wav.shape[1], chunk)]
    return [packet for part in [*parts, encoder.flush()] for packet in part]


def receive(codec, packets, n_frames=None, n_codebooks=3, **options):
    decoder = PacketDecoder(codec, n_codebooks=n_codebooks, **options)
    wav = torch.cat([*(decoder.push(packet) for packet in packets), decoder.flush(n_frames)], 1)
    return wav, decoder


@pytest.fixture(scope="module")
def codes(codec: Codec):
    return codec.encode(WAV, 24_000, n_codebooks=3, block_frames=32).codes


def plain(codec, **options):
    """A decoder that has all packets, and takes as many frames at a time."""
    return codec.streaming_decoder(block_frames=LIVE_BLOCK_FRAMES, **options)


@pytest.fixture(scope="module")
def whole(codec: Codec, codes):
    """What a plain stream gives."""
    return play(plain(codec, n_codebooks=3), codes)


# --- the wire


def test_the_worked_example_of_the_specification():
    """Bytes written by hand from docs/packets.md: two frames, one stage, one repeated."""
    bits = f"{2047:011b}{1:011b}00" + f"{0:011b}{1024:011b}00"
    payload = int(bits, 2).to_bytes(6, "big")
    data = bytes.fromhex("e2 02 01 01 ffff 0001fffe 535c") + payload
    packet = parse_packet(data)
    assert (packet.sequence, packet.frame, packet.packet_frames) == (65535, 0x1FFFE, 2)
    assert packet.codes.tolist() == [[[2047, 1]]] and packet.redundant.tolist() == [[[0, 1024]]]
    assert packet.end and not packet.start and packet.weights.hex() == "535c"
    assert pack_packet(packet) == data


@quick
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 64)),
    redundant=st.integers(0, 12),
    seed=SEEDS,
    flags=st.tuples(st.booleans(), st.booleans()),
    short=st.integers(0, 64),
)
def test_round_trip(shape, redundant, seed, flags, short):
    rng = np.random.default_rng(seed)
    channels, stages, frames = shape
    redundant = min(redundant, stages)
    held = max(frames - short, 0) if flags[1] else frames
    packet = Packet(
        int(rng.integers(1 << 16)),
        int(rng.integers(1 << 32)),
        frames,
        rng.integers(0, 2048, (channels, stages, held)),
        rng.integers(0, 2048, (channels, redundant, frames)),
        rng.bytes(2),
        *flags,
    )
    data = pack_packet(packet)
    bits = 11 * channels
    sizes = [-(-bits * stages * held // 8), -(-bits * redundant * frames // 8)]
    assert len(data) == 12 + sum(sizes)
    back = parse_packet(data, channels)
    for field in dataclasses.fields(Packet):
        a, b = getattr(packet, field.name), getattr(back, field.name)
        assert np.array_equal(a, b), field.name


def test_the_first_stages_are_the_first_bits(codec: Codec):
    """A packet is brought to a lower rate on its way by its third byte and a cut."""
    data = send(codec, n_codebooks=4, packet_frames=8)[2]
    low = data[:2] + b"\x02" + data[3 : HEADER_SIZE + 2 * 8 * 11 // 8]
    assert np.array_equal(parse_packet(low).codes, parse_packet(data).codes[:, :2])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_bytes_are_a_packet_or_a_packet_error(data):
    good = pack_packet(Packet(7, 14, 2, np.full((1, 3, 2), 5), np.full((1, 1, 2), 9), b"ab"))
    raw = data.draw(st.one_of(st.binary(max_size=60), st.just(good)))
    broken = bytearray(raw)
    for _ in range(data.draw(st.integers(0, 3))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(broken[: data.draw(st.integers(0, len(broken)))])
    try:
        packet = parse_packet(broken, data.draw(st.integers(1, 2)))
    except PacketError as error:
        assert "\n" not in str(error)
    else:
        assert packet.n_frames <= 64 and packet.codes.size <= 8 * len(broken)


# --- order


@settings(quick, max_examples=10)
@given(
    seed=SEEDS,
    depth=st.integers(0, 6),
    size=st.integers(1, 5),
    first=st.sampled_from([0, 65_520, 65_535]),
    block=st.sampled_from([2, 32]),
)
def test_any_order_within_the_depth_gives_the_plain_stream(
    codec: Codec, whole, seed, depth, size, first, block
):
    """To the bit, with duplicates, and over the wrap of the sequence number."""
    packets = send(codec, packet_frames=size, first_sequence=first)
    order = reorder(len(packets), depth, seed)
    rng = np.random.default_rng(seed)
    arriving = []
    for k in order:
        arriving.append(packets[k])
        if rng.random() < 0.3:  # again, now or later
            arriving.append(packets[rng.choice(order[: np.flatnonzero(order == k)[0] + 1])])
    wav, decoder = receive(codec, arriving, depth=depth, block_frames=32)
    assert torch.equal(wav, whole)
    stats = decoder.stats
    assert stats.received == len(arriving) and stats.duplicates == len(arriving) - len(packets)
    assert (stats.late, stats.lost, stats.concealed, stats.rejected) == (0, 0, 0, 0)
    assert decoder.ended and decoder.first_frame == 0
    other, _ = receive(codec, arriving, depth=depth, block_frames=block)
    assert torch.allclose(other, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("chunk", [1, 999, 100_000])
def test_packets_do_not_depend_on_chunks(codec: Codec, codes, size, chunk):
    n = 5 * HOP if chunk == 1 else WAV.shape[1]
    expected = codec.encode(WAV[:, :n], 24_000, n_codebooks=3, block_frames=32).codes
    packets = [parse_packet(p) for p in send(codec, WAV[:, :n], chunk, packet_frames=size)]
    assert np.array_equal(np.concatenate([p.codes for p in packets], 2), expected.numpy())
    assert [p.frame for p in packets] == list(range(0, size * len(packets), size))
    assert [p.start for p in packets] == [True] + [False] * (len(packets) - 1)
    assert [p.end for p in packets] == [False] * (len(packets) - 1) + [True]
    assert all(p.n_frames == size for p in packets[:-1])


def test_channels_and_rates(codec: Codec):
    wav = torch.from_numpy(speech(30_000, 48_000, 2))
    packets = send(codec, wav, n_channels=2, sample_rate=48_000, packet_frames=3)
    got, _ = receive(codec, packets, n_channels=2, sample_rate=16_000)
    codes = codec.encode(wav, 48_000, n_codebooks=3, block_frames=32).codes
    decoder = plain(codec, n_codebooks=3, n_channels=2, sample_rate=16_000)
    assert torch.equal(got, play(decoder, codes))


def test_an_empty_stream(codec: Codec):
    packets = send(codec, WAV[:, :0])
    assert len(packets) == 1 and len(packets[0]) == HEADER_SIZE
    wav, decoder = receive(codec, packets)
    assert wav.shape == (1, 0) and decoder.ended


@pytest.mark.parametrize("depth", [0, 2])
def test_what_is_in_order_is_not_held(codec: Codec, depth):
    decoder = PacketDecoder(codec, n_codebooks=3, depth=depth, block_frames=1)
    for k, packet in enumerate(send(codec)[:-1]):
        decoder.push(packet)
        assert decoder.n_frames == 2 * (k + 1)


# --- loss


@quick
@given(
    seed=SEEDS, rate=st.sampled_from([0.1, 0.4]), depth=st.integers(0, 4), size=st.integers(1, 4)
)
def test_loss_is_concealed_where_it_is(codec: Codec, codes, seed, rate, depth, size):
    """What is given up equals the lost frames of a plain stream, and time is kept."""
    packets = send(codec, packet_frames=size)
    lost = uniform_loss(len(packets), rate, seed)
    lost[0] = False
    order = [k for k in reorder(len(packets), depth, seed + 1) if not lost[k]]
    wav, decoder = receive(codec, [packets[k] for k in order], codes.shape[2], depth=depth)
    spans = [(size * k, size * (k + 1)) for k in np.flatnonzero(lost)]
    expected = play(plain(codec, n_codebooks=3), lose(codes, *spans))
    assert torch.equal(wav, expected)
    n_lost = sum(min(b, codes.shape[2]) - a for a, b in spans)
    assert decoder.stats.concealed == n_lost and decoder.stats.late == 0


def test_late_packets_change_nothing(codec: Codec, codes):
    packets = send(codec)
    order = [0, 1, 3, 4, 5, 6, 2, *range(7, len(packets))]
    wav, decoder = receive(codec, [packets[k] for k in order], depth=2)
    expected = play(plain(codec, n_codebooks=3), lose(codes, (4, 6)))
    assert torch.equal(wav, expected)
    assert (decoder.stats.late, decoder.stats.lost, decoder.stats.concealed) == (1, 1, 2)


def test_redundancy_repairs_a_single_loss(codec: Codec, codes):
    """The lost packet has the stages that the next one repeats; of a burst only its last packet."""
    packets = send(codec, redundancy=2)
    lost = {3, 8, 9}
    wav, decoder = receive(codec, [p for k, p in enumerate(packets) if k not in lost], depth=0)
    expected = lose(codes, (16, 18))
    for start in (6, 18):
        expected[:, 2:, start : start + 2] = -1
    assert torch.equal(wav, play(plain(codec, n_codebooks=3), expected))
    assert (decoder.stats.repaired, decoder.stats.concealed) == (4, 2)
    assert torch.equal(receive(codec, packets)[0], receive(codec, send(codec))[0])


def test_fewer_and_more_stages_than_the_receiver_has(codec: Codec, codes):
    packets = send(codec, n_codebooks=6, beam=1)  # a greedy search has no regard to later stages
    assert torch.equal(receive(codec, packets)[0], receive(codec, send(codec, beam=1))[0])
    wav, _ = receive(codec, send(codec), n_codebooks=6)
    padded = torch.full((1, 6, codes.shape[2]), -1)
    padded[:, :3] = codes
    assert torch.equal(wav, play(plain(codec, n_codebooks=6), padded))


def test_a_player_with_a_clock_asks_for_more(codec: Codec, codes):
    """Frames that it could not wait for are concealed; what then comes for them is not played."""
    packets = send(codec)
    decoder = PacketDecoder(codec, n_codebooks=3, depth=2)
    assert decoder.conceal(3).shape == (1, 0) and decoder.n_frames == 0  # nothing has begun
    parts = [decoder.push(packet) for packet in packets[:5]]
    parts.append(decoder.conceal(3))  # frames 10 to 12, half of the second packet
    parts += [decoder.push(packet) for packet in packets[5:]]
    wav = torch.cat([*parts, decoder.flush()], 1)
    assert torch.equal(wav, play(plain(codec, n_codebooks=3), lose(codes, (10, 13))))
    with pytest.raises(ConfigError, match="-1 frames"):
        decoder.conceal(-1)


def test_joining_in_the_middle(codec: Codec, codes):
    packets = send(codec)[7:]
    packets[0], packets[1] = packets[1], packets[0]
    wav, decoder = receive(codec, packets, depth=1)
    assert decoder.first_frame == 14
    assert torch.equal(wav, play(plain(codec, n_codebooks=3), codes[..., 14:]))


def test_reset_starts_again(codec: Codec, whole):
    packets = send(codec)
    encoder = PacketEncoder(codec, n_codebooks=3, block_frames=32)
    encoder.push(WAV[:, :5000])
    encoder.reset()
    assert [*encoder.push(WAV), *encoder.flush()] == packets
    decoder = PacketDecoder(codec, n_codebooks=3)
    for packet in (packets[9], packets[8]):
        decoder.push(packet)
    decoder.reset()
    wav = torch.cat([*(decoder.push(packet) for packet in packets), decoder.flush()], 1)
    assert torch.equal(wav, whole) and decoder.stats.received == len(packets)


# --- what is not of the stream


@quick
@given(seed=SEEDS)
def test_bad_packets_between_the_good_ones_change_nothing(codec: Codec, whole, seed):
    rng = np.random.default_rng(seed)
    packets = send(codec)
    decoder = PacketDecoder(codec, n_codebooks=3)
    wav, bad = [], 0
    for number, packet in enumerate(packets):
        wav.append(decoder.push(packet))
        if rng.random() < 0.3:
            broken = bytearray(packet)
            kind = rng.integers(5)
            if kind == 0:
                if number == len(packets) - 1:
                    continue  # the last may be shorter: cut to whole frames it is another packet
                broken = broken[: rng.integers(len(broken))]
            elif kind == 1:
                broken += b"\0"
            elif kind == 2:
                broken[0] ^= 1 << rng.integers(2, 8)
            elif kind == 3:  # sound, of another place in another stream
                broken[4:10] = rng.bytes(6)
                fits = (number * 2 - int.from_bytes(broken[6:10], "big")) % 2**32
                if fits == (number - int.from_bytes(broken[4:6], "big")) % 2**16 * 2:
                    continue
            else:
                broken[10:12] = bytes([broken[10] ^ 1, broken[11]])
            bad += 1
            with pytest.raises(PacketError):
                decoder.push(bytes(broken))
    assert torch.equal(torch.cat([*wav, decoder.flush()], 1), whole)
    assert decoder.stats.rejected == bad and decoder.stats.restarts == 0


@quick
@given(
    data=st.lists(st.binary(max_size=40) | st.integers(0, 30), max_size=40), depth=st.integers(0, 3)
)
def test_the_receiver_survives_anything(codec: Codec, data, depth):
    packets = send(codec)
    decoder = PacketDecoder(codec, n_codebooks=3, depth=depth)
    for item in data:
        try:
            if isinstance(item, int):
                wav = decoder.push(packets[item % len(packets)])
            else:  # a sound header, then anything
                wav = decoder.push(packets[0][: 4 + len(item) % 9] + item)
        except PacketError:
            continue
        assert wav.isfinite().all()
    assert decoder.flush().isfinite().all()


def test_a_sender_that_starts_again_is_followed(codec: Codec, codes):
    """The first packet of the new stream is rejected, with the second both are decoded."""
    old = send(codec)[:15]
    new = send(codec, WAV[:, : 20 * HOP], first_sequence=40_000)
    decoder = PacketDecoder(codec, n_codebooks=3, depth=1)
    for packet in old:
        decoder.push(packet)
    with pytest.raises(PacketError, match="does not belong"):
        decoder.push(new[0])
    for packet in new[1:]:
        decoder.push(packet)
    assert decoder.stats.restarts == 1 and decoder.stats.concealed == 0
    assert decoder.n_frames == 30 + 21 and decoder.ended


def test_a_wrong_first_packet_is_overcome(codec: Codec, whole):
    packets = send(codec)
    wrong = packets[0][:4] + struct.pack(">HI", 777, 12345) + packets[0][10:]
    decoder = PacketDecoder(codec, n_codebooks=3)
    decoder.push(wrong)
    with pytest.raises(PacketError):
        decoder.push(packets[0])
    for packet in packets[1:]:
        decoder.push(packet)
    assert decoder.n_frames == 2 + 61 + 1 and decoder.stats.restarts == 1


@pytest.mark.parametrize("options", [dict(depth=-1), dict(depth=101), dict(depth=True)])
def test_impossible_depths(codec: Codec, options):
    with pytest.raises(ConfigError, match="depth"):
        PacketDecoder(codec, **options)


@pytest.mark.parametrize(
    "options",
    [dict(packet_frames=0), dict(packet_frames=65), dict(redundancy=7), dict(first_sequence=-1)],
)
def test_impossible_senders(codec: Codec, options):
    with pytest.raises(ConfigError, match="allowed"):
        PacketEncoder(codec, bitrate_kbps=6, **options)


def test_codes_beyond_a_small_codebook(codec: Codec, monkeypatch):
    packets = send(codec)
    decoder = PacketDecoder(codec, n_codebooks=3)
    monkeypatch.setattr(decoder, "_size", 10)
    with pytest.raises(PacketError, match="not below 10"):
        decoder.push(packets[0])


# --- the buffer alone, over long streams


def bare(number, size=2, **flags):
    none = np.zeros((1, 1, size), np.int64)
    frame = number * size & 0xFFFFFFFF
    return Packet(number & 0xFFFF, frame, size, none, none[:, :0], b"ab", **flags)


def test_both_counters_wrap():
    """Frames once, numbers twice: 70 000 packets from just before the wraps on."""
    first = (1 << 31) - 1000  # frames from 2^32 - 2000
    buffer = JitterBuffer(3)
    order = reorder(70_000, 3, 1)
    out = [p for k in order for p in buffer.push(bare(first + int(k), start=k == 0))]
    assert [p.frame for p in out] == [(first + k) * 2 & 0xFFFFFFFF for k in range(70_000)]
    assert buffer.stats.lost == buffer.stats.late == buffer.n_held == 0
    assert len(buffer._state.taken) <= 500


def test_a_pause_is_bridged_up_to_its_limit():
    near, far = 1 + MAX_AHEAD_FRAMES // 2 - 1, 1 + MAX_AHEAD_FRAMES // 2
    buffer = JitterBuffer(0)
    buffer.push(bare(0, start=True))
    assert [p.frame for p in buffer.push(bare(near))] == [2 * near]
    assert buffer.stats.lost == near - 1
    buffer.reset()
    buffer.push(bare(0, start=True))
    with pytest.raises(PacketError):
        buffer.push(bare(far))
    with pytest.raises(PacketError):  # the same again is no second witness
        buffer.push(bare(far))
    assert [p.frame for p in buffer.push(bare(far + 1))] == [2 * far, 2 * far + 2]
    assert buffer.stats.restarts == 1


# --- the simulated network


def test_loss_has_its_rate_and_bursts_their_length():
    n = 400_000
    assert uniform_loss(n, 0.1, 0).mean() == pytest.approx(0.1, rel=0.02)
    lost = burst_loss(n, 0.05, 4, 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost, [0]])))
    lengths = edges[1::2] - edges[::2]
    assert lost.mean() == pytest.approx(0.05, rel=0.05)
    assert lengths.mean() == pytest.approx(4, rel=0.05)
    # geometric, as a stay in a state of a Markov chain is
    assert (lengths == 1).mean() == pytest.approx(1 / 4, rel=0.05)


def test_gilbert_elliott_with_loss_in_both_states():
    lost = gilbert_elliott(400_000, 0.02, 0.2, 3, good=0.01, bad=0.5)
    assert lost.mean() == pytest.approx((0.01 * 0.2 + 0.5 * 0.02) / 0.22, rel=0.05)
    assert np.array_equal(lost, gilbert_elliott(400_000, 0.02, 0.2, 3, good=0.01, bad=0.5))


@quick
@given(n=st.integers(0, 60), depth=st.integers(0, 9), seed=SEEDS)
def test_reordering_keeps_to_its_depth(n, depth, seed):
    order = reorder(n, depth, seed)
    assert sorted(order) == list(range(n))
    newest = -1
    for k in order:
        newest = max(newest, k)
        assert newest - k <= depth


@pytest.mark.parametrize(
    "call",
    [
        lambda: uniform_loss(9, 1.5, 0),
        lambda: burst_loss(9, 0.9, 2, 0),
        lambda: burst_loss(9, 0.1, 0.5, 0),
        lambda: gilbert_elliott(9, float("nan"), 1, 0),
        lambda: reorder(9, -1, 0),
    ],
)
def test_impossible_networks(call):
    with pytest.raises(ConfigError):
        call()
