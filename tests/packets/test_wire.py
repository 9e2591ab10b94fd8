"""Bytes of a packet, and cutting them on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.packets import packets_of_any_kind
from hypothesis import given, settings
from hypothesis import strategies as st

from eulerodec import ConfigError, PacketError
from eulerodec.packets import HEADER_SIZE, Packet, cut_packet, pack_packet, parse_packet


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
