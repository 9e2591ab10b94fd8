"""The codec's promises: exact lengths and bitrates, tokens, weights.  Streams: the other file."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.code_tables import n_codes
from helpers.models import HOP, agree, build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import eulerodec
from eulerodec import audio
from eulerodec.bitstream import EulReader, EulWriter, lower_rate, read
from eulerodec.codec import Codec
from eulerodec.codec.encoded import LOST, USUAL_LEVEL, Encoded
from eulerodec.codec.weights import DEFAULT_WEIGHTS, find_weights, load_weights
from eulerodec.errors import AudioError, BitstreamError, ConfigError, WeightsError
from eulerodec.metrics import si_sdr
from eulerodec.model import joined
from eulerodec.samples import SAMPLE

quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def noise(n: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((channels, n))).astype(np.float32)


def centred(x: np.ndarray, n_frames: int) -> np.ndarray:
    """``x`` without the mean of any packet: the encoder has no offset to take off."""
    starts = range(0, x.shape[-1], n_frames * HOP)
    parts = [x[..., k : k + n_frames * HOP] for k in starts]
    return np.concatenate([part - part.mean(-1, keepdims=True) for part in parts], -1)


@pytest.fixture(scope="module")
def released() -> Codec:
    return Codec.from_pretrained()


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    """6.2 s of speech, [1, N] at 24 kHz."""
    return audio.read(SAMPLE)[0]


# --- lengths and shapes


@quick
@given(
    n=st.one_of(st.sampled_from([0, 1, 2, 263, 264, 265, 527, 528, 529]), st.integers(0, 4000)),
    rate=st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 192_000]),
    channels=st.sampled_from([1, 2, 6]),
)
def test_length_is_exact_through_bytes(codec: Codec, n, rate, channels):
    data = codec.compress(noise(n, channels), rate, 2)
    wav, got = codec.decompress(data)
    assert wav.shape == (channels, n) and wav.dtype == torch.float32 and got == rate
    at_model_rate, got = codec.decompress(data, 24_000)
    assert got == 24_000
    assert at_model_rate.shape == (channels, math.ceil(Fraction(n * 24_000, rate)))


def test_what_encoded_tells(codec):
    encoded = codec.encode(noise(88_200, 2), 44_100, bitrate_kbps=5)
    assert (encoded.sample_rate, encoded.n_samples, encoded.n_samples_model) == (
        44_100, 88_200, 48_000,
    )  # fmt: skip
    assert (encoded.n_channels, encoded.bitrate_kbps, encoded.duration_s) == (2, 5.0, 2.0)
    assert encoded.frame_rate == 24_000 / HOP
    n_frames = math.ceil(48_000 / HOP) + 1
    assert encoded.n_frames == n_frames
    assert [p.n_frames for p in encoded.packets] == [92, n_frames - 92]
    assert [(p.index, p.start_frame) for p in encoded.packets] == [(0, 0), (1, 92)]


def test_one_dimension_numpy_and_tensors_are_the_same(codec):
    x = noise(1000)
    expected = codec.encode(x, 24_000)
    for same in (x[0], x.astype(np.float64), torch.from_numpy(x), torch.from_numpy(x[0]).double()):
        assert codec.encode(same, 24_000) == expected


def test_packets_are_those_of_the_plain_model(codec):
    """One analysis of everything, and the bytes that docs/bitstream.md allows each packet."""
    x, kbps, model = centred(noise(40_000), 40), 4.4, codec.model
    encoded = codec.encode(x, 24_000, bitrate_kbps=kbps, frames_per_packet=40)
    with torch.inference_mode():
        z, bands = model.analysis(torch.from_numpy(x)[None])
        spent, plain = 0, []
        for packet in encoded.packets:
            span = slice(packet.start_frame, packet.stop_frame)
            end = min(packet.stop_frame * HOP, 40_000)
            allowed = math.floor(Fraction(kbps).limit_denominator(10) * 125 * end / 24_000)
            payload = model.coder.encode(z[..., span], bands[..., span], allowed - spent - 8)
            spent += 8 + len(packet.payload)
            ours = model.coder.payload.decode(packet.payload, 1, packet.n_frames)
            same = model.coder.payload.decode(payload, 1, packet.n_frames)
            assert agree(torch.from_numpy(ours.latents), torch.from_numpy(same.latents))
            assert agree(torch.from_numpy(ours.energies), torch.from_numpy(same.energies))
            plain.append(model.coder.decode(packet.payload, 1, packet.n_frames))
        wav = model.stft.synthesis(model.decoder(joined(plain)), 40_000)
    assert torch.allclose(codec.decode(encoded), wav, rtol=0, atol=1e-5)


def test_channels_share_the_bytes_of_a_packet(codec):
    """Where one channel is silent, the other gets what both may have, and not a byte is lost."""
    x, coder = noise(24_000)[0], codec.model.coder
    beside_silence = codec.encode(np.stack([x, 0 * x]), 24_000, bitrate_kbps=2)
    beside_itself = codec.encode(np.stack([x, x]), 24_000, bitrate_kbps=2)
    sizes = [sum(len(p.payload) for p in e.packets) for e in (beside_silence, beside_itself)]
    assert abs(sizes[0] - sizes[1]) <= 1
    shared, own = (
        sum(coder.decode(p.payload, 2, p.n_frames).n_stages.sum(1) for p in e.packets)
        for e in (beside_silence, beside_itself)
    )
    assert shared[1] == 0 and shared[0] > 1.5 * own[0]


# --- bitrates

SIGNALS = {
    "silence": lambda n, c: np.zeros((c, n), np.float32),
    "noise": noise,
    "gaps": lambda n, c: noise(n, c) * (np.arange(n) // 9000 % 2),
    "speech": lambda n, c: np.resize(audio.read(SAMPLE)[0][0, 24_000:90_000], (c, n)),
}
EDGES = [0, 1, 264, 265] + [24 * k * HOP - less for k in (1, 2) for less in (0, 1, 263, 264)]


def live(codec: Codec, x: np.ndarray, **options) -> bytes:
    """A file whose header leaves the counts open."""
    encoder = codec.streaming_encoder(n_channels=len(x), **options)
    sink = io.BytesIO()
    writer = EulWriter(sink, encoder.info)
    for packet in encoder.push(x) + encoder.flush():
        writer.write(packet.payload, packet.n_frames)
    writer.close(encoder.n_samples, encoder.n_input_samples)
    return sink.getvalue()


@settings(quick, max_examples=20)
@given(
    name=st.sampled_from(["n", "n" * 17]),
    kbps=st.one_of(st.sampled_from([1, 7.3, 16]), st.floats(1, 16)),
    n=st.one_of(st.sampled_from(EDGES), st.integers(0, 14_000)),
    channels=st.sampled_from([1, 2, 6]),
    signal=st.sampled_from(sorted(SIGNALS)),
    frames=st.sampled_from([24, 92]),
    carry=st.booleans(),
    lower=st.floats(0, 1),
)
def test_a_file_has_its_bitrate_and_64_bytes(
    codec: Codec, name, kbps, n, channels, signal, frames, carry, lower
):
    """R * D / 8 kB, counts known or open, and at any lower rate again."""
    named = Codec(codec.model, name=name, weights_sha256=codec.weights_sha256)
    x = SIGNALS[signal](n, channels)
    options = dict(bitrate_kbps=kbps, frames_per_packet=frames, carry=carry, beam=1)

    def most(kbps):
        return Fraction(kbps) * 125 * channels * Fraction(n, 24_000) + 64

    whole = named.encode(x, 24_000, **options)
    files = whole.to_bytes(), live(named, x, **options)
    # the counts of an open header take more, which a long name leaves to the packets
    assert Encoded.from_bytes(files[1]) == whole or len(name) > 14
    lower_kbps = 1 + lower * (kbps - 1)
    for data in files:
        assert len(data) <= most(kbps)
        sink = io.BytesIO()
        lower_rate(io.BytesIO(data), sink, lower_kbps)
        assert len(sink.getvalue()) <= most(lower_kbps)
        low = Encoded.from_bytes(sink.getvalue())
        assert low == whole.at_rate(lower_kbps) or len(name) > 14
    assert codec.decode(whole).shape == (channels, n)


@pytest.mark.parametrize("kbps", [1, 3, 7.3, 16])
def test_speech_takes_the_rate_that_it_is_given(released, sample, kbps):
    data = released.compress(sample, 24_000, kbps)
    share = len(data) / (kbps * 125 * sample.shape[1] / 24_000)
    assert share >= 0.985
    assert read(data).info.bitrate_kbps == kbps


@pytest.mark.parametrize("kbps", [1, 2, 2.25, 7.3, 16, np.float32(2.3), np.int8(4), 7.306])
def test_any_bitrate_in_steps_of_10_bits(codec, kbps):
    """More digits are rounded down: never more than was asked for."""
    encoded = codec.encode(noise(2640), 24_000, bitrate_kbps=kbps)
    expected = math.floor(round(float(kbps) * 100, 4)) / 100
    assert encoded.bitrate_kbps == Encoded.from_bytes(encoded.to_bytes()).bitrate_kbps == expected


def test_default_is_6_kbps(codec):
    x = noise(3000)
    assert codec.encode(x, 24_000) == codec.encode(x, 24_000, bitrate_kbps=6)


@pytest.mark.parametrize("kbps", [0, 0.99, 16.01, -1, float("nan"), float("inf"), "6", True])
def test_other_bitrates_are_refused_and_the_possible_named(codec, kbps):
    for call in (
        lambda: codec.encode(noise(300), 24_000, bitrate_kbps=kbps),
        lambda: codec.streaming_encoder(bitrate_kbps=kbps),
        lambda: codec.stream_info(bitrate_kbps=kbps),
    ):
        with pytest.raises(
            ConfigError, match=r"^bitrate_kbps must be a number from 1 to 16, not"
        ) as caught:
            call()
        assert str(caught.value).endswith(f" {kbps!r}")


@pytest.mark.parametrize("codes", [0, 17, 2.5, True, "6"])
def test_wrong_number_of_codes(codec, codes):
    with pytest.raises(ConfigError, match="n_codebooks must be a whole number from 1 to 16"):
        codec.encode(noise(300), 24_000, n_codebooks=codes)


def test_bitrate_and_codes_exclude_each_other(codec):
    encoded = codec.encode(noise(300), 24_000, n_codebooks=3)
    for call in (codec.encode, lambda x, rate, **options: encoded.at_rate(**options)):
        with pytest.raises(ConfigError, match="give one of them"):
            call(noise(300), 24_000, bitrate_kbps=3, n_codebooks=3)


# --- lower rates of what there is


@settings(quick, max_examples=12)
@given(data=st.data())
def test_every_beginning_of_every_payload_decodes(codec: Codec, data):
    encoded = codec.encode(noise(20_000, 2), 24_000, frames_per_packet=30, beam=1)
    sizes = [data.draw(st.integers(0, len(p.payload))) for p in encoded.packets]
    cut = [replace(p, payload=p.payload[:n]) for p, n in zip(encoded.packets, sizes, strict=True)]
    wav = codec.decode(replace(encoded, packets=cut))
    assert wav.shape == (2, 20_000) and bool(wav.isfinite().all())


def test_more_bytes_never_tell_less(codec):
    """All beginnings of one payload, byte by byte."""
    (packet,) = codec.encode(noise(5000), 24_000, bitrate_kbps=8).packets
    payload, coder = packet.payload, codec.model.coder
    known = -1
    for n in range(len(payload) + 1):
        codes = coder.payload.decode(payload[:n], 1, packet.n_frames)
        assert n_codes(codes) >= known
        known = n_codes(codes)
        coded = coder.look_up(codes)
        assert all(bool(x.isfinite().all()) for x in (coded.z, coded.bands))
    assert known > 100


@pytest.mark.parametrize("kbps", [1, 2.5, 5.99, 6, 9])
@pytest.mark.parametrize(("rate", "n"), [(24_000, 60_000), (44_100, 50_011)])
def test_a_lower_rate_is_the_same_wherever_it_is_made(codec, kbps, rate, n):
    encoded = codec.encode(noise(n, 2), rate)
    low, sink = encoded.at_rate(kbps), io.BytesIO()
    lower_rate(io.BytesIO(encoded.to_bytes()), sink, kbps)
    assert low.to_bytes() == sink.getvalue()
    assert Encoded.from_bytes(encoded.to_bytes(), bitrate_kbps=kbps) == low
    assert Encoded.open(io.BytesIO(encoded.to_bytes()), bitrate_kbps=kbps) == low
    assert low.bitrate_kbps == min(kbps, 6)
    assert (low == encoded) == (kbps >= 6)  # a file keeps a lower rate
    for ours, whole in zip(low.packets, encoded.packets, strict=True):
        assert whole.payload.startswith(ours.payload)


def test_lost_packets_stay_lost_at_a_lower_rate(codec):
    encoded = codec.encode(noise(60_000), 24_000)
    packets = [replace(encoded.packets[0], payload=None), *encoded.packets[1:]]
    low = replace(encoded, packets=packets).at_rate(2)
    assert [p.lost for p in low.packets] == [True, False, False]
    assert low.packets[2] == encoded.at_rate(2).packets[2]
    with pytest.raises(BitstreamError, match="1 packets are lost"):
        low.to_bytes()


@pytest.mark.parametrize("kbps", [0, -1, float("nan"), float("inf"), "6", True])
def test_a_lower_rate_that_is_none(codec, kbps):
    for encoded in (
        codec.encode(noise(300), 24_000),
        codec.encode(noise(300), 24_000, n_codebooks=3),
    ):
        with pytest.raises(ConfigError, match=r"^bitrate must be above 0") as caught:
            encoded.at_rate(kbps)
        assert str(caught.value).endswith(f"not {kbps!r}")


def test_cut_from_12_kbps_is_as_good_as_encoded_at_less(released, sample):
    """Within 0.1 dB of SI-SDR, from 2 kbps on."""
    rates = (1, 2, 3, 4.5, 6, 8)
    top = released.encode(sample, 24_000, bitrate_kbps=12)
    items = [released.encode(sample, 24_000, bitrate_kbps=kbps) for kbps in rates]
    items += [top.at_rate(kbps) for kbps in rates]
    scores = [si_sdr(sample[0], wav[0].numpy()) for wav in released.decode_batch(items)]
    own, cut = np.array(scores[: len(rates)]), np.array(scores[len(rates) :])
    assert cut[1:].mean() == pytest.approx(own[1:].mean(), abs=0.1)
    # of one clip at one rate, searches of 1, 2, 4 and 8 paths differ by up to 0.17 dB (at 2 kbps),
    # in no order; at 1 kbps a frame has one code or none, and the first of many is not the best one
    assert np.abs(cut - own)[1:].max() < 0.25, dict(zip(rates, cut - own, strict=True))
    assert own[0] - cut[0] < 0.4


# --- the constant coding


@pytest.fixture(scope="module")
def tokens(codec: Codec) -> Encoded:
    """Three packets of stereo."""
    x = centred(noise(30_000, 2), 50)
    return codec.encode(x, 24_000, n_codebooks=9, frames_per_packet=50)


def test_codes_are_one_tensor(codec, tokens):
    n_frames = math.ceil(30_000 / HOP) + 1
    codes, size = tokens.codes, codec.info.codebook_size
    assert codes.shape == (2, 9, n_frames) and codes.dtype == torch.int64
    assert 0 <= int(codes.min()) <= int(codes.max()) < size
    assert tokens.levels.shape == (2, 3) and tokens.levels.dtype == torch.int64
    assert 0 < int(tokens.levels.min()) <= int(tokens.levels.max()) < 256
    kbps = 9 * math.log2(size) * 24 / HOP
    assert tokens.bitrate_kbps == pytest.approx(kbps, rel=1e-12)
    assert codec.info.kbps_per_codebook == pytest.approx(kbps / 9, rel=1e-12)


def test_codes_are_those_of_the_plain_model(codec, tokens):
    """Of one analysis of everything."""
    x, coder = torch.from_numpy(centred(noise(30_000, 2), 50)), codec.model.coder
    z, bands = codec.model.analysis(x[:, None])
    plain = []
    with torch.inference_mode():
        for k, (start, stop) in enumerate(((0, 50), (50, 100), (100, 115))):
            found = coder.encode_constant(z[..., start:stop], bands[..., start:stop], 9)
            assert agree(tokens.codes[..., start:stop], torch.from_numpy(found.codes))
            ours = replace(found, codes=tokens.codes[..., start:stop].numpy())
            assert found.levels.tolist() == tokens.levels[:, k].tolist()
            plain.append(coder.decode_constant(ours))
        wav = codec.model.stft.synthesis(codec.model.decoder(joined(plain)), 30_000)
    assert torch.allclose(codec.decode(tokens), wav, rtol=0, atol=1e-5)


def test_tokens_of_channels_do_not_influence_each_other(codec):
    x = noise(3000, 3) * np.array([[1.0], [0.1], [0.0]], np.float32)
    together = codec.encode(x, 16_000, n_codebooks=8)
    alone = [codec.encode(row, 16_000, n_codebooks=8) for row in x]
    assert agree(together.codes, torch.cat([one.codes for one in alone]))
    assert torch.equal(together.levels, torch.cat([one.levels for one in alone]))
    one = together.info.replace(n_channels=1)
    apart = [
        codec.decode(Encoded.from_codes(codes[None], one, levels[None]))
        for codes, levels in zip(together.codes, together.levels, strict=True)
    ]
    assert torch.allclose(codec.decode(together), torch.cat(apart), rtol=0, atol=1e-5)


def test_codes_there_and_back_are_exact(codec, tokens):
    again = Encoded.from_codes(tokens.codes, tokens.info, tokens.levels)
    assert again == tokens and again.to_bytes() == tokens.to_bytes()
    read_again = Encoded.from_bytes(tokens.to_bytes())
    assert torch.equal(read_again.codes, tokens.codes) and read_again == tokens
    for same in (tokens.codes.numpy(), tokens.codes.to(torch.int16), tokens.codes.int().tolist()):
        assert Encoded.from_codes(same, tokens.info, tokens.levels.tolist()) == tokens


@pytest.mark.parametrize("rate", [24_000, 44_100])
@pytest.mark.parametrize("n_frames", [0, 1, 2, 115])
def test_codes_alone_decode(codec, tokens, rate, n_frames):
    """Header from the codec, levels from nowhere; the last frame only completes the others."""
    info = codec.stream_info(n_codebooks=9, n_channels=2, sample_rate=rate, frames_per_packet=50)
    codes = tokens.codes[..., :n_frames]
    encoded = Encoded.from_codes(codes, info)
    assert torch.equal(encoded.codes, codes)
    wav = codec.decode(encoded)
    assert bool(wav.isfinite().all())
    assert wav.shape == (2, max(n_frames - 1, 0) * HOP * rate // 24_000)
    assert codec.decode(Encoded.from_bytes(encoded.to_bytes())).equal(wav)


def test_the_usual_level_is_that_of_speech_at_20_db_below_full_scale(released, sample):
    frames = sample[0, : len(sample[0]) // 480 * 480].reshape(-1, 480)
    power = np.square(frames, dtype=np.float64).mean(1)
    active = power > power.mean() / 40
    x = sample * np.sqrt(0.01 / power[active].mean()).astype(np.float32)
    encoded = released.encode(x, 24_000, n_codebooks=6, beam=1)
    levels = encoded.levels[0, :-1].double()  # of packets of 2.7 s; a step is 0.75 dB
    assert abs(float(levels.mean()) - USUAL_LEVEL) < 4
    guessed = released.decode(Encoded.from_codes(encoded.codes, encoded.info))
    ratio = guessed.square().mean() / np.square(x).mean()
    assert abs(10 * math.log10(ratio)) < 3


@pytest.mark.parametrize("k", [1, 5, 6, 7, 9])
def test_the_first_codes_of_all_are_a_lower_rate(codec, tokens, k):
    low = tokens.at_rate(n_codebooks=k)
    assert torch.equal(low.codes, tokens.codes[:, :k]) and torch.equal(low.levels, tokens.levels)
    assert low == Encoded.from_codes(low.codes, tokens.info.replace(n_codebooks=k), tokens.levels)
    assert Encoded.from_bytes(tokens.to_bytes(), n_codebooks=k) == low
    assert tokens.at_rate(low.bitrate_kbps * 1.001) == low
    x = noise(30_000, 2)
    few = codec.encode(x, 24_000, n_codebooks=k, frames_per_packet=50, beam=1)
    many = codec.encode(x, 24_000, n_codebooks=9, frames_per_packet=50, beam=1)
    assert agree(few.codes, many.at_rate(n_codebooks=k).codes)


def test_lost_packets_are_rows_of_minus_one(codec, tokens):
    packets = [tokens.packets[0], replace(tokens.packets[1], payload=None), tokens.packets[2]]
    lost = replace(tokens, packets=packets)
    assert bool((lost.codes[..., 50:100] == LOST).all()) and LOST == -1
    for span in (slice(50), slice(100, None)):
        assert torch.equal(lost.codes[..., span], tokens.codes[..., span])
    assert codec.decode(lost).shape == (2, 30_000)
    with pytest.raises(BitstreamError, match="code -1 does not fit"):
        Encoded.from_codes(lost.codes, tokens.info)


def test_codes_that_do_not_fit(codec, tokens):
    codes, info, levels = tokens.codes, tokens.info, tokens.levels
    for args, words in (
        ((codes[:1], info), "shape [2, 9, T], not [1, 9, 115]"),
        ((codes[:, :3], info), "shape [2, 9, T], not [2, 3, 115]"),
        ((codes[0], info), "shape [2, 9, T], not [9, 115]"),
        ((codes.float(), info), "codes must be integers, not float32"),
        ((codes + 256, info), "does not fit in 8 bits (0 to 255)"),
        ((codes, info, levels[:, :2]), "levels must have the shape [2, 3], not [2, 2]"),
        ((codes, info, levels + 200), "levels must be 2 whole numbers 0 to 255"),
        ((codes, info, levels.float()), "levels must be 2 whole numbers 0 to 255"),
        ((codes, codec.stream_info(n_channels=2)), "codec.stream_info(n_codebooks=K)"),
    ):
        with pytest.raises(BitstreamError) as caught:
            Encoded.from_codes(*args)
        assert words in str(caught.value) and "\n" not in str(caught.value)
    many = codec.stream_info(n_codebooks=3).replace(n_codebooks=40)
    with pytest.raises(BitstreamError, match=r"40 codes of 8 bits a frame .* up to 16 of 8 bits"):
        codec.decode(Encoded.from_codes(np.zeros((1, 40, 5), int), many))
    wide = codec.stream_info(n_codebooks=3).replace(codebook_bits=11)
    with pytest.raises(BitstreamError, match=r"3 codes of 11 bits a frame do not fit"):
        codec.decode(Encoded.from_codes(np.zeros((1, 3, 5), int), wide))


def test_what_only_one_of_the_codings_has(codec, tokens):
    planes = codec.encode(noise(300), 24_000)
    for name in ("codes", "levels"):
        with pytest.raises(ConfigError, match="encode with n_codebooks in place of a bitrate"):
            getattr(planes, name)
    with pytest.raises(ConfigError, match="as many codes as its bitrate holds"):
        planes.at_rate(n_codebooks=2)
    with pytest.raises(ConfigError, match=r"0\.5 kbps is less than one codebook, 0\.727 kbps"):
        tokens.at_rate(0.5)
    for k in (0, 10, 2.5, "3"):
        with pytest.raises(ConfigError, match="n_codebooks must be a whole number from 1 to 9"):
            tokens.at_rate(n_codebooks=k)


# --- input


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(codec, value):
    x = noise(500, 2)
    x[1, 77] = value
    with pytest.raises(AudioError, match="sample 77 of channel 1"):
        codec.encode(x, 24_000)


@pytest.mark.parametrize(
    ("wav", "words"),
    [
        (np.zeros((1, 1, 9)), "shape"),
        (np.float32(1), "shape"),
        (np.zeros((48_000, 2)), "transposed"),
        (np.zeros((0, 9)), "channels"),
        (np.ones((1, 9), np.int16), "divide int16 by 32768"),
        (np.ones(9, complex), "complex"),
        (np.full(9, 1e300), "largest sample is 1e\\+300"),
        (np.array([0.0, -32768.0, 5.0]), "largest sample is 32768, but full scale is 1"),
        (np.full(9, 1e30), "largest sample is 1e\\+30"),
    ],
)
def test_arrays_that_are_no_audio(codec, wav, words):
    with pytest.raises(AudioError, match=words):
        codec.encode(wav, 24_000)


SQUARE = np.where(np.arange(6000) // 24 % 2, -1.0, 1.0)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e-30, 1000.0])
@pytest.mark.parametrize("options", [{}, dict(n_codebooks=8)])
def test_silence_and_extreme_levels_give_finite_audio(codec, scale, options):
    wav = codec.decode(codec.encode(SQUARE * scale, 24_000, **options))
    assert wav.shape == (1, 6000) and bool(wav.isfinite().all())


def test_level_is_not_normalised(released, sample):
    """Audio that is softer comes back softer by as much."""
    x = sample[:, 24_000:72_000]
    loud, soft = (released.decode(released.encode(gain * x, 24_000)) for gain in (1, 0.1))
    assert float(soft.norm() / loud.norm()) == pytest.approx(0.1, rel=0.05)


def test_training_mode_changes_nothing_and_is_kept(weights):
    codec = Codec.from_pretrained(weights)
    expected = codec.encode(noise(3000), 24_000)
    before = {k: v.clone() for k, v in codec.model.state_dict().items()}
    codec.model.train()
    assert codec.encode(noise(3000), 24_000) == expected and codec.model.training
    after = codec.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


# --- whose codes


def test_codes_of_other_weights_are_refused_with_both_hashes(codec, other_weights):
    other = Codec.from_pretrained(other_weights)
    assert other.codes_sha256 != codec.codes_sha256
    for options in ({}, dict(n_codebooks=3)):
        data = other.compress(noise(500), 24_000, **options)
        with pytest.raises(WeightsError) as caught:
            codec.decompress(data)
        for part in (codec.codes_sha256[:16], other.codes_sha256[:16], "'tiny'", "'other'"):
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_decoder_that_was_trained_on_reads_the_old_files(codec):
    """Files name the codes, not the network."""
    data = codec.compress(noise(3000), 24_000)
    other = Codec(build(seed=9), name="later")
    assert other.weights_sha256 != codec.weights_sha256
    assert other.codes_sha256 == codec.codes_sha256
    assert other.decompress(data)[0].shape == (1, 3000)
    assert not torch.equal(other.decompress(data)[0], codec.decompress(data)[0])


def test_bundled_weights_share_their_codes(released, sample):
    fast = Codec.from_pretrained("eulerodec-24khz-lowlatency")
    assert fast.codes_sha256 == released.codes_sha256
    assert fast.info.latency_ms < released.info.latency_ms
    x = sample[:, 24_000:72_000]
    own = si_sdr(x[0], released.decompress(released.compress(x, 24_000))[0][0].numpy())
    for encoder, decoder in ((released, fast), (fast, released)):
        wav, _ = decoder.decompress(encoder.compress(x, 24_000))
        assert si_sdr(x[0], wav[0].numpy()) > own - 3


def test_packets_that_do_not_fit_the_model(codec):
    encoded = codec.encode(noise(40_000), 24_000)
    with pytest.raises(BitstreamError, match="24000 Hz and 263 samples a frame do not fit"):
        codec.decode(replace(encoded, info=encoded.info.replace(hop_length=263)))
    for n in (0, 1):
        with pytest.raises(BitstreamError, match=f"40000 samples take 153 frames.* has {92 * n}"):
            codec.decode(replace(encoded, packets=encoded.packets[:n]))


def test_a_cut_file_is_decoded_as_far_as_it_goes(codec):
    x = noise(4 * 24_000)
    data = codec.compress(x, 24_000, 6)
    with pytest.raises(BitstreamError, match="cut short"):
        codec.decompress(data[:-400])
    encoded = Encoded.from_bytes(data[:-400], recover=True)
    wav = codec.decode(encoded)
    assert encoded.damage and 24_000 < wav.shape[1] < 4 * 24_000
    # The end apart, which needs the frames that are lost, it is the same audio.
    whole, _ = codec.decompress(data)
    n = wav.shape[1] - codec.model.receptive_field
    assert n > 0
    assert torch.allclose(wav[:, :n], whole[:, :n], rtol=0, atol=1e-5)


def test_file_says_what_made_it(codec):
    data = codec.compress(noise(700, 2), 48_000, 3)
    info = EulReader(io.BytesIO(data)).info
    assert info.weights_hash.hex() == codec.codes_sha256[:16]
    assert (info.model_id, info.input_sample_rate, info.n_channels) == ("tiny", 48_000, 2)
    assert (info.n_input_samples, info.n_samples, info.bitrate_kbps) == (700, 350, 3)
    assert (info.coding, info.frames_per_packet) == ("planes", 92)
    data = codec.compress(noise(700), 24_000, n_codebooks=3)
    info = EulReader(io.BytesIO(data)).info
    assert (info.coding, info.n_codebooks, info.codebook_bits) == ("constant", 3, 8)
    assert info.frames_per_packet == 248


# --- weights on disk


def test_save_and_load_keep_hash_and_codes(codec, tmp_path):
    codec.save_pretrained(tmp_path / "copy")
    copy = Codec.from_pretrained(str(tmp_path / "copy"))
    assert copy.weights_sha256 == codec.weights_sha256
    file = (tmp_path / "copy" / "model.safetensors").read_bytes()
    assert hashlib.sha256(file).hexdigest() == codec.weights_sha256
    assert copy.info == codec.info
    assert (tmp_path / "copy" / "README.md").read_text().endswith("---\n\n# Tiny\n")
    data = codec.compress(noise(900), 24_000)
    assert copy.compress(noise(900), 24_000) == data
    assert torch.equal(copy.decompress(data)[0], codec.decompress(data)[0])


def test_codec_of_an_own_model_has_the_hash_it_saves(tmp_path):
    codec = Codec(build(seed=3), name="mine")
    sha256 = codec.weights_sha256
    codec.save_pretrained(tmp_path)
    assert Codec.from_pretrained(tmp_path).weights_sha256 == sha256


def test_info(codec):
    info = codec.info
    assert (info.sample_rate, info.hop_length, info.n_codebooks) == (24_000, 264, 16)
    assert info.bitrate_range_kbps == (1, 16)
    assert info.about == {"licence": "CC0-1.0", "data": ["noise"]}
    assert (info.codes_sha256, info.weights_sha256) == (codec.codes_sha256, codec.weights_sha256)
    assert (info.packet_ms, info.live_packet_ms) == (92 * 11, 24 * 11)
    json.dumps(info.to_dict())


def edit_config(**changes):
    def edit(directory: Path) -> None:
        path = directory / "config.json"
        fields = json.loads(path.read_text())
        fields.update(changes)
        path.write_text(json.dumps(fields))

    return edit


def edit_tensors(change):
    def edit(directory: Path) -> None:
        path = directory / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
        fields = json.loads((directory / "config.json").read_text())
        del fields["weights_sha256"]
        (directory / "config.json").write_text(json.dumps(fields))

    return edit


def edit_codes(change):
    def edit(directory: Path) -> None:
        path = directory / "codes.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return edit


def cut(directory: Path, name: str = "model.safetensors") -> None:
    path = directory / name
    path.write_bytes(path.read_bytes()[:-100])


def cut_without_checksum(directory: Path) -> None:
    edit_tensors(lambda tensors: None)(directory)
    cut(directory)


MAP = "encoder.transform.weight"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: (d / "config.json").unlink(), ["config.json", "no such file"]),
        (lambda d: (d / "model.safetensors").unlink(), ["model.safetensors", "no such file"]),
        (lambda d: (d / "codes.safetensors").unlink(), ["codes.safetensors", "no such file"]),
        (lambda d: (d / "config.json").write_text("{"), ["config.json", "not valid JSON"]),
        (lambda d: (d / "config.json").write_text("[]"), ["config.json", "JSON object"]),
        (edit_config(format=1), ["config.json", "format 1", "reads 2"]),
        (edit_config(latent_dims=8), ["config.json", "latent_dims", "latent_dim"]),
        (edit_config(latent_dim=9), ["model.safetensors", "shape"]),
        (edit_config(codes="gone"), ["config.json", "codes", "'gone'", DEFAULT_WEIGHTS]),
        (cut, ["model.safetensors", "damaged", "sha256"]),
        (cut_without_checksum, ["model.safetensors", "damaged"]),
        (lambda d: cut(d, "codes.safetensors"), ["codes.safetensors", "damaged"]),
        (edit_codes(lambda t: t.pop("codebooks")), ["codes.safetensors", "codebooks is missing"]),
        (
            edit_codes(lambda t: t.update(codebooks=t["codebooks"][:3].clone())),
            ["codes.safetensors", "codebooks of shape", "do not fit"],
        ),
        (edit_codes(lambda t: t["codebooks"].fill_(torch.nan)), ["codes.safetensors", "NaN"]),
        (edit_tensors(lambda t: t.pop(MAP)), ["model.safetensors", "misses", MAP]),
        (edit_tensors(lambda t: t.update(new=torch.ones(1))), ["unknown tensor new"]),
        (edit_tensors(lambda t: t.update({MAP: t[MAP][:1].clone()})), [MAP, "shape"]),
        (edit_tensors(lambda t: t.update({MAP: t[MAP].long()})), [MAP, "int64"]),
        (edit_tensors(lambda t: t[MAP].fill_(torch.nan)), [MAP, "NaN"]),
    ],
)
def test_damaged_weights_name_the_file(weights, tmp_path, edit, words):
    directory = tmp_path / "copy"
    shutil.copytree(weights, directory)
    edit(directory)
    with pytest.raises(WeightsError) as caught:
        load_weights(directory)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_precision_weights_load(weights, tmp_path):
    shutil.copytree(weights, tmp_path / "copy")
    edit_tensors(lambda t: t.update({MAP: t[MAP].half()}))(tmp_path / "copy")
    model = load_weights(tmp_path / "copy").model
    assert model.state_dict()[MAP].dtype == torch.float32


def test_codes_of_bundled_weights_by_name(tmp_path):
    """A folder of a network alone, as eulerodec-24khz-lowlatency is one."""
    source = find_weights("eulerodec-24khz-lowlatency")
    assert not (source / "codes.safetensors").exists()
    assert json.loads((source / "config.json").read_text())["codes"] == DEFAULT_WEIGHTS
    shutil.copytree(source, tmp_path / "copy")
    copy, bundled = load_weights(tmp_path / "copy"), find_weights(DEFAULT_WEIGHTS)
    assert copy.model.book.to_bytes() == (bundled / "codes.safetensors").read_bytes()


def test_unknown_name_of_weights():
    with pytest.raises(WeightsError, match=r"no weights 'gone'.*bundled"):
        Codec.from_pretrained("gone")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta2"])
def test_unknown_device(weights, device):
    with pytest.raises(ConfigError, match=device):
        Codec.from_pretrained(weights, device)


# --- the package


def test_import_is_light_and_names_are_there():
    code = (
        "import sys, eulerodec\n"
        "assert not {'torch', 'numpy', 'soundfile', 'click'} & set(sys.modules), sys.modules\n"
        "from eulerodec import *\n"
        "print(Codec, Encoded, EuleroDec, ModelConfig, AudioError, __version__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert set(eulerodec.__all__) <= set(dir(eulerodec))
    with pytest.raises(AttributeError, match="nothing"):
        _ = eulerodec.nothing
