"""Packets over a network: any order within the depth, loss, duplicates, wraps, and bytes of any
kind."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.cli import speech
from helpers.concealment import lose, play
from helpers.models import HOP, noise, without_offset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eulerodec import Codec, ConfigError, PacketError
from eulerodec import bitstream as eul
from eulerodec.codec.streaming import LIVE_BLOCK_FRAMES
from eulerodec.packets import (
    HEADER_SIZE,
    JitterBuffer,
    Packet,
    PacketDecoder,
    PacketEncoder,
    burst_loss,
    cut_packet,
    gilbert_elliott,
    pack_packet,
    parse_packet,
    reorder,
    uniform_loss,
)
from eulerodec.packets.jitter import MAX_AHEAD_FRAMES

quick = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
WAV = noise(60 * HOP + 5)[0]  # 62 frames
N_FRAMES = 62
SEEDS = st.integers(0, 2**32 - 1)

_sent: dict[object, list[bytes]] = {}


def send(codec, wav=WAV, chunk=1000, **options):
    """All packets of a signal, computed once."""
    options = {"beam": 1} | options
    key = id(codec), wav.shape, chunk, *sorted(options.items())
    if key not in _sent:
        encoder = PacketEncoder(codec, **options)
        parts = [encoder.push(wav[:, k : k + chunk]) for k in range(0, wav.shape[1], chunk)]
        _sent[key] = [packet for part in [*parts, encoder.flush()] for packet in part]
    return _sent[key]


def receive(codec, packets, n_frames=None, **options):
    decoder = PacketDecoder(codec, **options)
    wav = torch.cat([*(decoder.push(packet) for packet in packets), decoder.flush(n_frames)], 1)
    return wav, decoder


def plain(codec, packets, *spans, change=lambda frames, decoder: frames, **options):
    """What a stream of the payloads alone gives, without the frames of ``spans``."""
    block = options.pop("block_frames", LIVE_BLOCK_FRAMES)
    decoder = codec.streaming_decoder(codec.stream_info(**options), block_frames=block)
    sent = [parse_packet(data) for data in packets]
    frames = [decoder.frames(eul.Packet(0, 0, p.n_frames, p.payload)) for p in sent]
    frames = lose(decoder, torch.cat(frames, -1), *spans)
    return play(decoder, change(frames, decoder))


@pytest.fixture(scope="module")
def whole(codec: Codec):
    return plain(codec, send(codec))


# --- the wire


def test_the_worked_example_of_the_specification():
    """Bytes written by hand from docs/packets.md."""
    data = bytes.fromhex("f2 04 0002 ffff 0003fffc 535c 03 a1b2c3 d4e5")
    packet = Packet(
        sequence=65535,
        frame=0x3FFFC,
        packet_frames=4,
        n_frames=3,
        payload=b"\xa1\xb2\xc3",
        redundant=b"\xd4\xe5",
        book=b"\x53\x5c",
        end=True,
    )
    assert parse_packet(data) == packet and pack_packet(packet) == data


packets_of_any_kind = st.builds(
    lambda size, short, end, **fields: Packet(
        packet_frames=size, n_frames=max(size - short, 0) if end else size, end=end, **fields
    ),
    size=st.integers(1, 64),
    short=st.integers(0, 64),
    end=st.booleans(),
    sequence=st.integers(0, 0xFFFF),
    frame=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=60),
    redundant=st.binary(max_size=30),
    book=st.binary(min_size=2, max_size=2),
    start=st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(packet=packets_of_any_kind)
def test_round_trip(packet):
    data = pack_packet(packet)
    assert parse_packet(data) == packet
    assert len(data) == 12 + packet.end + len(packet.payload) + len(packet.redundant)


def test_version_1_is_refused_by_name():
    old = bytes.fromhex("e2 02 01 01 ffff 0001fffe 535c ffe004 001000")
    with pytest.raises(PacketError, match="0xe2: a packet of version 1"):
        parse_packet(old)


@settings(max_examples=300, deadline=None)
@given(packet=packets_of_any_kind, data=st.data())
def test_any_bytes_are_a_packet_or_a_packet_error(packet, data):
    raw = data.draw(st.one_of(st.binary(max_size=60), st.just(pack_packet(packet))))
    broken = bytearray(raw)
    for _ in range(data.draw(st.integers(0, 3))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(broken[: data.draw(st.integers(0, len(broken)))])
    try:
        packet = parse_packet(broken)
    except PacketError as error:
        assert "\n" not in str(error)
    else:
        assert packet.n_frames <= 64 and pack_packet(packet) == broken


# --- cutting on the way


@settings(max_examples=100, deadline=None)
@given(packet=packets_of_any_kind, size=st.integers(0, 120))
def test_a_cut_takes_what_is_repeated_first(packet, size):
    data = pack_packet(packet)
    if size < HEADER_SIZE + packet.end:
        with pytest.raises(ConfigError, match="the header of this packet has"):
            cut_packet(data, size)
        return
    cut = parse_packet(cut_packet(data, size))
    assert len(pack_packet(cut)) == min(size, len(data))
    assert packet.payload.startswith(cut.payload) and packet.redundant.startswith(cut.redundant)
    assert cut.payload == packet.payload or not cut.redundant
    assert replace(cut, payload=packet.payload, redundant=packet.redundant) == packet
    assert cut_packet(cut_packet(data, size + 9), size) == cut_packet(data, size)


def test_only_packets_are_cut():
    with pytest.raises(PacketError, match="version 2"):
        cut_packet(bytes(20), 15)


@quick
@given(seed=SEEDS)
def test_packets_cut_anywhere_decode(codec: Codec, seed):
    """To what their payloads say; those cut to the header are concealed."""
    packets = send(codec, bitrate_kbps=12, redundancy=9)
    sizes = np.random.default_rng(seed).integers(HEADER_SIZE + 1, 90, len(packets))
    sizes[5] = HEADER_SIZE
    cut = [cut_packet(data, int(size)) for data, size in zip(packets, sizes, strict=True)]
    wav, decoder = receive(codec, cut)
    last = [] if parse_packet(cut[-1]).payload else [(60, 62)]
    assert torch.equal(wav, plain(codec, cut, (20, 24), *last)) and wav.isfinite().all()
    assert decoder.stats.concealed == 4 + 2 * len(last) and decoder.stats.lost == 0


# --- the sender


@pytest.mark.parametrize("size", [1, 4, 5])
@pytest.mark.parametrize("chunk", [1, 999, 100_000])
def test_packets_do_not_depend_on_chunks(codec: Codec, size, chunk):
    wav = WAV[:, : 5 * HOP] if chunk == 1 else WAV
    packets = send(codec, wav, chunk, packet_frames=size)
    assert packets == send(codec, wav, packet_frames=size)
    sent = [parse_packet(packet) for packet in packets]
    assert [p.frame for p in sent] == list(range(0, size * len(sent), size))
    assert [p.start for p in sent] == [True] + [False] * (len(sent) - 1)
    assert [p.end for p in sent] == [False] * (len(sent) - 1) + [True]
    assert all(p.n_frames == size for p in sent[:-1])
    assert sum(p.n_frames for p in sent) == codec.model.n_frames(wav.shape[1])


@pytest.mark.parametrize("kbps", [1, 6, 7.3])
@pytest.mark.parametrize("size", [1, 4])
def test_payloads_alone_have_the_bitrate(codec: Codec, kbps, size):
    """Every packet its own share, to the byte; the planes are those of the plain coder."""
    sent = [parse_packet(p) for p in send(codec, packet_frames=size, bitrate_kbps=kbps)]
    share = kbps * 125 * HOP / 24_000  # bytes a frame
    stops = np.cumsum([p.n_frames for p in sent])
    sizes = np.diff(np.floor(stops * share + 1e-9), prepend=0)
    z, bands = codec.model.analysis(without_offset(WAV[None], size))
    same = 0
    for packet, n_bytes, stop in zip(sent, sizes.astype(int), stops, strict=True):
        assert len(packet.payload) == n_bytes
        part = slice(stop - packet.n_frames, stop)
        payload = codec.model.coder.encode(z[..., part], bands[..., part], int(n_bytes), beam=1)
        same += payload == packet.payload
    assert same >= 0.9 * len(sent)  # two codes may be equally near


@pytest.mark.parametrize("carry", [False, True])
def test_what_a_packet_leaves_is_carried_on_request(codec: Codec, carry):
    """6 kbps are 8.25 bytes a frame, whatever a file would need besides."""
    info = codec.stream_info(bitrate_kbps=6, frames_per_packet=4)
    rate = eul.RateControl(info, carry=carry, in_file=False)
    assert rate.budget(4) == 33
    rate.spend(4, 10)
    assert rate.budget(4) == (56 if carry else 33)
    assert rate.budget(1, n_samples=4 * HOP) == (31 if carry else 8)  # a frame beyond the audio


def test_channels_and_rates(codec: Codec):
    wav = torch.from_numpy(speech(30_000, 48_000, 2))
    packets = send(codec, wav, n_channels=2, sample_rate=48_000, packet_frames=3)
    got, _ = receive(codec, packets, n_channels=2, sample_rate=16_000)
    assert torch.equal(got, plain(codec, packets, n_channels=2, sample_rate=16_000))


def test_an_empty_stream(codec: Codec):
    packets = send(codec, WAV[:, :0])
    assert len(packets) == 1 and len(packets[0]) == HEADER_SIZE + 1
    wav, decoder = receive(codec, packets)
    assert wav.shape == (1, 0) and decoder.ended


@pytest.mark.parametrize(
    "options",
    [
        dict(packet_frames=0),
        dict(packet_frames=65),
        dict(redundancy=-1),
        dict(redundancy=1 << 16),
        dict(first_sequence=-1),
        dict(bitrate_kbps=0.5),
    ],
)
def test_impossible_senders(codec: Codec, options):
    with pytest.raises(ConfigError, match=f"{next(iter(options)).split('_')[0]}.* from |1 to 16"):
        PacketEncoder(codec, **options)


# --- order


@settings(quick, max_examples=6)
@given(
    seed=SEEDS,
    depth=st.integers(0, 6),
    size=st.sampled_from([1, 3, 4]),
    first=st.sampled_from([0, 65_520, 65_535]),
    block=st.sampled_from([2, 24]),
)
def test_any_order_within_the_depth_gives_the_plain_stream(
    codec: Codec, seed, depth, size, first, block
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
    wav, decoder = receive(codec, arriving, depth=depth, block_frames=block)
    assert torch.equal(wav, plain(codec, packets, block_frames=block))
    stats = decoder.stats
    assert stats.received == len(arriving) and stats.duplicates == len(arriving) - len(packets)
    assert (stats.late, stats.lost, stats.concealed, stats.rejected) == (0, 0, 0, 0)
    assert decoder.ended and decoder.first_frame == 0


@pytest.mark.parametrize("depth", [0, 2])
def test_what_is_in_order_is_not_held(codec: Codec, depth):
    decoder = PacketDecoder(codec, depth=depth, block_frames=1)
    for k, packet in enumerate(send(codec)[:-1]):
        decoder.push(packet)
        assert decoder.n_frames == 4 * (k + 1)


# --- loss


@quick
@given(
    seed=SEEDS,
    rate=st.sampled_from([0.1, 0.4]),
    depth=st.integers(0, 4),
    size=st.sampled_from([1, 2, 4]),
)
def test_loss_is_concealed_where_it_is(codec: Codec, seed, rate, depth, size):
    """What is given up equals the lost frames of a plain stream, and time is kept."""
    packets = send(codec, packet_frames=size)
    lost = uniform_loss(len(packets), rate, seed)
    lost[0] = False
    order = [k for k in reorder(len(packets), depth, seed + 1) if not lost[k]]
    wav, decoder = receive(codec, [packets[k] for k in order], N_FRAMES, depth=depth)
    spans = [(size * k, size * (k + 1)) for k in np.flatnonzero(lost)]
    assert torch.equal(wav, plain(codec, packets, *spans))
    n_lost = sum(min(b, N_FRAMES) - a for a, b in spans)
    assert decoder.stats.concealed == n_lost and decoder.stats.late == 0


def test_late_packets_change_nothing(codec: Codec):
    packets = send(codec)
    order = [0, 1, 3, 4, 5, 6, 2, *range(7, len(packets))]
    wav, decoder = receive(codec, [packets[k] for k in order], depth=2)
    assert torch.equal(wav, plain(codec, packets, (8, 12)))
    assert (decoder.stats.late, decoder.stats.lost, decoder.stats.concealed) == (1, 1, 4)


def test_redundancy_repairs_a_single_loss(codec: Codec, whole):
    """The lost packet is what the next one repeats of it; of a burst only its last packet."""
    packets, lost = send(codec, redundancy=16), {3, 8, 9}
    wav, decoder = receive(codec, [p for k, p in enumerate(packets) if k not in lost], depth=0)

    def repaired(frames, decoder):
        for k in (3, 9):
            repeated = parse_packet(packets[k + 1]).redundant
            assert repeated == parse_packet(packets[k]).payload[:16]
            part = decoder.frames(eul.Packet(0, 0, 4, repeated))
            frames[..., 4 * k : 4 * k + 4] = part
        return frames

    assert torch.equal(wav, plain(codec, packets, (32, 36), change=repaired))
    assert (decoder.stats.repaired, decoder.stats.concealed) == (8, 4)
    assert torch.equal(receive(codec, packets)[0], whole)


def test_a_sender_may_change_its_bitrate(codec: Codec):
    """The receiver knows none."""
    low, high = (send(codec, bitrate_kbps=kbps) for kbps in (2, 12))
    mixed = [*low[:5], *high[5:9], *low[9:]]
    assert torch.equal(receive(codec, mixed)[0], plain(codec, mixed))


def test_a_player_with_a_clock_asks_for_more(codec: Codec):
    """Frames that it could not wait for are concealed; what then comes for them is not played."""
    packets = send(codec)
    decoder = PacketDecoder(codec, depth=2)
    assert decoder.conceal(3).shape == (1, 0) and decoder.n_frames == 0  # nothing has begun
    parts = [decoder.push(packet) for packet in packets[:5]]
    parts.append(decoder.conceal(7))  # frames 20 to 26, all but one of two packets
    parts += [decoder.push(packet) for packet in packets[5:]]
    wav = torch.cat([*parts, decoder.flush()], 1)
    assert torch.equal(wav, plain(codec, packets, (20, 27)))
    with pytest.raises(ConfigError, match="-1 frames"):
        decoder.conceal(-1)


def test_joining_in_the_middle(codec: Codec):
    packets = send(codec)[7:]
    wav, decoder = receive(codec, [packets[1], packets[0], *packets[2:]], depth=1)
    assert decoder.first_frame == 28
    assert torch.equal(wav, plain(codec, packets))


def test_reset_starts_again(codec: Codec, whole):
    packets = send(codec, redundancy=5)
    encoder = PacketEncoder(codec, beam=1, redundancy=5)
    encoder.push(WAV[:, :5000])
    encoder.reset()
    assert [*encoder.push(WAV), *encoder.flush()] == packets
    decoder = PacketDecoder(codec)
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
    decoder = PacketDecoder(codec)
    wav, bad = [], 0
    for number, packet in enumerate(packets):
        wav.append(decoder.push(packet))
        if rng.random() < 0.3:
            broken = bytearray(packet)
            kind = rng.integers(5)
            if kind == 0:
                broken = broken[: rng.integers(HEADER_SIZE)]
            elif kind == 1:  # more bytes repeated than there are
                broken[2:4] = b"\xff\xff"
            elif kind == 2:
                broken[0] ^= 1 << rng.integers(2, 8)
            elif kind == 3:  # sound, of another place in another stream
                broken[4:10] = rng.bytes(6)
                fits = (number * 4 - int.from_bytes(broken[6:10], "big")) % 2**32
                if fits == (number - int.from_bytes(broken[4:6], "big")) % 2**16 * 4:
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
    packets = send(codec, redundancy=12)
    decoder = PacketDecoder(codec, depth=depth)
    for item in data:
        try:
            if isinstance(item, int):
                wav = decoder.push(packets[item % len(packets)])
            else:  # a sound header or less, then anything
                wav = decoder.push(packets[0][: 4 + len(item) % 9] + item)
        except PacketError:
            continue
        assert wav.isfinite().all()
    assert decoder.flush().isfinite().all()


@quick
@given(seed=SEEDS)
def test_damaged_payloads_decode_to_something(codec: Codec, seed):
    """Nothing in a payload or in what is repeated can be wrong, whatever its bytes."""
    rng = np.random.default_rng(seed)
    decoder, wav = PacketDecoder(codec, depth=0), []
    for packet in map(parse_packet, send(codec)):
        if rng.random() < 0.2:
            continue
        payload = np.frombuffer(packet.payload, np.uint8).copy()
        hit = rng.random(len(payload)) < rng.choice([0.0, 0.1, 1.0])
        payload[hit] = rng.integers(0, 256, hit.sum())
        junk = rng.bytes(rng.integers(0, 20))
        bad = replace(packet, payload=payload.tobytes() + junk, redundant=rng.bytes(16))
        wav.append(decoder.push(pack_packet(bad)))
    wav.append(decoder.flush())
    assert torch.cat(wav, 1).isfinite().all() and decoder.stats.rejected == 0


def test_packets_of_other_codes_are_refused(codec: Codec, other_weights):
    decoder = PacketDecoder(Codec.from_pretrained(other_weights))
    with pytest.raises(PacketError, match="made with the codes"):
        decoder.push(send(codec)[0])


def test_a_sender_that_starts_again_is_followed(codec: Codec):
    """The first packet of the new stream is rejected, with the second both are decoded."""
    old = send(codec)[:15]
    new = send(codec, WAV[:, : 20 * HOP], first_sequence=40_000)
    decoder = PacketDecoder(codec, depth=1)
    for packet in old:
        decoder.push(packet)
    with pytest.raises(PacketError, match="does not belong"):
        decoder.push(new[0])
    for packet in new[1:]:
        decoder.push(packet)
    assert decoder.stats.restarts == 1 and decoder.stats.concealed == 0
    assert decoder.n_frames == 60 + 21 and decoder.ended


def test_a_wrong_first_packet_is_overcome(codec: Codec):
    packets = send(codec)
    wrong = packets[0][:4] + struct.pack(">HI", 777, 12345) + packets[0][10:]
    decoder = PacketDecoder(codec)
    decoder.push(wrong)
    with pytest.raises(PacketError):
        decoder.push(packets[0])
    for packet in packets[1:]:
        decoder.push(packet)
    assert decoder.n_frames == 4 + N_FRAMES and decoder.stats.restarts == 1


@pytest.mark.parametrize("options", [dict(depth=-1), dict(depth=101), dict(depth=True)])
def test_impossible_depths(codec: Codec, options):
    with pytest.raises(ConfigError, match="depth"):
        PacketDecoder(codec, **options)


# --- the buffer alone, over long streams


def bare(number, size=2, **flags):
    frame = number * size & 0xFFFFFFFF
    return Packet(number & 0xFFFF, frame, size, size, b"", b"", b"ab", **flags)


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
