"""Streams: any chunks give the codes and the audio of the whole, to the bit; pipes; latency."""

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
from helpers.cli import live_wav, put, speech
from helpers.models import HOP, TINY, agree, build, latents, noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eulerodec import audio
from eulerodec.bitstream import EulReader, EulWriter
from eulerodec.codec import Codec
from eulerodec.codec.streaming import (
    BLOCK_FRAMES,
    LIVE_BLOCK_FRAMES,
    StreamDecoder,
    StreamEncoder,
    buffering_s,
)
from eulerodec.errors import AudioError, BitstreamError, ConfigError
from eulerodec.nn import Clock

N = 100 * HOP + 77
EDGES = [0, 1, 263, 264, 265, 528, 529, 31 * HOP, 32 * HOP, 33 * HOP]

# Chunk sizes from one sample to seconds; the list is gone through again and again.
SIZES = st.lists(
    st.one_of(st.integers(0, 3), st.integers(200, 300), st.integers(1000, 50_000)),
    min_size=1,
    max_size=6,
).filter(lambda sizes: sum(sizes) > 300 * len(sizes) or sum(sizes) > 1000)
quick = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


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


def encoded(encoder, x, sizes):
    return torch.cat([*(encoder.push(part) for part in chunks(x, sizes)), encoder.flush()], -1)


def decoded(decoder, codes, sizes, n=None):
    return torch.cat([*(decoder.push(part) for part in chunks(codes, sizes)), decoder.flush(n)], -1)


# --- any chunks


@quick
@given(sizes=SIZES, n=st.one_of(st.sampled_from(EDGES), st.integers(0, N)))
def test_codes_are_those_of_the_file_for_any_chunks(codec: Codec, sizes, n):
    x = noise(N)[0, :, :n].numpy()
    whole = codec.encode(x, 24_000, bitrate_kbps=6).codes
    encoder = codec.streaming_encoder(bitrate_kbps=6)
    assert torch.equal(encoded(encoder, x, sizes), whole)
    assert (encoder.n_samples, encoder.n_input_samples) == (n, n)
    assert whole.shape[-1] == codec.model.n_frames(n)


