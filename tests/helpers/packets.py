"""Packets for tests: any there could be, and those of a signal, sent and received."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from eulerodec import bitstream as eul
from eulerodec.codec.streaming import LIVE_BLOCK_FRAMES
from eulerodec.packets import Packet, PacketDecoder, PacketEncoder, parse_packet

from .concealment import lose, play
from .models import HOP, noise

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
