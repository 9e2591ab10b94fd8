"""What is sent: the same for any chunks, and each packet its share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.cli import speech
from helpers.models import HOP, without_offset
from helpers.packets import WAV, plain, receive, send

from eulerodec import Codec, ConfigError
from eulerodec import bitstream as eul
from eulerodec.packets import HEADER_SIZE, PacketEncoder, parse_packet


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
