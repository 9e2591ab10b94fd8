"""What is cut decodes, with a network, to the samples of the whole file."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from helpers.cli import speech
from helpers.models import TINY, build
from helpers.streams import concat, cut

from eulerodec.bitstream import StreamInfo, read, read_range
from eulerodec.codec import Codec
from eulerodec.codec.encoded import Encoded
from eulerodec.model import EuleroDec, ModelConfig

CODINGS = {"planes": dict(bitrate_kbps=2), "constant": dict(n_codebooks=3)}
PACKET = 8  # frames: short ones, so that a cut leaves some out


def decoded(codec: Codec, data: bytes, rate: int | None = None) -> np.ndarray:
    return codec.decode(Encoded.from_bytes(data), rate).numpy()


def compressed(codec: Codec, n: int, rate: int, channels: int = 1, coding="planes") -> bytes:
    """With the true context of the network, so that a cut keeps no frame too many."""
    encoded = codec.encode(
        speech(n, rate, channels), rate, frames_per_packet=PACKET, **CODINGS[coding]
    )
    decoder = codec.model.decoder
    # A sample needs its own spectrum frame and the next one.
    context = decoder.look_back + 1, decoder.look_ahead + 2
    return dataclasses.replace(encoded, info=encoded.info.replace(context=context)).to_bytes()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(("rate", "channels"), [(24_000, 1), (44_100, 2), (8_000, 1)])
def test_a_cut_decodes_to_the_samples_of_the_whole(codec, rate, channels, coding):
    n = 2 * rate + 17
    data = compressed(codec, n, rate, channels, coding)
    whole = decoded(codec, data)
    assert whole.shape == (channels, n)
    pieces = []
    for start, stop in ((0, rate + 1), (rate + 1, rate + 3000), (rate + 3000, n)):
        pieces.append(cut(data, start, stop))
        got = decoded(codec, pieces[-1])
        assert got.shape == (channels, stop - start)
        np.testing.assert_allclose(got, whole[:, start:stop], rtol=0, atol=1e-5)
    np.testing.assert_allclose(decoded(codec, concat(*pieces)), whole, rtol=0, atol=1e-5)


def test_a_range_is_decoded_without_what_is_before(codec):
    data = compressed(codec, 96_000, 24_000)
    file = read_range(io.BytesIO(data), 60_000, 84_000)
    part = Encoded(tuple(file.packets), file.info)
    # the second, the context, the resampler's 8 frames on both sides, and two packets
    assert part.duration_s == 1 and part.n_frames < 91 + sum(file.info.context) + 16 + 2 * PACKET
    whole = decoded(codec, data)
    got = codec.decode(part).numpy()
    np.testing.assert_allclose(got, whole[:, 60_000:84_000], rtol=0, atol=1e-5)


def test_another_output_rate_keeps_length_and_place(codec):
    data = compressed(codec, 48_000, 24_000)
    got = decoded(codec, cut(data, 24_000, 36_000), 48_000)
    assert got.shape == (1, 24_000)
    np.testing.assert_allclose(
        got, decoded(codec, data, 48_000)[:, 48_000:72_000], rtol=0, atol=1e-5
    )


def test_a_lower_rate_and_a_cut_in_either_order(codec):
    data = codec.compress(speech(72_000), 24_000, 6, frames_per_packet=PACKET)
    low = Encoded.from_bytes(data, bitrate_kbps=6).at_rate(2)
    got = decoded(codec, cut(low.to_bytes(), 30_000, 40_000))
    np.testing.assert_allclose(got, codec.decode(low)[:, 30_000:40_000], rtol=0, atol=1e-5)
    other = Encoded.from_bytes(cut(data, 30_000, 40_000), bitrate_kbps=2)
    assert other.n_samples == 10_000 and codec.decode(other).shape == (1, 10_000)


def test_the_default_context_is_enough_for_the_default_network(codec):
    """What a file without a context field is cut with covers the decoder, if only just built."""
    with torch.device("meta"):
        decoder = EuleroDec(ModelConfig(), codec.model.book).decoder
    info = StreamInfo(model_id="m", weights_hash=bytes(8), input_sample_rate=8000, n_codebooks=1)
    back, ahead = info.context
    # a sample needs its own spectrum frame and the next one
    assert decoder.look_back + 1 <= back and decoder.look_ahead + 2 <= ahead


@pytest.mark.parametrize("keep", [0.45, 0.7, 0.97])
def test_joined_files_that_are_cut_short_decode_up_to_there(codec, keep):
    data = compressed(codec, 40_000, 44_100)
    joined = concat(cut(data, 5_000, 20_000), cut(data, 30_000, 40_000))
    whole = decoded(codec, joined)
    encoded = Encoded.from_bytes(joined[: int(keep * len(joined))], recover=True)
    got = codec.decode(encoded).numpy()
    assert 0 < got.shape[1] == encoded.n_samples < whole.shape[1]
    lost = sum(damage.lost_s for damage in encoded.damage)
    assert lost == pytest.approx((whole.shape[1] - got.shape[1]) / 44_100, abs=1e-3)
    sound = max(got.shape[1] - 30 * 486, 0)  # the frames before the end lack what came after
    np.testing.assert_allclose(got[:, :sound], whole[:, :sound], rtol=0, atol=1e-5)


@pytest.mark.parametrize("window", [(100, 1), (4, 40)])
def test_a_decoder_that_sees_far_is_cut_as_exactly(window):
    """The header says how far the decoder sees if that is more than a reader takes for granted."""
    config = dataclasses.replace(TINY, attention_window=window, decoder_look_ahead=2)
    codec = Codec(build(config, seed=1))
    data = codec.compress(speech(96_000), 24_000, 2, frames_per_packet=PACKET)
    decoder = codec.model.decoder
    back, ahead = read(data).info.context
    assert back >= decoder.look_back + 1 and ahead >= decoder.look_ahead + 2
    whole = decoded(codec, data)
    for start, stop in ((60_000, 62_000), (0, 500), (90_000, 96_000)):
        got = decoded(codec, cut(data, start, stop))
        np.testing.assert_allclose(got, whole[:, start:stop], rtol=0, atol=1e-5)
