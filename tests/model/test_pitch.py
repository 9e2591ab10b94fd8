"""Periods of the pitch: found, mixed, continuous, and the same in a stream."""

import math

import pytest
import torch

from eulerodec.model import Bands
from eulerodec.model.pitch import PitchMixer
from eulerodec.nn import STFT, History

RATE, HOP = 24000, 264


def mixer(look_ahead=True, live=True, seed=0):
    torch.manual_seed(seed)
    stft = STFT(2 * HOP, HOP)
    mixer = PitchMixer(stft, Bands(RATE, HOP), RATE, look_ahead=look_ahead, channels=8)
    if live:
        torch.nn.init.normal_(mixer.net[-1].weight, 0.0, 0.3)
    return mixer.eval().requires_grad_(False)


def tone(hertz, hops, seed=None):
    """Ten harmonics, ``hops + 1`` hops, and noise if there is a seed."""
    time = torch.arange((hops + 1) * HOP, dtype=torch.float64) / RATE
    wav = sum(torch.cos(2 * math.pi * k * hertz * time + k * k) / k for k in range(1, 11))
    wav = 0.1 * wav.float()[None]
    if seed is not None:
        wav = wav + 0.05 * torch.randn(wav.shape, generator=torch.Generator().manual_seed(seed))
    return wav


def copies(mixer, wav):
    left, size = mixer.left * HOP, 2 * HOP
    padded = torch.nn.functional.pad(wav, (left, mixer.right * HOP))
    segments = padded.unfold(-1, left + size + mixer.right * HOP, HOP).double()
    return segments[..., left : left + size], mixer._copies(segments, left, size)


def stages(wav):
    """Six for each frame."""
    return torch.full((1, wav.shape[-1] // HOP - 1), 6)


@pytest.mark.parametrize("hertz", [60.0, 100.0, 213.0, 350.0])
def test_a_period_away_a_voiced_frame_is_the_same(hertz):
    now, found = copies(mixer(), tone(hertz, 30))
    for copy, alike in found:
        inside = slice(5, -5)
        error = (copy - now)[:, inside].square().sum() / now[:, inside].square().sum()
        assert error < 0.02
        assert alike[:, inside].min() > 0.97


def test_noise_has_no_period():
    wav = 0.1 * torch.randn(1, 31 * HOP, generator=torch.Generator().manual_seed(1))
    _, found = copies(mixer(), wav)
    for _, alike in found:
        assert alike.mean() < 0.3


def test_averaging_periods_lowers_the_noise():
    """Thirds of all three: a third of the noise, 4.8 dB, give or take that lags are not
    whole and near ones are averaged."""
    m = mixer(live=False)
    with torch.no_grad():
        bias = m.net[-1].bias.view(3, -1)
        bias[0], bias[1], bias[2] = -2 / 3, 1 / 3, 1 / 3
    clean, noisy = tone(120.0, 60), tone(120.0, 60, seed=3)
    stft = STFT(2 * HOP, HOP)
    target, before, after = stft.transform(clean), stft.transform(noisy), m(noisy, stages(noisy))[0]
    inside = slice(5, -5)

    def snr(x):
        error = (x - target)[..., inside].square().sum()
        return float(10 * torch.log10(target[..., inside].square().sum() / error))

    assert 4.0 < snr(after) - snr(before) < 6.0


def test_it_starts_as_the_plain_transform():
    wav = tone(120.0, 20, seed=1)
    spec = mixer(live=False)(wav, stages(wav))[0]
    torch.testing.assert_close(spec, STFT(2 * HOP, HOP).transform(wav))


def test_silence_and_extremes():
    m = mixer()
    assert not m(torch.zeros(1, 10 * HOP), torch.full((1, 9), 6))[0].any()
    for scale in (1e-6, 1e4):
        wav = scale * tone(120.0, 20, seed=1)
        assert m(wav, stages(wav))[0].isfinite().all()


def test_equal_lags_do_not_jump():
    """A tone whose double period fits as well: a rounding of the input stays a rounding."""
    m, wav = mixer(), tone(240.0, 40)
    other = wav + 1e-7 * torch.randn(wav.shape, generator=torch.Generator().manual_seed(2))
    a, b = m(wav, stages(wav))[0], m(other, stages(other))[0]
    assert (a - b).abs().max() < 1e-4 * a.abs().max()


@pytest.mark.parametrize("look_ahead", [True, False])
@pytest.mark.parametrize("block", [1, 2, 7])
def test_a_stream_gives_the_same(look_ahead, block):
    m, hops = mixer(look_ahead), 42
    wav = tone(130.0, hops, seed=4)
    whole = m(wav, stages(wav))[0]
    past, parts = History(), []
    # the first hop of a block is the last of the one before; of the first block it is nothing
    padded = torch.nn.functional.pad(wav, (HOP, 2 * block * HOP + 4 * HOP))
    for start in range(0, hops + m.right + 1, block):
        part = padded[:, start * HOP : (start + block + 1) * HOP]
        parts.append(m(part, stages(part), past)[0])
    stream = torch.cat(parts, -1)[..., m.right + 1 :][..., :hops]
    torch.testing.assert_close(stream, whole, atol=1e-5, rtol=1e-4)


def test_without_look_ahead_only_the_past_is_used():
    m = mixer(look_ahead=False)
    assert m.right == 0
    wav = tone(130.0, 30, seed=5)
    changed = wav.clone()
    changed[:, 20 * HOP :] = 0.3
    a, b = m(wav, stages(wav))[0], m(changed, stages(changed))[0]
    # frame t holds hops t and t + 1
    torch.testing.assert_close(a[..., :19], b[..., :19], atol=1e-6, rtol=0.0)
    assert not torch.equal(a[..., 19:], b[..., 19:])
