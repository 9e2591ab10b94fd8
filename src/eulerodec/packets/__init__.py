"""Streams over a network that loses, repeats and reorders packets; see ``docs/packets.md``.

>>> sender = PacketEncoder(codec, bitrate_kbps=6)  # doctest: +SKIP
>>> receiver = PacketDecoder(codec, depth=2)  # doctest: +SKIP
>>> for chunk in microphone:  # doctest: +SKIP
...     for packet in sender.push(chunk):
...         play(receiver.push(packet))
"""

from __future__ import annotations

from .jitter import JitterBuffer, ReceiverStats
from .receiver import PacketDecoder
from .sender import DEFAULT_PACKET_FRAMES, PacketEncoder
from .simulate import burst_loss, gilbert_elliott, reorder, uniform_loss
from .wire import HEADER_SIZE, MAX_FRAMES, Packet, cut_packet, pack_packet, parse_packet

__all__ = [
    "DEFAULT_PACKET_FRAMES",
    "HEADER_SIZE",
    "MAX_FRAMES",
    "JitterBuffer",
    "Packet",
    "PacketDecoder",
    "PacketEncoder",
    "ReceiverStats",
    "burst_loss",
    "cut_packet",
    "gilbert_elliott",
    "pack_packet",
    "parse_packet",
    "reorder",
    "uniform_loss",
]
