"""Lost frames: concealed, never louder, silent after a while, and the same in any chunks."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics

import pytest
import torch
from helpers.cli import flip, speech
from helpers.concealment import frames_of, lose, play
from helpers.models import HOP, build, noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eulerodec import Codec, Encoded, audio
from eulerodec.bitstream import Packet, read
from eulerodec.cli import main
from eulerodec.codec.concealment import FADE_S, HOLD_S, SILENCE, Concealer, ConcealmentState
from eulerodec.codec.frames import stacked, unstacked
from eulerodec.errors import BitstreamError
from eulerodec.quantize import Coded
from eulerodec.samples import SAMPLE

quick = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
SPANS = st.lists(
    st.tuples(st.integers(0, 99), st.integers(1, 40)).map(lambda s: (s[0], s[0] + s[1])), max_size=4
)


@pytest.fixture(scope="module")
def info(codec: Codec):
    return codec.stream_info(frames_per_packet=20)


@pytest.fixture(scope="module")
def frames(codec: Codec, info):
    """100 frames of noise, as packets tell them."""
    packets = codec.encode(noise(99 * HOP)[0], 24_000, frames_per_packet=20).packets
    return frames_of(codec.streaming_decoder(info), packets)


def rms(x):
    return float(x.double().square().mean().sqrt())


@settings(quick, max_examples=8)
@given(spans=SPANS, size=st.integers(1, 70), block=st.sampled_from([2, 5, 32]))
def test_the_same_in_any_chunks_and_blocks(codec: Codec, info, frames, spans, size, block):
    decoder = codec.streaming_decoder(info)
    lost = lose(decoder, frames, *spans)
    whole = play(decoder, lost)
    assert torch.equal(play(codec.streaming_decoder(info), lost, size), whole)
    other = play(codec.streaming_decoder(info, block_frames=block), lost, size)
    assert torch.allclose(other, whole, rtol=0, atol=1e-5)


def test_a_packet_without_payload_is_lost(codec: Codec, info, frames):
    encoded = codec.encode(noise(99 * HOP)[0], 24_000, frames_per_packet=20)
    decoder = codec.streaming_decoder(info)
    packets = [dataclasses.replace(p, payload=None) if p.index == 2 else p for p in encoded.packets]
    wav = torch.cat([decoder.push(packets), decoder.flush()], 1)
    expected = codec.streaming_decoder(info)
    assert torch.equal(wav, play(expected, lose(expected, frames, (40, 60))))


@quick
@given(spans=SPANS, level=st.sampled_from([0.0, 1e-6, 0.1, 1.0, 30.0]))
def test_finite_and_never_louder_than_before(codec: Codec, spans, level):
    """Latents: no concealed frame has a larger norm than the loudest that was received."""
    model, generator = codec.model, torch.Generator().manual_seed(1)
    n_bands, few = model.bands.count, torch.ones(2, 100)
    z = level * torch.randn(2, HOP, 100, generator=generator)
    bands = torch.randn(2, n_bands, 100, generator=generator) + math.log10(level + 1e-8)
    x = stacked(Coded(z, bands, few, few))
    lost = torch.tensor([any(a <= t < b for a, b in spans) for t in range(100)])
    x[:, -1, lost] = 1.0
    with torch.inference_mode():
        out, still_lost = unstacked(Concealer(model)(x, ConcealmentState()), n_bands)
    assert not any(still_lost)
    assert torch.equal(out.z[..., ~lost], z[..., ~lost])
    assert torch.equal(out.bands[..., ~lost], bands[..., ~lost])
    assert out.z.isfinite().all() and out.bands.isfinite().all()
    norm = out.z.square().sum(1).sqrt()
    for channel in norm:
        loudest = channel[~lost].amax() if bool((~lost).any()) else 0.0
        assert (channel <= loudest * 1.0001).all()


def test_it_fades_to_silence_and_the_stream_goes_on(codec: Codec, info, frames):
    start, stop = 30, 80
    decoder, model = codec.streaming_decoder(info), codec.model
    wav = play(decoder, lose(decoder, frames, (start, stop)))
    good = play(codec.streaming_decoder(info), frames)
    reach = model.decoder.look_ahead + 1
    assert torch.equal(wav[:, : (start - reach) * HOP], good[:, : (start - reach) * HOP])
    silent = start + round(FADE_S * model.frame_rate) + model.decoder.look_back + 2
    assert rms(wav[:, silent * HOP : (stop - reach) * HOP]) < 1e-4 * rms(good)
    back = stop + model.decoder.look_back + 2
    assert torch.allclose(wav[:, back * HOP :], good[:, back * HOP :], rtol=0, atol=1e-5)


def test_a_tone_goes_on_with_its_period_then_fades():
    """On a plain transform codec without any coding: 250 Hz, 96 samples."""
    model = build(live=False)
    time = torch.arange(60 * HOP) / 24_000
    tone = 0.3 * torch.sin(2 * torch.pi * 250 * time)[None, None]
    with torch.inference_mode():
        exact = model.exact(*model.analysis(tone))
        x = stacked(exact)
        lost = x.clone()
        lost[..., 40:] = 0.0
        lost[:, -1, 40:] = 1.0
        concealed, _ = unstacked(Concealer(model)(lost, ConcealmentState()), model.bands.count)
        expected, out = (
            model.stft.synthesis(model.decoder(y), 60 * HOP)[0] for y in (exact, concealed)
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


def test_nothing_was_ever_received(codec: Codec, info):
    decoder = codec.streaming_decoder(info)
    wav = torch.cat([decoder.push(Packet(0, 0, 50, None)), decoder.flush()], 1)
    assert wav.shape == (1, 49 * HOP) and rms(wav) < 1e-4


def test_a_reset_forgets_the_gap(codec: Codec, info, frames):
    decoder = codec.streaming_decoder(info)
    decoder.push_frames(lose(decoder, frames, (60, 99)))
    decoder.reset()
    assert torch.equal(play(decoder, frames), play(codec.streaming_decoder(info), frames))


def test_channels_do_not_influence_each_other(codec: Codec, info):
    encoded = codec.encode(speech(24_000, channels=2), 24_000, frames_per_packet=20)
    decoder = codec.streaming_decoder(encoded.info)
    frames = frames_of(decoder, encoded.packets)
    both = play(decoder, lose(decoder, frames, (40, 46)))
    for k in range(2):
        decoder = codec.streaming_decoder(info)
        one = play(decoder, lose(decoder, frames[k : k + 1], (40, 46)))
        assert torch.allclose(both[k], one[0], rtol=0, atol=1e-5)


def test_speech_keeps_its_level_in_gaps_of_two_frames():
    """With the bundled weights: nearer in the median than silence, by 6 dB and more."""
    codec = Codec.from_pretrained()
    n_bands = codec.model.bands.count
    wav, rate = audio.read(SAMPLE)
    encoded = codec.encode(wav[:, : 3 * rate], rate, bitrate_kbps=12, beam=1)
    decoder = codec.streaming_decoder(encoded.info)
    frames = frames_of(decoder, encoded.packets)
    spans = [(k, k + 2) for k in range(20, frames.shape[-1] - 4, 20)]
    good, silent = frames.clone(), frames.clone()
    for start, stop in spans:
        silent[..., start:stop] = 0.0
        silent[:, -n_bands - 3 : -3, start:stop] = SILENCE
    ratios = []
    good = play(decoder, frames)
    for x in (lose(decoder, frames, *spans), silent):
        decoder.reset()
        y = play(decoder, x)
        gaps = [slice(a * HOP, (b - 1) * HOP) for a, b in spans]
        ratios.append([abs(20 * math.log10(rms(y[:, g]) / rms(good[:, g]))) for g in gaps])
    medians = [statistics.median(r) for r in ratios]
    assert medians[0] < medians[1] - 6, medians


# --- files


def broken(codec: Codec) -> tuple[bytes, Encoded]:
    """A file of 6 s whose second packet of six is damaged, and what is in the whole one."""
    encoded = codec.encode(speech(144_000), 24_000, bitrate_kbps=6)
    return flip(encoded.to_bytes()), encoded


def test_a_damaged_file_is_concealed_in_python(codec: Codec):
    data, encoded = broken(codec)
    file = Encoded.from_bytes(data, recover=True)
    assert [packet.index for packet in file.packets if packet.lost] == [1]
    with pytest.raises(BitstreamError, match="1 packets are lost"):
        file.to_bytes()
    wav = codec.decode(file)

    def expected(packets):
        decoder = codec.streaming_decoder(encoded.info, block_frames=64)
        return play(decoder, lose(decoder, frames_of(decoder, packets), (92, 184)))[:, :144_000]

    assert torch.equal(wav, expected(encoded.packets)) and wav.shape == (1, 144_000)
    assert torch.equal(wav, codec.decode(Encoded(file.packets, file.info)))  # they say it all
    gap = slice(int(91.5 * HOP), int(94 * HOP))
    assert rms(wav[:, gap]) > 0.1 * rms(codec.decode(encoded)[:, gap])
    assert torch.equal(codec.decode(file.at_rate(3)), expected(file.at_rate(3).packets))


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
    commands = (["rate", "--bitrate", "3"], ["cut", "--from", "1", "--to", "2"])
    for (verb, *options), name in itertools.product(commands, ("bad", "good")):
        done = main([verb, f"{name}.eul", "-o", f"{verb}.eul", *options])
        assert (done == 0) == (name == "good")
    with open("rate.eul", "rb") as file:
        rate = read(file.read()).packets
    assert [p.payload for p in rate] == [p.payload for p in encoded.at_rate(3).packets]
