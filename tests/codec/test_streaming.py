"""Streams: any chunks give the packets and the audio of the whole, to the bit; pipes; latency."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from helpers.cli import live_wav, speech
from helpers.models import HOP, TINY, agree, build, noise, without_offset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eulerodec import audio
from eulerodec.bitstream import EulReader, EulWriter, Packet
from eulerodec.codec import Codec
from eulerodec.codec.encoded import Encoded
from eulerodec.codec.streaming import LIVE_BLOCK_FRAMES, LIVE_PACKET_FRAMES
from eulerodec.errors import AudioError, BitstreamError, ConfigError, WeightsError
from eulerodec.model import joined

N = 100 * HOP + 77
EDGES = [0, 1, 263, 264, 265, 528, 529, 23 * HOP, 24 * HOP, 24 * HOP + 1, 25 * HOP]

# Chunk sizes from one sample to seconds; the list is gone through again and again.
SIZES = st.lists(
    st.one_of(st.integers(0, 3), st.integers(200, 300), st.integers(1000, 50_000)),
    min_size=1,
    max_size=6,
).filter(lambda sizes: sum(sizes) > 300 * len(sizes) or sum(sizes) > 1000)
quick = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
LIVE = dict(frames_per_packet=LIVE_PACKET_FRAMES)


@pytest.fixture(scope="module")
def tiny():
    return build()


def chunks(x, sizes):
    """``x`` along its last axis in pieces of ``sizes``, repeated as often as needed."""
    at = k = 0
    while at < x.shape[-1]:
        size = sizes[k % len(sizes)]
        yield x[..., at : at + size]
        at, k = at + size, k + 1


def encoded(encoder, x, sizes) -> list[Packet]:
    packets = []
    for part in chunks(x, sizes):
        packets += encoder.push(part)
    return packets + encoder.flush()


def decoded(decoder, packets, sizes=(1,), n=None, n_output=None):
    """The packets pushed in groups of so many."""
    parts, at, k = [], 0, 0
    while at < len(packets):
        size = sizes[k % len(sizes)]
        parts.append(decoder.push(packets[at : at + size]))
        at, k = at + size, k + 1
    return torch.cat([*parts, decoder.flush(n, n_output)], 1)


# --- any chunks


@quick
@given(
    sizes=SIZES,
    n=st.one_of(st.sampled_from(EDGES), st.integers(0, N)),
    frames=st.sampled_from([1, 7, 24, 92]),
    options=st.sampled_from([{}, dict(bitrate_kbps=2.7), dict(n_codebooks=4)]),
)
def test_packets_are_those_of_the_file_for_any_chunks(codec: Codec, sizes, n, frames, options):
    """To the byte. (For a name of up to 14 bytes; the counts of an open header take more.)"""
    x = noise(N)[0, :, :n].numpy()
    options = dict(frames_per_packet=frames, beam=1) | options
    whole = codec.encode(x, 24_000, **options)
    encoder = codec.streaming_encoder(**options)
    packets = encoded(encoder, x, sizes)
    assert tuple(packets) == whole.packets
    assert (encoder.n_samples, encoder.n_input_samples) == (n, n)
    assert whole.n_frames == codec.model.n_frames(n)
    encoder.reset()
    assert encoded(encoder, x, [N]) == packets


@quick
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), n=st.integers(0, N))
def test_audio_is_that_of_the_file_for_any_chunks(codec: Codec, sizes, n):
    file = codec.encode(noise(N)[0, :, :n], 24_000, frames_per_packet=5, beam=1)
    stream = decoded(codec.streaming_decoder(file.info), file.packets, sizes, n)
    assert stream.shape == (1, n)
    assert torch.equal(stream, codec.decode(file, block_frames=LIVE_BLOCK_FRAMES))
    assert torch.allclose(stream, codec.decode(file), rtol=0, atol=1e-5)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(sizes=SIZES, rate=st.sampled_from([8_000, 44_100, 48_000]), channels=st.integers(1, 3))
def test_other_rates_and_channels_too(codec: Codec, sizes, rate, channels):
    x = speech(rate // 2 + 11, rate, channels)
    whole = codec.encode(x, rate, bitrate_kbps=3, **LIVE)
    encoder = codec.streaming_encoder(bitrate_kbps=3, n_channels=channels, sample_rate=rate)
    packets = encoded(encoder, x, sizes)
    assert tuple(packets) == whole.packets
    assert (encoder.n_samples, encoder.n_input_samples) == (whole.n_samples_model, whole.n_samples)
    assert encoder.info.n_samples is None  # what a live header leaves open
    decoder = codec.streaming_decoder(encoder.info)
    wav = decoded(decoder, packets, [1], whole.n_samples_model, x.shape[1])
    assert torch.equal(wav, codec.decode(whole, block_frames=LIVE_BLOCK_FRAMES))


def test_one_sample_at_a_time(codec):
    x = noise(3 * HOP)[0]
    whole = codec.encode(x, 24_000, frames_per_packet=1, bitrate_kbps=16)
    encoder = codec.streaming_encoder(frames_per_packet=1, bitrate_kbps=16)
    assert tuple(encoded(encoder, x, [1])) == whole.packets


@quick
@given(
    rates=st.sampled_from([(44_100, 24_000), (24_000, 44_100), (8_000, 24_000), (24_000, 24_000)]),
    n=st.integers(0, 20_000),
    sizes=SIZES,
)
def test_resampling_in_chunks_is_resampling(rates, n, sizes):
    x = speech(n, 24_000, 2)
    stream = audio.Resampler(*rates, 2)
    parts = [stream.push(part) for part in chunks(x, sizes)]
    joined_parts = np.concatenate([*parts, stream.flush()], 1)
    assert np.array_equal(joined_parts, audio.resample(x, *rates))


# --- against the network on all frames at once

CONFIGS = {
    "tiny": {},
    "causal": dict(decoder_look_ahead=0),
    "far": dict(decoder_look_ahead=2, attention_window=(3, 2)),
    "wide": dict(kernel_size=5),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("size", [1, 7, 32])
@pytest.mark.parametrize("n", [1, HOP, 5000])
def test_stream_equals_the_plain_model(name, size, n):
    """Both ends included; packets and blocks of ``size`` frames."""
    model = build(dataclasses.replace(TINY, **CONFIGS[name]))
    codec, coder = Codec(model), model.coder
    wav = noise(n, batch=2)
    encoder = codec.streaming_encoder(n_codebooks=9, n_channels=2, frames_per_packet=size)
    packets = encoded(encoder, wav[:, 0], [999])
    codes = Encoded(packets, encoder.info).codes
    with torch.inference_mode():
        z, bands = model.analysis(without_offset(wav, size))
        plain, found = [], []
        for part in zip(z.split(size, -1), bands.split(size, -1), strict=True):
            found.append(coder.encode_constant(*part, 9))
        for packet, constant in zip(packets, found, strict=True):
            ours = codes[..., packet.start_frame : packet.stop_frame].numpy()
            plain.append(coder.decode_constant(dataclasses.replace(constant, codes=ours)))
        expected = model.stft.synthesis(model.decoder(joined(plain)), n)
    assert agree(codes, torch.from_numpy(np.concatenate([c.codes for c in found], 2)))
    decoder = codec.streaming_decoder(encoder.info, block_frames=size)
    assert torch.allclose(decoded(decoder, packets, [3], n), expected, rtol=0, atol=1e-5)


def test_beam_search_in_a_stream(codec):
    x = noise(5000)[0]
    whole = codec.encode(x, 24_000, beam=4, **LIVE)
    assert tuple(encoded(codec.streaming_encoder(beam=4), x, [700])) == whole.packets
    assert whole != codec.encode(x, 24_000, beam=1, **LIVE)


def test_a_stream_leaves_nothing_in_the_model():
    """Weights that a stream has prepared stay with it: training computes with what it has."""
    model = build(seed=5)
    codec = Codec(model)
    wav = noise(3000)[0]
    before = encoded(codec.streaming_encoder(), wav, [3000])
    heard = codec.decode(codec.encode(wav, 24_000))
    assert not any("_prepared" in vars(module) for module in model.modules())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    after = encoded(codec.streaming_encoder(), wav, [3000])
    assert after != before and tuple(after) == codec.encode(wav, 24_000, **LIVE).packets
    assert not torch.allclose(codec.decode(codec.encode(wav, 24_000)), heard, rtol=0, atol=1e-3)


# --- reset, flush, errors


def test_reset_forgets_everything(codec):
    x = noise(16_000)[0]
    encoder = codec.streaming_encoder()
    decoder = codec.streaming_decoder(encoder.info)
    first = encoded(encoder, x, [500])
    audio_first = decoded(decoder, first)
    for ended in (True, False):
        encoder.reset()
        decoder.reset()
        if ended:
            assert encoded(encoder, x, [777]) == first
            assert torch.equal(decoded(decoder, first, [2]), audio_first)
        else:  # in the middle of a stream
            encoder.push(x[:, :9000])
            decoder.push([first[0], dataclasses.replace(first[1], payload=None)])
    encoder.reset()
    decoder.reset()
    assert encoded(encoder, x, [16_000]) == first
    assert torch.equal(decoded(decoder, first, [90]), audio_first)


def test_after_flush_only_reset_goes_on(codec):
    encoder = codec.streaming_encoder()
    decoder = codec.streaming_decoder(encoder.info)
    assert encoder.flush() == [] and decoder.flush().shape == (1, 0)
    for call in (
        encoder.flush,
        decoder.flush,
        lambda: encoder.push(np.zeros(3)),
        lambda: decoder.push(Packet(0, 0, 1, b"")),
    ):
        with pytest.raises(ConfigError, match="reset"):
            call()
    encoder.reset()
    assert encoder.push(np.zeros(3)) == []


def test_length_is_that_of_the_frames_if_not_said(codec):
    file = codec.encode(noise(10 * HOP)[0], 24_000, frames_per_packet=4)
    assert file.n_frames == 11
    wav = decoded(codec.streaming_decoder(file.info), file.packets)
    assert wav.shape == (1, 10 * HOP)


@pytest.mark.parametrize("bad", [np.full(9, np.nan), np.zeros((2, 9)), np.zeros(9, np.int16)])
def test_a_chunk_that_cannot_be_coded_changes_nothing(codec, bad):
    x = noise(9000)[0]
    encoder = codec.streaming_encoder()
    packets = encoder.push(x[:, :2000])
    with pytest.raises(AudioError):
        encoder.push(bad)
    packets += encoder.push(x[:, 2000:]) + encoder.flush()
    assert tuple(packets) == codec.encode(x, 24_000, **LIVE).packets


def test_packets_that_do_not_fit(codec, other_weights):
    tokens = codec.encode(noise(9000)[0], 24_000, n_codebooks=6, **LIVE)
    decoder = codec.streaming_decoder(tokens.info)
    first, second = tokens.packets
    start = decoder.push(first)
    with pytest.raises(BitstreamError, match="need"):  # the stream is then as before
        decoder.push([second, dataclasses.replace(second, payload=second.payload[:-2])])
    wav = torch.cat([start, decoder.push(second), decoder.flush(9000)], 1)
    assert torch.equal(wav, codec.decode(tokens, block_frames=LIVE_BLOCK_FRAMES))
    with pytest.raises(BitstreamError, match="0 frames do not hold 1 samples"):
        codec.streaming_decoder(tokens.info).flush(1)
    with pytest.raises(WeightsError, match="made with the codes"):
        codec.streaming_decoder(Codec.from_pretrained(other_weights).stream_info())


@pytest.mark.parametrize(
    "options", [dict(frames_per_packet=300), dict(n_channels=0), dict(n_channels=300)]
)
def test_impossible_options(codec, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        codec.streaming_encoder(**options)


def test_the_callers_memory_may_be_used_again(codec):
    x = noise(9000)[0].numpy()
    encoder = codec.streaming_encoder()
    packets = []
    buffer = np.zeros((1, 100), np.float32)
    for part in chunks(x, [100]):
        buffer[:] = part
        packets += encoder.push(buffer)
    packets += encoder.flush()
    assert tuple(packets) == codec.encode(x, 24_000, **LIVE).packets


# --- lost packets


@pytest.mark.parametrize("options", [{}, dict(n_codebooks=5)])
@pytest.mark.parametrize("block", [1, 24, 64])
def test_lost_packets_are_concealed_and_keep_the_time(codec, options, block):
    file = codec.encode(speech(30_000, channels=2), 24_000, frames_per_packet=10, **options)
    gone = {3, 4, 11}  # the last packet too
    lost = [dataclasses.replace(p, payload=None) if p.index in gone else p for p in file.packets]
    assert len(file.packets) == 12
    decoder = codec.streaming_decoder(file.info, block_frames=block)
    wav, good = decoded(decoder, lost, [1], 30_000), codec.decode(file)
    assert wav.shape == good.shape and bool(wav.isfinite().all())
    whole = codec.decode(dataclasses.replace(file, packets=lost), block_frames=block)
    assert torch.equal(wav, whole)
    ahead, back = codec.model.decoder.look_ahead + 1, codec.model.decoder.look_back + 2
    sound = [(0, 30 - ahead), (50 + back, 110 - ahead)]  # frames
    for start, stop in sound:
        span = slice(start * HOP, stop * HOP)
        assert torch.allclose(wav[:, span], good[:, span], rtol=0, atol=1e-5)
    gap = slice(30 * HOP, 32 * HOP)
    assert wav[:, gap].norm() > 0.1 * good[:, gap].norm()
    assert not torch.allclose(wav[:, gap], good[:, gap], rtol=0, atol=1e-3)


# --- latency


@pytest.mark.parametrize("name", ["tiny", "causal", "far"])
def test_one_future_sample_changes_nothing_before_its_look_ahead(name):
    """Unquantised, so that a change cannot hide in the same code."""
    model = build(dataclasses.replace(TINY, **CONFIGS[name]), seed=1)
    wav, at = noise(60 * HOP), 41 * HOP - 1  # the last sample of a block
    changed = wav.clone()
    changed[..., at] += 1e6
    with torch.no_grad():
        a, b = (model(x).audio[0, 0] for x in (wav, changed))
    # that the bound is exact, the gradient shows in test_model
    assert torch.allclose(a[: at - model.look_ahead], b[: at - model.look_ahead], rtol=0, atol=1e-6)
    assert (a - b)[at - HOP : at + HOP].abs().max() > 1.0
    assert model.look_ahead < model.receptive_field


@pytest.mark.parametrize("name", ["tiny", "causal", "far"])
@pytest.mark.parametrize(("frames", "block"), [(1, 1), (6, 1), (6, 3), (24, 24)])
def test_a_stream_is_never_later_than_its_latency_says(name, frames, block):
    """Samples given out against samples taken in, after every hop.

    A packet's duration and ``latency_s``; less a hop, as a packet and a hop of audio end together.
    """
    model = build(dataclasses.replace(TINY, **CONFIGS[name]))
    codec = Codec(model)
    wav = noise((50 + 3 * frames) * HOP)[0]
    encoder = codec.streaming_encoder(frames_per_packet=frames, beam=1)
    decoder = codec.streaming_decoder(encoder.info, block_frames=block)
    given_out, latest = 0, 0
    for k, part in enumerate(chunks(wav, [HOP])):
        # the oldest sample that was not out yet before this hop came
        new = decoder.push(encoder.push(part)).shape[-1]
        if new:
            latest = max(latest, (k + 1) * HOP - given_out)
        given_out += new
    assert latest == frames * HOP + round(model.latency_s * 24_000) - HOP


def test_info_tells_the_latency(codec):
    info = codec.info
    assert info.latency_ms == pytest.approx((codec.model.look_ahead + 1) / 24)
    assert info.look_ahead_ms < info.latency_ms < info.receptive_field_ms
    assert info.live_packet_ms == pytest.approx(24 * 264 / 24) and info.packet_ms > 1000


# --- files and pipes


def test_a_pipe_is_live(weights, codec: Codec):
    """Half of a stream goes in and stays open: packets and audio come out all the same."""
    code = "import sys; from eulerodec import Codec; c = Codec.from_pretrained(sys.argv[1]); "
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", f"{code}c.{method}('-', '-')", str(weights)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        for method in ("encode_file", "decode_file")
    )

    def carry():
        while part := first.stdout.read1(1 << 16):
            second.stdin.write(part)
            second.stdin.flush()
        second.stdin.close()

    courier = threading.Thread(target=carry)
    courier.start()
    data = live_wav(speech(96_000), 0xFFFFFFFF)
    first.stdin.write(data[:100_000])
    first.stdin.flush()
    early = second.stdout.read(44 + 40_000)  # it would wait for ever if nothing came
    assert len(early) == 44 + 40_000 and first.poll() is None
    assert early[40:44] == b"\xff\xff\xff\xff"
    first.stdin.write(data[100_000:])
    first.stdin.close()
    rest = second.stdout.read()
    courier.join()
    assert first.wait() == second.wait() == 0
    for process in (first, second):
        process.stdout.close()
    got = np.frombuffer((early + rest)[44:], "<i2")
    x = (np.round(speech(96_000) * 32767) / 32768).astype(np.float32)
    file = codec.encode(x, 24_000, **LIVE)
    expected = codec.decode(file, block_frames=LIVE_BLOCK_FRAMES)[0].numpy()
    assert np.array_equal(got, np.clip(np.rint(expected * 32768), -32768, 32767))


def test_a_live_stream_can_be_read_up_to_its_last_packet(codec: Codec):
    encoder = codec.streaming_encoder(frames_per_packet=16)
    sink = io.BytesIO()
    writer = EulWriter(sink, encoder.info)
    for packet in encoder.push(speech(48_000)):
        writer.write(packet.payload, packet.n_frames)
    packets = list(EulReader(io.BytesIO(sink.getvalue()), recover=True).packets())
    assert len(packets) == 48_000 // (16 * HOP)
    whole = codec.encode(speech(48_000), 24_000, frames_per_packet=16)
    assert packets == list(whole.packets[: len(packets)])
    part = Encoded.from_bytes(sink.getvalue(), recover=True)
    wav = codec.decode(part)
    # its last frame lacks its partner, those before it what the decoder looks ahead
    n = (16 * len(packets) - 1 - codec.model.decoder.look_ahead) * HOP
    assert torch.allclose(wav[:, :n], codec.decode(whole)[:, :n], rtol=0, atol=1e-5)
