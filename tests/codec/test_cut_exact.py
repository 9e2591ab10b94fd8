"""What is cut decodes, with a network, to the samples of the whole file."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from helpers.cli import speech
from helpers.models import TINY, build

from eulerodec.bitstream import EulWriter, concat_files, cut_file, loads, read_range
from eulerodec.codec import Codec
from eulerodec.codec.encoded import Encoded


def decoded(codec: Codec, data: bytes, rate: int | None = None) -> np.ndarray:
    return codec.decode(Encoded.from_bytes(data), rate).numpy()


def cut(data: bytes, start: int, stop: int) -> bytes:
    sink = io.BytesIO()
    cut_file(io.BytesIO(data), sink, start, stop)
    return sink.getvalue()


def compressed(codec: Codec, n: int, rate: int, channels: int = 1) -> bytes:
    """With the true context of the network, so that a cut keeps no frame too many."""
    encoded = codec.encode(speech(n, rate, channels), rate, bitrate_kbps=2)
    decoder = codec.model.decoder
    # A sample needs its own spectrum frame and the next one.
    info = encoded.info.with_context(decoder.look_back + 1, decoder.look_ahead + 2)
    return Encoded(encoded.codes, info).to_bytes()


@pytest.mark.parametrize(("rate", "channels"), [(24_000, 1), (44_100, 2), (8_000, 1)])
def test_a_cut_decodes_to_the_samples_of_the_whole(codec, rate, channels):
    n = 2 * rate + 17
    data = compressed(codec, n, rate, channels)
    whole = decoded(codec, data)
    assert whole.shape == (channels, n)
    pieces = []
    for start, stop in ((0, rate + 1), (rate + 1, rate + 3000), (rate + 3000, n)):
        pieces.append(cut(data, start, stop))
        got = decoded(codec, pieces[-1])
        assert got.shape == (channels, stop - start)
        np.testing.assert_allclose(got, whole[:, start:stop], rtol=0, atol=1e-5)
    sink = io.BytesIO()
    concat_files([io.BytesIO(piece) for piece in pieces], sink)
    np.testing.assert_allclose(decoded(codec, sink.getvalue()), whole, rtol=0, atol=1e-5)


def test_a_range_is_decoded_without_what_is_before(codec):
    data = compressed(codec, 96_000, 24_000)
    file = read_range(io.BytesIO(data), 60_000, 84_000)
    part = Encoded(torch.from_numpy(file.codes), file.info)
    assert part.duration_s == 1 and part.codes.shape[2] < 91 + sum(file.info.context) + 2 * 8 + 4
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


def test_the_default_context_is_enough_for_the_default_network():
    """What a file without a context field is cut with covers the decoder, if only just built."""
    from eulerodec.bitstream import StreamInfo
    from eulerodec.model import EuleroDec, ModelConfig

    with torch.device("meta"):
        decoder = EuleroDec(ModelConfig()).decoder
    info = StreamInfo(model_id="m", weights_hash=bytes(8), input_sample_rate=8000, n_codebooks=1)
    back, ahead = info.context
    # a sample needs its own spectrum frame and the next one
    assert decoder.look_back + 1 <= back and decoder.look_ahead + 2 <= ahead


@pytest.mark.parametrize("keep", [0.45, 0.7, 0.97])
def test_joined_files_that_are_cut_short_decode_up_to_there(codec, keep):
    data = compressed(codec, 40_000, 44_100)
    sink = io.BytesIO()
    pieces = [io.BytesIO(cut(data, 5_000, 20_000)), io.BytesIO(cut(data, 30_000, 40_000))]
    info = concat_files(pieces, sink)
    whole = decoded(codec, sink.getvalue())
    small = io.BytesIO()  # packets of 8 frames, so that there is something to lose
    with EulWriter(small, info.replace(frames_per_packet=8)) as writer:
        writer.write(loads(sink.getvalue())[1])
    short = small.getvalue()[: int(keep * len(small.getvalue()))]
    encoded = Encoded.from_bytes(short, recover=True)
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
    data = codec.compress(speech(96_000), 24_000, 2)
    decoder = codec.model.decoder
    back, ahead = loads(data)[0].context
    assert back >= decoder.look_back + 1 and ahead >= decoder.look_ahead + 2
    whole = decoded(codec, data)
    for start, stop in ((60_000, 62_000), (0, 500), (90_000, 96_000)):
        got = decoded(codec, cut(data, start, stop))
        np.testing.assert_allclose(got, whole[:, start:stop], rtol=0, atol=1e-5)
