"""Many recordings at once are the same as one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.cli import flip, speech
from helpers.models import agree

from eulerodec import Codec, Encoded
from eulerodec.codec.streaming import StreamDecoder
from eulerodec.errors import AudioError, BitstreamError, ConfigError
from eulerodec.quantize import PacketCoder

LENGTHS = (0, 1, 263, 264, 265, 5000, 12_000, 16_896, 16_897, 40_000)


def recordings(rate: int) -> list[np.ndarray]:
    """Mono and stereo, the longest not last."""
    rng = np.random.default_rng(0)
    found = [
        speech(n, rate, 1 + n % 2) + 0.01 * rng.standard_normal((1 + n % 2, n)) for n in LENGTHS
    ]
    return [x.astype(np.float32) for x in found[::-1]]


@pytest.mark.parametrize(
    ("rate", "options"), [(24_000, dict(bitrate_kbps=7)), (16_000, dict(n_codebooks=7))]
)
def test_equal_to_one_by_one(codec: Codec, rate, options):
    wavs = recordings(rate)
    batch = codec.encode_batch(wavs, rate, **options)
    for wav, got in zip(wavs, batch, strict=True):
        assert got == codec.encode(wav, rate, **options)
    for item, sound in zip(batch, codec.decode_batch(batch), strict=True):
        alone = codec.decode(item)
        assert sound.shape == alone.shape
        torch.testing.assert_close(sound, alone, rtol=0, atol=1e-5)
    at_8k = codec.decode_batch(batch, 8_000)
    for item, sound in zip(batch, at_8k, strict=True):
        torch.testing.assert_close(sound, codec.decode(item, 8_000), rtol=0, atol=1e-5)


@pytest.mark.parametrize("most", [1 << 15, 400, 1])
def test_searched_together(codec: Codec, monkeypatch, most):
    """As on an accelerator, in groups of any size."""
    monkeypatch.setattr("eulerodec.codec.together.FRAMES_TOGETHER", most)
    monkeypatch.setattr(Codec, "device", property(lambda _: torch.device("cuda")))
    sizes = []
    search = PacketCoder.encode_constant

    def watched(self, z, *rest):
        sizes.append(z.shape[0] * z.shape[2])
        return search(self, z, *rest)

    wavs = [*recordings(16_000), speech(16_000 * 6, 16_000)]
    one_by_one = [codec.encode(wav, 16_000, n_codebooks=8) for wav in wavs]
    monkeypatch.setattr(PacketCoder, "encode_constant", watched)
    batch = codec.encode_batch(wavs, 16_000, n_codebooks=8)
    n_packets = sum(len(item.packets) for item in batch)
    assert len(sizes) == {1 << 15: 1, 400: len(sizes), 1: n_packets}[most]
    for got, want in zip(batch, one_by_one, strict=True):
        assert got.info == want.info and torch.equal(got.levels, want.levels)
        assert agree(got.codes, want.codes)
    packets = [(p.index, p.start_frame, p.n_frames) for x in batch for p in x.packets]
    assert packets == [(p.index, p.start_frame, p.n_frames) for x in one_by_one for p in x.packets]
    with pytest.raises(AudioError, match="recording 1: "):
        codec.encode_batch([wavs[0], np.zeros(9, np.int16)], 16_000, n_codebooks=8)
    assert codec.encode_batch([], 16_000, n_codebooks=8) == []


def test_what_follows_an_end_in_the_batch_does_not_matter(codec: Codec):
    """Zeros or a loud sound in the other rows of the batch: the very same audio."""
    short, rest = speech(7000)[0], speech(30_000)[0]
    batches = [codec.encode_batch([short, x], 24_000) for x in (rest, 0 * rest)]
    assert batches[0][0] == batches[1][0]
    sounds = [codec.decode_batch(batch)[0] for batch in batches]
    assert torch.equal(*sounds)


def test_the_network_runs_on_several_at_once(codec: Codec, monkeypatch):
    seen = []
    block = StreamDecoder._block

    def watched(self, x):
        seen.append(len(x))
        return block(self, x)

    monkeypatch.setattr(StreamDecoder, "_block", watched)
    codec.decode_batch(codec.encode_batch([speech(24_000)[0]] * 8, 24_000))
    assert seen == [8] * len(seen) and len(seen) <= 4


def test_more_tokens_together_than_a_packet_could_hold(codec: Codec):
    batch = codec.encode_batch([speech(2000)] * 20, 24_000, n_codebooks=16, beam=1)
    expected = codec.decode(batch[0])
    for sound in codec.decode_batch(batch):
        torch.testing.assert_close(sound, expected, rtol=0, atol=1e-5)


def test_mixed_rates_codings_damage_and_parts(codec: Codec, stream: bytes, tmp_path):
    path = tmp_path / "a.eul"
    path.write_bytes(stream)
    items = [
        codec.encode(speech(5000), 24_000, bitrate_kbps=2),
        Encoded.from_bytes(flip(stream), recover=True),
        codec.encode(speech(9000, 16_000, 2), 16_000, bitrate_kbps=6.5),
        Encoded.open(path, start_s=1, stop_s=2),
        codec.encode(speech(8000), 24_000, n_codebooks=5),
        codec.encode(speech(7000), 24_000, bitrate_kbps=2),
    ]
    for item, sound in zip(items, codec.decode_batch(items), strict=True):
        torch.testing.assert_close(sound, codec.decode(item), rtol=0, atol=1e-5)


def test_nothing_is_a_batch_too(codec: Codec):
    assert codec.encode_batch([], 24_000) == [] and codec.decode_batch([]) == []


def test_errors(codec: Codec):
    bad = speech(100)
    bad[0, 3] = np.nan
    with pytest.raises(AudioError, match="recording 1: audio: 1 sample is NaN or infinite"):
        codec.encode_batch([speech(100), bad], 24_000)
    with pytest.raises(ConfigError, match="beam"):
        codec.encode_batch([speech(100)], 24_000, beam=0)
    with pytest.raises(ConfigError, match="kbps"):
        codec.encode_batch([speech(100)], 24_000, bitrate_kbps=99)
    long = codec.encode(speech(30_000), 24_000)
    with pytest.raises(BitstreamError, match="frames"):
        codec.decode_batch([replace(long, packets=long.packets[:-1])])
