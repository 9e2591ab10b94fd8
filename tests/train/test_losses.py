"""The training loss, term by term, against textbook values."""

import math

import numpy as np
import pytest
import torch
from helpers.models import noise

from eulerodec.train.losses import ReconstructionLoss, erb_filterbank
from eulerodec.train.recipe import LossConfig

pytestmark = pytest.mark.numeric

RATE = 24_000
TERMS = {"wave", "complex", "magnitude", "band", "noise"}


@pytest.fixture(scope="module")
def loss():
    return ReconstructionLoss(LossConfig(), RATE)


def only(**weights):
    return LossConfig(**(dict.fromkeys(TERMS, 0.0) | weights))


# --- ERB filterbank


def test_erb_rate_and_bandwidth_are_those_of_glasberg_and_moore():
    """ERB = 24.7 (4.37 f/kHz + 1) Hz, ERB-rate 21.4 log10(4.37 f/kHz + 1) (1990).

    Band k (from 1) has its centre at ERB-rate k: 26.1 Hz, 1 kHz is at 15.6 and 12 kHz at 37.0.
    The distance of neighbouring centres is one ERB.
    """
    bank = erb_filterbank(24000, 8192).double().numpy()
    assert len(bank) == 36
    frequency = np.linspace(0, 12000, 4097)
    centre = bank @ frequency  # rows sum to one, triangles are nearly symmetric
    rate = 21.4 * np.log10(4.37e-3 * centre + 1)
    assert np.allclose(rate, np.arange(1, len(bank) + 1), atol=0.06)
    middle = (centre[2:] - centre[:-2])[3:] / 2
    erb = 24.7 * (4.37e-3 * centre[1:-1] + 1)
    assert np.allclose(middle, erb[3:], rtol=0.03)


@pytest.mark.parametrize(("n_fft", "step"), [(512, 1.0), (1024, 1.0), (2048, 0.5), (256, 2.0)])
def test_every_band_is_a_mean_of_bins_and_no_bin_is_lost(n_fft, step):
    bank = erb_filterbank(24000, n_fft, step)
    assert bank.dtype == torch.float32 and bank.shape[1] == n_fft // 2 + 1
    assert torch.allclose(bank.sum(1), torch.ones(len(bank)), atol=1e-6)
    assert (bank >= 0).all()
    # a triangle spans two steps, so each bin above the first centre is in at least one band
    assert (bank.sum(0)[2:-1] > 0).all()


def test_a_tone_falls_into_its_band():
    n = 1024
    bank = erb_filterbank(24000, n)
    for hertz in (200.0, 1000.0, 4000.0):
        tone = torch.sin(2 * math.pi * hertz * torch.arange(n) / 24000) * torch.hann_window(n)
        band = int((bank @ torch.fft.rfft(tone).abs().square()).argmax()) + 1
        assert abs(band - 21.4 * math.log10(1 + 0.00437 * hertz)) < 0.8


# --- terms


def test_equal_signals_cost_nothing(loss):
    x = noise(6000, 2)
    total, parts = loss(x.clone(), x)
    assert set(parts) == TERMS
    assert parts["complex"] < 1e-3 and parts["magnitude"] < 1e-5 and parts["band"] < 1e-5
    assert parts["wave"] < -6  # its floor: 60 dB
    assert torch.isfinite(total)


def test_silence_costs_nothing_against_silence(loss):
    zero = torch.zeros(1, 1, 4000)
    _, parts = loss(zero, zero)
    assert parts["magnitude"] < 1e-5 and parts["band"] < 1e-5
    assert all(torch.isfinite(part) for part in parts.values())


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 30.0])
def test_wave_is_log10_of_the_normalised_error(loss, snr_db):
    """Mean over items of log10(|y - x|^2 / |x|^2), computed in numpy."""
    x, e = (
        noise(6000, 3, seed=1),
        noise(6000, 3, seed=2) * torch.tensor([1.0, 0.3, 2.0])[:, None, None],
    )
    y = x + 10 ** (-snr_db / 20) * e
    a, b = x.double().numpy()[:, 0], y.double().numpy()[:, 0]
    expected = np.mean(np.log10(((a - b) ** 2).sum(1) / (a**2).sum(1)))
    assert float(loss(y, x)[1]["wave"]) == pytest.approx(expected, abs=2e-3)


def test_zero_output_costs_what_the_definition_says(loss):
    """y = 0: normalised error 1, its log 0; spectral distances equal the reference itself, 1."""
    x = noise(6000, 2)
    _, parts = loss(torch.zeros_like(x), x)
    assert float(parts["wave"]) == pytest.approx(0.0, abs=1e-4)
    assert float(parts["complex"]) == pytest.approx(1.0, abs=1e-3)
    assert float(parts["magnitude"]) == pytest.approx(1.0, abs=1e-3)
    assert float(parts["band"]) > 5  # 60 dB down to the floor, in bels


