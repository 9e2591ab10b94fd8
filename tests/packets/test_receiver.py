"""Packets in any order within the depth, lost, cut, late: what comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.packets import N_FRAMES, SEEDS, WAV, plain, quick, receive, send
from hypothesis import given, settings
from hypothesis import strategies as st

from eulerodec import Codec, ConfigError
from eulerodec import bitstream as eul
from eulerodec.packets import (
    HEADER_SIZE,
    PacketDecoder,
    PacketEncoder,
    cut_packet,
    parse_packet,
    reorder,
    uniform_loss,
)


@pytest.fixture(scope="module")
def whole(codec: Codec):
    return plain(codec, send(codec))


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


@pytest.mark.parametrize("options", [dict(depth=-1), dict(depth=101), dict(depth=True)])
def test_impossible_depths(codec: Codec, options):
    with pytest.raises(ConfigError, match="depth"):
        PacketDecoder(codec, **options)