@quick
@given(sizes=st.lists(st.integers(1, 90), min_size=1, max_size=5), n=st.integers(0, N))
def test_audio_is_that_of_the_file_for_any_chunks(codec: Codec, sizes, n):
    file = codec.encode(noise(N)[0, :, :n], 24_000)
    stream = decoded(codec.streaming_decoder(), file.codes, sizes, n)
    assert stream.shape == (1, n) and torch.equal(stream, codec.decode(file))


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(sizes=SIZES, rate=st.sampled_from([8_000, 44_100, 48_000]), channels=st.integers(1, 3))
def test_other_rates_and_channels_too(codec: Codec, sizes, rate, channels):
    x = speech(rate // 2 + 11, rate, channels)
    whole = codec.encode(x, rate, n_codebooks=3)
    encoder = codec.streaming_encoder(n_codebooks=3, n_channels=channels, sample_rate=rate)
    assert torch.equal(encoded(encoder, x, sizes), whole.codes)
    assert (encoder.n_samples, encoder.n_input_samples) == (whole.n_samples_model, whole.n_samples)
    decoder = codec.streaming_decoder(n_codebooks=3, n_channels=channels, sample_rate=rate)
    parts = [decoder.push(part) for part in chunks(whole.codes, [7])]
    wav = torch.cat([*parts, decoder.flush(whole.n_samples_model, x.shape[1])], -1)
    assert torch.equal(wav, codec.decode(whole))


def test_one_sample_at_a_time(codec):
    x = noise(3 * HOP)[0]
    encoder = codec.streaming_encoder(block_frames=1)
    whole = codec.encode(x, 24_000, block_frames=1).codes
    assert torch.equal(encoded(encoder, x, [1]), whole)


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
    joined = np.concatenate([*parts, stream.flush()], 1)
    assert np.array_equal(joined, audio.resample(x, *rates))


# --- against the network on all frames at once

CONFIGS = {
    "tiny": {},
    "causal": dict(encoder_look_ahead=0, decoder_look_ahead=0),
    "far": dict(encoder_look_ahead=2, decoder_look_ahead=2, attention_window=(3, 2)),
    "wide": dict(kernel_size=5),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("block", [1, 7, 32])
@pytest.mark.parametrize("n", [1, HOP, 5000])
def test_stream_equals_the_plain_model(name, block, n):
    """Both ends included."""
    model = build(dataclasses.replace(TINY, **CONFIGS[name]))
    wav = noise(n, batch=2)
    codes = model.encode(wav)
    encoder = StreamEncoder(model, 12, n_channels=2, block_frames=block)
    stream = encoded(encoder, wav[:, 0], [999])
    assert agree(stream, codes)
    decoder = StreamDecoder(model, 12, n_channels=2, block_frames=block)
    wav = decoded(decoder, codes, [10], n)
    assert torch.allclose(wav, model.decode(codes, n)[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("block", [1, 3, 16])
def test_latents_in_blocks_are_those_of_the_whole(tiny, block):
    """Unquantised, late by the look-ahead, nothing before the start or after the end."""
    wav = noise(40 * HOP)
    spec = tiny.stft.analysis(wav[:, 0])
    frames, late = spec.shape[-1], tiny.encoder.look_ahead
    blocks = -(-(frames + late) // block)
    padded = torch.nn.functional.pad(spec, (0, blocks * block - frames))
    clock = Clock(end=frames)
    state = tiny.encoder.start(clock)
    parts = []
    with torch.no_grad():
        for part in padded.split(block, -1):
            parts.append(tiny.encoder(part, state))
            clock.start += block
    z = torch.cat(parts, -1)[..., late : late + frames]
    assert torch.allclose(z, latents(tiny, wav), rtol=1e-4, atol=1e-6)


def test_beam_search_in_a_stream(codec):
    x = noise(5000)[0]
    whole = codec.encode(x, 24_000, beam=4)
    stream = encoded(codec.streaming_encoder(beam=4), x, [700])
    assert torch.equal(stream, whole.codes)
    assert agree(stream, codec.model.encode(x[None], 6, 4))
    assert not torch.equal(stream, codec.encode(x, 24_000, beam=1).codes)


def test_a_stream_leaves_nothing_in_the_model():
    """Weights that a stream has prepared stay with it: training computes with what it has."""
    model = build(seed=5)
    encoder = StreamEncoder(model, 12)
    wav = noise(3000)
    before = encoded(encoder, wav[0], [3000])
    assert agree(before, model.encode(wav))
    assert not any("_prepared" in vars(module) for module in model.modules())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    after = model.encode(wav)
    assert not agree(before, after)
    assert agree(encoded(StreamEncoder(model, 12), wav[0], [3000]), after)


# --- reset, flush, errors


def test_reset_forgets_everything(codec):
    x = noise(9000)[0]
    encoder, decoder = codec.streaming_encoder(), codec.streaming_decoder()
    first = encoded(encoder, x, [500])
    audio_first = decoded(decoder, first, [3])
    for ended in (True, False):
        encoder.reset()
        decoder.reset()
        if ended:
            assert torch.equal(encoded(encoder, x, [777]), first)
            assert torch.equal(decoded(decoder, first, [5]), audio_first)
        else:  # in the middle of a stream
            encoder.push(x[:, :5000])
            decoder.push(first[..., :20])
    encoder.reset()
    decoder.reset()
    assert torch.equal(encoded(encoder, x, [9000]), first)
    assert torch.equal(decoded(decoder, first, [90]), audio_first)


def test_after_flush_only_reset_goes_on(codec):
    encoder, decoder = codec.streaming_encoder(), codec.streaming_decoder()
    assert encoder.flush().shape == (1, 6, 0) and decoder.flush().shape == (1, 0)
    for call in (encoder.flush, decoder.flush, lambda: encoder.push(np.zeros(3))):
        with pytest.raises(ConfigError, match="reset"):
            call()
    encoder.reset()
    assert encoder.push(np.zeros(3)).shape == (1, 6, 0)


def test_length_is_that_of_the_frames_if_not_said(codec):
    codes = codec.encode(noise(10 * HOP)[0], 24_000).codes
    assert codes.shape[-1] == 11
    wav = decoded(codec.streaming_decoder(), codes, [4])
    assert wav.shape == (1, 10 * HOP)


@pytest.mark.parametrize("bad", [np.full(9, np.nan), np.zeros((2, 9)), np.zeros(9, np.int16)])
def test_a_chunk_that_cannot_be_coded_changes_nothing(codec, bad):
    x = noise(5000)[0]
    encoder = codec.streaming_encoder()
    parts = [encoder.push(x[:, :2000])]
    with pytest.raises(AudioError):
        encoder.push(bad)
    parts += [encoder.push(x[:, 2000:]), encoder.flush()]
    assert torch.equal(torch.cat(parts, -1), codec.encode(x, 24_000).codes)


@pytest.mark.parametrize("bad", [torch.full((1, 6, 2), 2048), torch.zeros(1, 5, 2).long()])
def test_codes_that_do_not_fit(codec, bad):
    with pytest.raises(BitstreamError):
        codec.streaming_decoder().push(bad)
    with pytest.raises(BitstreamError, match="do not hold"):
        codec.streaming_decoder().flush(1)


@pytest.mark.parametrize(
    "options", [dict(block_frames=0), dict(n_channels=0), dict(n_channels=300)]
)
def test_impossible_options(codec, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        codec.streaming_encoder(**options)


def test_the_callers_memory_may_be_used_again(codec):
    x = noise(3000)[0].numpy()
    encoder = codec.streaming_encoder()
    parts = []
    buffer = np.zeros((1, 100), np.float32)
    for part in chunks(x, [100]):
        buffer[:] = part
        parts.append(encoder.push(buffer))
    parts.append(encoder.flush())
    assert torch.equal(torch.cat(parts, -1), codec.encode(x, 24_000).codes)


# --- latency


@pytest.mark.parametrize("name", ["tiny", "causal", "far"])
def test_one_future_sample_changes_nothing_before_its_look_ahead(name):
    """Unquantised, so that a change cannot hide in the same code."""
    model = build(dataclasses.replace(TINY, **CONFIGS[name]), seed=1)
    wav, at = noise(60 * HOP), 41 * HOP - 1  # the last sample of a block
    changed = wav.clone()
    changed[..., at] += 1e6
    with torch.no_grad():
        a, b = (model(x, quantize=False).audio[0, 0] for x in (wav, changed))
    # that the bound is exact, the gradient shows in test_model
    assert torch.allclose(a[: at - model.look_ahead], b[: at - model.look_ahead], rtol=0, atol=1e-6)
    assert (a - b)[at - HOP : at + HOP].abs().max() > 1.0
    assert model.look_ahead < model.receptive_field


@pytest.mark.parametrize("block", [1, 2, 5, 32])
def test_a_stream_is_never_later_than_its_latency_says(tiny, block):
    """Samples given out against samples taken in, after every hop."""
    wav = noise((50 + 3 * block) * HOP)[0]
    encoder = StreamEncoder(tiny, 12, block_frames=block)
    decoder = StreamDecoder(tiny, 12, block_frames=block)
    allowed = round((tiny.latency_s + buffering_s(tiny, block)) * 24_000)
    given_out, latest = 0, 0
    for k, part in enumerate(chunks(wav, [HOP])):
        # the oldest sample that was not out yet before this hop came
        new = decoder.push(encoder.push(part)).shape[-1]
        if new:
            latest = max(latest, (k + 1) * HOP - given_out)
        given_out += new
    assert latest == allowed
    assert buffering_s(tiny, 1) == 0.0


def test_info_tells_the_latency(codec):
    info = codec.info
    assert info.latency_ms == pytest.approx((codec.model.look_ahead + 1) / 24)
    assert info.look_ahead_ms < info.latency_ms < info.receptive_field_ms
    assert info.buffering_ms > 0 and info.block_frames == BLOCK_FRAMES


# --- files and pipes


@pytest.mark.usefixtures("here")
def test_a_pipe_is_live(weights, codec: Codec):
    """Half of a stream goes in and stays open: packets and audio come out all the same."""
    command = [sys.executable, "-m", "eulerodec"]
    tail = ["-", "-o", "-", "--weights", str(weights)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    first = subprocess.Popen([*command, "encode", *tail], **pipes)
    second = subprocess.Popen([*command, "decode", *tail], **pipes)

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
    blocks = {"block_frames": LIVE_BLOCK_FRAMES}
    expected = codec.decode(codec.encode(x, 24_000, **blocks), **blocks)[0].numpy()
    assert np.array_equal(got, np.clip(np.rint(expected * 32768), -32768, 32767))


@pytest.mark.usefixtures("here")
def test_a_live_stream_can_be_read_up_to_its_last_packet(codec: Codec):
    encoder = codec.streaming_encoder()
    sink = io.BytesIO()
    writer = EulWriter(sink, codec.stream_info(6, frames_per_packet=16))
    writer.write(encoder.push(speech(48_000)).numpy())
    reader = EulReader(io.BytesIO(sink.getvalue()), recover=True)
    codes = reader.read_all()
    assert codes.shape[-1] >= 48_000 // HOP - BLOCK_FRAMES - 16 - codec.model.encoder.look_ahead
    whole = codec.encode(speech(48_000), 24_000).codes
    assert np.array_equal(codes, whole[..., : codes.shape[-1]].numpy())


@pytest.mark.usefixtures("here")
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads Linux's /proc")
def test_memory_does_not_grow_with_the_file(w):
    """Peak resident memory after files of 30 s, and of ten times that."""
    code = """if True:
        import re, sys
        from eulerodec.cli import main
        for seconds in (30, 300):
            for argv in (["encode", f"{seconds}.wav", "-o", "a.eul", "--bitrate", "1"],
                         ["decode", "a.eul", "-o", "b.wav"]):
                assert main([*argv, *sys.argv[1:]]) == 0
            status = open("/proc/self/status").read()
            print(re.search(r"VmHWM:\\s*(\\d+)", status)[1])
    """
    for seconds in (30, 300):
        put(f"{seconds}.wav", seconds * 24_000)
    command = [sys.executable, "-c", code, *w]
    done = subprocess.run(command, capture_output=True, check=True)
    short, long = map(int, done.stdout.split())
    # kB; 270 s of float samples alone are 26 MB, and allocators settle late, with steps of 13 MB
    assert long - short < 20_000
