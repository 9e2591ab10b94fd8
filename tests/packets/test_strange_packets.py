"""Packets of any bytes, of other streams and other codes, between the good ones."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.models import HOP
from helpers.packets import N_FRAMES, SEEDS, WAV, plain, quick, send
from hypothesis import given
from hypothesis import strategies as st

from eulerodec import Codec, PacketError
from eulerodec.packets import HEADER_SIZE, PacketDecoder, pack_packet, parse_packet


@pytest.fixture(scope="module")
def whole(codec: Codec):
    return plain(codec, send(codec))


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
