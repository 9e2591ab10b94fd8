"""Frequency bands: where they are, and energies in them."""

import pytest
import torch

from eulerodec.model import Bands
from eulerodec.nn import STFT, band_centres, erb_width, triangles

RATE, HOP = 24000, 264


def test_erb_width_of_glasberg_and_moore():
    assert erb_width(1000.0) == pytest.approx(132.6, abs=0.1)
    assert erb_width(100.0) == pytest.approx(35.5, abs=0.1)


def test_triangles_share_every_frequency_out():
    centres = band_centres(RATE, 91.0)
    assert centres[0] == 91.0 and centres[-1] < RATE / 2 and centres.diff().min() >= 91.0
    hertz = torch.linspace(0.0, RATE / 2, 500, dtype=torch.float64)
    weights = triangles(centres, hertz)
    torch.testing.assert_close(weights.sum(0), torch.ones(500, dtype=torch.float64))
    assert (weights >= 0).all() and (weights > 0).sum(0).max() <= 2
    # at a centre only its own band counts
    torch.testing.assert_close(triangles(centres, centres), torch.eye(len(centres)).double())


def test_energies_of_white_noise_and_of_silence():
    stft, sigma = STFT(2 * HOP, HOP), 0.1
    wav = sigma * torch.randn(1, 40 * RATE, generator=torch.Generator().manual_seed(0))
    energies = Bands(RATE, HOP).energies(stft.analysis(wav))[..., 2:-2]
    expected = sigma**2 * float(stft.window.square().sum())
    # mean of the power, not of its logarithm
    means = (10.0**energies).mean((0, 2))
    torch.testing.assert_close(means, torch.full_like(means, expected), rtol=0.05, atol=0.0)
    silent = Bands(RATE, HOP).energies(stft.analysis(torch.zeros(1, 2000)))
    assert silent.max() <= -7.99
