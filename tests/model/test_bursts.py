"""No bursts: what is decoded is not louder than what is coded, whatever the network thinks."""

import numpy as np
import pytest
import torch
from helpers.models import HOP, analysis, build, noise

from eulerodec import Codec, audio
from eulerodec.samples import SAMPLE

RATE = 24_000
FRAME = RATE // 100
WEIGHTS = ["eulerodec-24khz", "eulerodec-24khz-lowlatency"]


def sweep(seconds=5.0, low=20.0, high=11_500.0):
    """Sine of amplitude 0.5 whose frequency rises exponentially."""
    t = np.arange(round(seconds * RATE)) / RATE
    octaves = np.log(high / low)
    phase = 2 * np.pi * low * seconds / octaves * np.expm1(t / seconds * octaves)
    return (0.5 * np.sin(phase)).astype(np.float32)


def whistle(hertz, seconds=1.5):
    """Sine of amplitude 0.3 with a vibrato of 4 %, six times a second, faded in and out."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(hertz * (1 + 0.04 * np.sin(2 * np.pi * 6 * t))) / RATE
    fade = np.minimum(1, np.minimum(t, seconds - t) / 0.05)
    return (0.3 * fade * np.sin(phase)).astype(np.float32)


def speech():
    return audio.read(SAMPLE)[0][0, : 3 * RATE]


def powers(x):
    """Mean power of frames of 10 ms, one every 5 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), FRAME)
    return np.square(frames[:: FRAME // 2]).mean(1)


def excess_db(x, y):
    """How much louder than the loudest 10 ms of ``x`` within 50 ms the loudest frame of ``y`` is.

    Below -100 dB of full scale nothing counts.
    """
    around = np.lib.stride_tricks.sliding_window_view(np.pad(powers(x), 10), 21).max(1)
    return float((10 * np.log10((powers(y) + 1e-10) / (around + 1e-10))).max())


@pytest.fixture(scope="module", params=WEIGHTS)
def codec(request):
    return Codec.from_pretrained(request.param)


@pytest.mark.parametrize(
    "wav",
    [sweep(), speech(), whistle(1500.0), whistle(2500.0)],
    ids=["sweep", "speech", "whistle", "high whistle"],
)
def test_no_frame_is_much_louder_than_the_input_at_any_rate(codec, wav):
    found = {}
    for kbps in (1, 2, 6, 12):  # as encoded at that rate
        encoded = codec.encode(wav, RATE, bitrate_kbps=kbps)
        found[f"{kbps}"] = codec.decode(encoded)
    for kbps in (1, 2, 3, 8):  # and as cut down from 12
        found[f"12 cut to {kbps}"] = codec.decode(encoded.at_rate(kbps))
    excess = {k: excess_db(wav, y[0].numpy()) for k, y in found.items()}
    assert {k: round(v, 1) for k, v in excess.items() if v > 6.0} == {}


def test_a_network_with_wild_gains_stays_below_what_is_coded():
    """Against powers by numpy: bands of what the latents alone give, and coded energies."""
    model = build()
    z, bands = analysis(model, noise(40 * HOP))
    coded = model.coder.decode(model.coder.encode(z, bands, 300), 1, 41)
    with torch.no_grad():
        model.decoder.gain_proj.bias.fill_(3.0)
        model.decoder.out_proj.weight.mul_(100.0)
        spectrum = model.decoder(coded)
        _, plain = model.decoder.transform_path(coded.z, coded.n_stages)

    def power(planar):
        return np.square(planar[0].double().numpy()).reshape(2, -1, planar.shape[-1]).sum(0)

    spread = model.bands.spread.double().numpy()  # [F, bands]: each bin's shares sum to one
    mean = spread.T @ power(plain) / spread.sum(0)[:, None]
    most = spread.sum(0) @ np.maximum(mean, 10.0 ** (0.2 + coded.bands[0].double().numpy()))
    assert (power(spectrum).sum(0) <= 1.001 * most + 1e-5).all()
    assert (power(spectrum).sum(0) >= 0.99 * most).mean() > 0.5  # the bound is what is at work
