"""Spectral distances against torch, scipy and values known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers.signals import white_noise

from eulerodec.metrics.spectral import (
    dac_mel,
    log_mel,
    log_spectral_distance,
    multi_resolution_stft,
)
from eulerodec.metrics.stft import mel_filters, stft

RATE = 24_000


@pytest.mark.parametrize(
    ("n_fft", "hop", "window"), [(512, 50, 240), (32, 8, 32), (1024, 120, 600)]
)
def test_stft_is_that_of_torch(n_fft, hop, window):
    x = white_noise(5000)
    hann = torch.hann_window(window, dtype=torch.float64)
    expected = torch.stft(torch.from_numpy(x), n_fft, hop, window, hann, return_complex=True)
    assert np.allclose(stft(x, n_fft, hop, window), expected.numpy())


def test_mel_filters_are_slaneys():
    # values of librosa 0.11: librosa.filters.mel(sr=24000, n_fft=1024, n_mels=80)
    bank = mel_filters(24_000, 1024, 80)
    assert bank.shape == (80, 513)
    assert bank[0].argmax() == 2 and bank[0, 2] == pytest.approx(0.02105802, rel=1e-6)
    assert bank[40].argmax() == 90 and bank[40, 90] == pytest.approx(0.010349112, rel=1e-6)
    # unit area in Hz where triangles are wide against bins
    assert np.allclose((bank[60:] * (24_000 / 1024)).sum(1), 1, rtol=0.02)


@pytest.mark.parametrize("gain", [0.1, 0.5, 2.0])
def test_a_gain_is_its_logarithm_in_every_band(gain):
    x = white_noise(24_000)
    step = abs(math.log10(gain))
    assert log_mel(x, gain * x, RATE) == pytest.approx(step)
    # every band of every scale that has a filter; the finest scale has empty ones at low pitch
    scales = ((5, 32), (10, 64), (20, 128), (40, 256), (80, 512), (160, 1024), (320, 2048))
    bands = [mel_filters(RATE, n, m).any(1).mean() for m, n in scales]
    assert dac_mel(x, gain * x, RATE) == pytest.approx(step * sum(bands), rel=1e-4)
    # within the range of 80 dB every bin is off by the same number of dB
    assert log_spectral_distance(x, gain * x) == pytest.approx(20 * step, rel=5e-3)
    expected = abs(gain - 1) + abs(math.log(gain))
    assert multi_resolution_stft(x, gain * x) == pytest.approx(expected, rel=1e-3)


def test_multi_resolution_stft_is_that_of_the_formula_in_torch():
    x, y = white_noise(24_000, seed=1), white_noise(24_000, seed=2)
    total = 0.0
    for n_fft, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        hann = torch.hann_window(window, dtype=torch.float64)
        r, e = (
            torch.stft(torch.from_numpy(s), n_fft, hop, window, hann, return_complex=True).abs()
            for s in (x, y)
        )
        total += float((r - e).norm() / r.norm() + (r.log() - e.log()).abs().mean()) / 3
    assert multi_resolution_stft(x, y) == pytest.approx(total, rel=1e-4)


def test_spectral_convergence_knows_which_is_the_reference():
    x = white_noise(24_000)
    loud, soft = multi_resolution_stft(x, 3 * x), multi_resolution_stft(3 * x, x)
    assert loud - soft == pytest.approx(2 - 2 / 3, rel=1e-3)


def test_the_floor_of_the_log_spectral_distance():
    x = white_noise(24_000)
    assert log_spectral_distance(x, x) == 0
    assert 50 < log_spectral_distance(x, 1e-9 * x) <= 80
    assert math.isnan(log_spectral_distance(np.zeros(24_000), x))


def test_silence_against_silence_is_no_distance():
    assert log_mel(np.zeros(4000), np.zeros(4000), RATE) == 0
    assert dac_mel(np.zeros(4000), np.zeros(4000), RATE) == 0