def test_flipped_sign_keeps_magnitudes_and_bands(loss):
    x = noise(6000, 2)
    _, parts = loss(-x, x)
    assert float(parts["magnitude"]) == pytest.approx(0.0, abs=1e-6)
    assert float(parts["band"]) == pytest.approx(0.0, abs=1e-6)
    assert float(parts["complex"]) == pytest.approx(2.0, abs=1e-2)  # |X - (-X)| / |X|
    assert float(parts["wave"]) == pytest.approx(math.log10(4), abs=1e-4)


@pytest.mark.parametrize("gain_db", [-6.0, 6.0, 20.0])
def test_a_wrong_gain_costs_its_size_in_bels_on_bands(loss, gain_db):
    x = noise(6000, 2)
    _, parts = loss(x * 10 ** (gain_db / 20), x)
    assert float(parts["band"]) == pytest.approx(abs(gain_db) / 10, rel=1e-3)
    # compressed magnitudes |X|^(1/2)
    ratio = abs(10 ** (gain_db / 40) - 1)
    assert float(parts["magnitude"]) == pytest.approx(ratio, rel=1e-2)
    assert float(parts["complex"]) == pytest.approx(ratio, rel=1e-2)


@pytest.mark.parametrize("gain", [0.05, 0.3, 5.0])
def test_items_weigh_the_same_at_any_level(loss, gain):
    x, y = noise(6000, seed=3), noise(6000, seed=3) + noise(6000, seed=4, level=0.03)
    total, parts = loss(y, x)
    scaled, scaled_parts = loss(gain * y, gain * x)
    for name in TERMS:
        assert float(scaled_parts[name]) == pytest.approx(float(parts[name]), rel=0.02, abs=0.01)
    both, _ = loss(torch.cat([y, gain * y]), torch.cat([x, gain * x]))
    assert float(both) == pytest.approx(float(total + scaled) / 2, rel=1e-4, abs=1e-5)


def test_total_is_the_weighted_sum_and_parts_are_detached():
    x, y = noise(6000, 2, seed=5), noise(6000, 2, seed=6).requires_grad_()
    weights = dict(wave=0.3, complex=2.0, magnitude=0.0, band=1.5)
    total, parts = ReconstructionLoss(LossConfig(**weights), RATE)(y, x)
    assert total.item() == pytest.approx(sum(w * float(parts[k]) for k, w in weights.items()))
    assert total.requires_grad and not any(part.requires_grad for part in parts.values())


def test_loss_has_no_weights_to_store(loss):
    assert not loss.state_dict() and not list(loss.parameters())


# --- gradients


@pytest.mark.parametrize("term", sorted(TERMS))
@pytest.mark.parametrize("pair", ["silence", "silent target", "silent output", "equal", "loud"])
def test_gradients_are_finite(term, pair):
    zero, x = torch.zeros(1, 1, 3000), noise(3000)
    y, target = {
        "silence": (zero, zero),
        "silent target": (x, zero),
        "silent output": (zero, x),
        "equal": (x, x),
        "loud": (1e3 * x, -1e3 * x),
    }[pair]
    y = y.clone().requires_grad_()
    total, _ = ReconstructionLoss(only(**{term: 1.0}), RATE)(y, target)
    (gradient,) = torch.autograd.grad(total, y)
    assert torch.isfinite(total) and torch.isfinite(gradient).all()


@pytest.mark.parametrize("term", sorted(TERMS))
def test_gradient_agrees_with_a_finite_difference(term):
    x, y = noise(2000, seed=7), noise(2000, seed=8)
    loss = ReconstructionLoss(only(**{term: 1.0}), RATE)
    direction = noise(2000, seed=9)
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(y, x)[0], y)
    with torch.no_grad():
        step = 1e-2
        up, down = (loss(y + s * direction, x)[0] for s in (step, -step))
    slope = float((up - down) / (2 * step))
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=0.05, abs=1e-3)


@pytest.mark.parametrize("term", sorted(TERMS))
def test_descending_the_gradient_lowers_the_term(term):
    x = noise(2000, seed=10)
    y = (x + noise(2000, seed=11, level=0.05)).requires_grad_()
    loss = ReconstructionLoss(only(**{term: 1.0}), RATE)
    total, _ = loss(y, x)
    (gradient,) = torch.autograd.grad(total, y)
    with torch.no_grad():
        moved = y - 0.005 * gradient / gradient.square().mean().sqrt()
        assert float(loss(moved, x)[0]) < float(total)
