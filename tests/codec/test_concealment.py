"""Lost frames: concealed, never louder, silent after a while, and the same in any chunks."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics

import numpy as np
import pytest
import torch
from helpers.cli import flip, speech
from helpers.concealment import lose, play
from helpers.models import HOP, TINY, build, noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eulerodec import Codec, Encoded, audio
from eulerodec.bitstream import LOST, read
from eulerodec.cli import main
from eulerodec.codec.concealment import FADE_S, HOLD_S, Concealer, ConcealmentState
from eulerodec.codec.streaming import StreamDecoder
from eulerodec.errors import BitstreamError
from eulerodec.model import Latents
from eulerodec.samples import SAMPLE

quick = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
SPANS = st.lists(
    st.tuples(st.integers(0, 99), st.integers(1, 40)).map(lambda s: (s[0], s[0] + s[1])), max_size=4
)


@pytest.fixture(scope="module")
def codes(codec: Codec):
    return codec.encode(noise(99 * HOP)[0], 24_000).codes


def rms(x):
    return float(x.double().square().mean().sqrt())


@settings(quick, max_examples=8)
@given(spans=SPANS, size=st.integers(1, 70), block=st.sampled_from([2, 5, 32]))
def test_the_same_in_any_chunks_and_blocks(codec: Codec, codes, spans, size, block):
    lost = lose(codes, *spans)
    whole = play(codec.streaming_decoder(), lost)
    assert torch.equal(play(codec.streaming_decoder(), lost, size), whole)
    other = play(codec.streaming_decoder(block_frames=block), lost, size)
    assert torch.allclose(other, whole, rtol=0, atol=1e-5)


@quick
@given(spans=SPANS, level=st.sampled_from([0.0, 1e-6, 0.1, 1.0, 30.0]))
def test_finite_and_never_louder_than_before(codec: Codec, spans, level):
    """Latents: no concealed frame has a larger norm than the loudest that was received."""
    z = level * torch.randn(2, 16, 100, generator=torch.Generator().manual_seed(1))
    gone = [any(a <= t < b for a, b in spans) for t in range(100)]
    with torch.inference_mode():
        out = Concealer(codec.model)(Latents(z, [z], []), gone, ConcealmentState()).z
    kept = torch.tensor([not g for g in gone])
    assert torch.equal(out[..., kept], z[..., kept])
    assert out.isfinite().all()
    norm = out.square().sum(1).sqrt()
    for channel in norm:
        loudest = channel[kept].amax() if kept.any() else 0.0
        assert (channel <= loudest * 1.0001).all()


def test_it_fades_to_silence_and_the_stream_goes_on(codec: Codec, codes):
    start, stop = 30, 80
    wav = play(codec.streaming_decoder(), lose(codes, (start, stop)))
    good = play(codec.streaming_decoder(), codes)
    reach = codec.model.decoder.look_ahead + 1
    assert torch.equal(wav[:, : (start - reach) * HOP], good[:, : (start - reach) * HOP])
    silent = start + round(FADE_S * codec.model.frame_rate) + codec.model.decoder.look_back + 2
    assert rms(wav[:, silent * HOP : (stop - reach) * HOP]) < 1e-4 * rms(good)
    back = stop + codec.model.decoder.look_back + 2
    assert torch.allclose(wav[:, back * HOP :], good[:, back * HOP :], rtol=0, atol=1e-5)


def test_a_tone_goes_on_with_its_period_then_fades():
    """On a plain transform codec, whose latents are the MDCT: 250 Hz, 96 samples."""
    model = build(dataclasses.replace(TINY, energy_stages=(), pitch_channels=0), live=False)
    time = torch.arange(60 * HOP) / 24_000
    tone = 0.3 * torch.sin(2 * torch.pi * 250 * time)[None]
    with torch.inference_mode():
        spec = model.stft.analysis(tone)
        z = model.encoder(spec)
        lost = [t >= 40 for t in range(z.shape[-1])]
        concealed = Concealer(model)(Latents(z, [z], []), lost, ConcealmentState()).z
        none = torch.zeros(1, dtype=torch.int64)
        expected, out = (
            model.stft.synthesis(model.decoder(x, None, none), 60 * HOP)[0] for x in (z, concealed)
        )
    held = slice(39 * HOP, 39 * HOP + round(HOLD_S * 24_000))
    error = (out[held] - expected[held]).square().sum() / expected[held].square().sum()
    assert error < 0.01
    for extra in (0.02, 0.06, 0.10):
        at = 39 * HOP + round((HOLD_S + extra) * 24_000)
        gain = out[at : at + 96].norm() / expected[at : at + 96].norm()
        middle = extra + 48 / 24_000
        assert gain == pytest.approx(1 - middle / (FADE_S - HOLD_S), abs=0.05)
    assert out[39 * HOP + round(FADE_S * 24_000) + HOP :].abs().max() < 1e-4


def test_later_stages_may_be_missing(codec: Codec, codes):
    """Frames with their first stages only are decoded from those, here all frames."""
    few = codes.clone()
    few[:, 4:] = LOST
    z = codec.model.dequantize(few).z
    assert torch.allclose(z, codec.model.quantizer.decode(codes[:, :4]), atol=1e-6)
    wav = play(codec.streaming_decoder(), few)
    assert wav.isfinite().all() and not torch.equal(wav, play(codec.streaming_decoder(), codes))


def test_nothing_was_ever_received(codec: Codec):
    wav = play(codec.streaming_decoder(), torch.full((1, 6, 50), LOST))
    assert wav.shape == (1, 49 * HOP) and not wav.any()


def test_a_reset_forgets_the_gap(codec: Codec, codes):
    decoder = codec.streaming_decoder()
    decoder.push(lose(codes, (60, 99)))
    decoder.reset()
    assert torch.equal(play(decoder, codes), play(codec.streaming_decoder(), codes))


def test_channels_do_not_influence_each_other(codec: Codec):
    codes = codec.encode(speech(24_000, channels=2), 24_000).codes
    both = play(codec.streaming_decoder(n_channels=2), lose(codes, (40, 46)))
    for k in range(2):
        one = play(codec.streaming_decoder(), lose(codes[k : k + 1], (40, 46)))
        assert torch.allclose(both[k], one[0], rtol=0, atol=1e-5)


def test_speech_keeps_its_level_in_gaps_of_two_frames():
    """With the bundled weights: nearer in the median than silence, by 6 dB and more."""
    codec = Codec.from_pretrained()
    wav, rate = audio.read(SAMPLE)
    codes = codec.encode(wav[:, : 4 * rate], rate, bitrate_kbps=12).codes
    spans = [(k, k + 2) for k in range(20, codes.shape[-1] - 4, 20)]
    decoder = codec.streaming_decoder(bitrate_kbps=12)
    good, concealed = (
        play(decoder, codes),
        play(StreamDecoder(codec.model, 12), lose(codes, *spans)),
    )
    decoder.reset()
    decoder._conceal = lambda latents, lost, state: Latents(
        latents.z * ~torch.tensor(lost),
        [x * ~torch.tensor(lost) for x in latents.prefixes],
        [x * ~torch.tensor(lost) for x in latents.vectors],
    )
    silent = play(decoder, lose(codes, *spans))
    ratios = []
    for y in (concealed, silent):
        gaps = [slice(a * HOP, (b - 1) * HOP) for a, b in spans]
        ratios.append([abs(20 * math.log10(rms(y[:, g]) / rms(good[:, g]))) for g in gaps])
    medians = [statistics.median(r) for r in ratios]
    assert medians[0] < medians[1] - 6, medians


# --- files


def broken(codec: Codec) -> tuple[bytes, Encoded]:
    """A file of 6 s whose second packet of three is damaged, and what is in the whole one."""
    encoded = codec.encode(speech(144_000), 24_000, bitrate_kbps=6)
    return flip(encoded.to_bytes()), encoded


def test_a_damaged_file_is_concealed_in_python(codec: Codec):
    data, encoded = broken(codec)
    file = Encoded.from_bytes(data, recover=True)
    assert bool((file.codes[..., 256:512] == LOST).all())
    with pytest.raises(BitstreamError, match="256 frames are lost"):
        file.to_bytes()
    wav = codec.decode(file)
    expected = play(codec.streaming_decoder(), lose(encoded.codes, (256, 512)))
    assert torch.equal(wav, expected[:, : wav.shape[1]]) and wav.shape == (1, 144_000)
    assert torch.equal(wav, codec.decode(Encoded(file.codes, file.info)))  # the codes say it all
    gap = slice(int(255.5 * HOP), int(258 * HOP))
    assert rms(wav[:, gap]) > 0.1 * rms(codec.decode(encoded)[:, gap])
    assert torch.equal(
        codec.decode(file.truncate(3)),
        codec.decode(Encoded(lose(encoded.codes[:, :3], (256, 512)), encoded.truncate(3).info)),
    )


@pytest.mark.usefixtures("here")
def test_decode_recover_conceals(codec: Codec, w, capsys):
    data, _ = broken(codec)
    with open("bad.eul", "wb") as file:
        file.write(data)
    assert main(["decode", "bad.eul", "-o", "a.wav", "--recover", "--float", *w]) == 0
    assert "warning" in capsys.readouterr().err
    got = audio.read("a.wav")[0]
    expected = codec.decode(Encoded.from_bytes(data, recover=True)).numpy()
    assert abs(got - expected).max() < 1e-5


@pytest.mark.usefixtures("here")
def test_rate_and_cut_do_not_know_of_concealment(codec: Codec):
    data, encoded = broken(codec)
    for name, content in (("bad.eul", data), ("good.eul", encoded.to_bytes())):
        with open(name, "wb") as file:
            file.write(content)
    commands = (["rate", "--bitrate", "3"], ["cut", "--from", "3", "--to", "4"])
    for (verb, *options), name in itertools.product(commands, ("bad", "good")):
        done = main([verb, f"{name}.eul", "-o", f"{verb}.eul", *options])
        assert (done == 0) == (name == "good")
    with open("rate.eul", "rb") as file:
        assert np.array_equal(read(file.read()).codes, encoded.codes[:, :3].numpy())
