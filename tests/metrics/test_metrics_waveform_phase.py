"""Waveform and phase measures against values known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.signals import white_noise

from eulerodec.metrics.phase import phase_measures, phase_measures_of_spectra, unwrapped
from eulerodec.metrics.waveform import segmental_snr

RATE = 24_000
BIN_HZ = 31.25  # of a window of 32 ms


def spectrum(seed: int = 0) -> np.ndarray:
    """Flat magnitudes, random phases."""
    phases = np.random.default_rng(seed).uniform(-np.pi, np.pi, (200, 300))
    return np.exp(1j * phases)


def test_segmental_snr_is_the_mean_of_the_frames_in_db():
    x = white_noise(4 * 480)
    gains = np.repeat([0.5, 0.9, 0.99, 0.0], 480)  # error (1 - g) x: 6.02, 20, 40 and 0 dB
    expected = np.mean([-20 * math.log10(0.5), 20.0, 35.0, 0.0])  # 40 is limited to 35
    assert segmental_snr(x, gains * x, RATE) == pytest.approx(expected, abs=1e-9)


def test_segmental_snr_at_its_limits():
    x = white_noise(4800)
    assert segmental_snr(x, x, RATE) == 35.0
    assert segmental_snr(x, -9 * x, RATE) == -10.0  # the error is 20 dB above the signal
    assert math.isnan(segmental_snr(np.zeros(4800), x, RATE))
    quiet = np.concatenate([x, np.zeros(4800)])  # silence does not count
    assert segmental_snr(quiet, 0.5 * quiet, RATE) == pytest.approx(20 * math.log10(2))


def test_a_swapped_reference_changes_segmental_snr():
    x = white_noise(4800)
    assert segmental_snr(x, 0.5 * x, RATE) == pytest.approx(6.02, abs=0.01)
    assert segmental_snr(0.5 * x, x, RATE) == pytest.approx(0.0, abs=1e-9)


def test_unwrapping_of_angles():
    angles = np.array([0.0, 1.0, -1.0, np.pi, 2 * np.pi - 0.25, -4 * np.pi + 0.5])
    assert np.allclose(unwrapped(angles), [0, 1, 1, np.pi, 0.25, 0.5])


def test_an_exact_copy_has_no_phase_error():
    x = white_noise(24_000)
    got = phase_measures(x, 0.3 * x, RATE)
    assert got["pc"] == pytest.approx(1)
    for name in ("ip_rad", "gd_rad", "iaf_rad", "gdd_ms"):
        assert got[name] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("angle", [0.4, -1.3, 2.9])
def test_a_constant_turn_is_an_error_of_the_phase_alone(angle):
    x = spectrum()
    got = phase_measures_of_spectra(x, 2 * x * np.exp(1j * angle), BIN_HZ)
    assert got["ip_rad"] == pytest.approx(abs(angle))
    assert got["pc"] == pytest.approx(math.cos(angle))
    assert got["gd_rad"] == pytest.approx(0, abs=1e-9)
    assert got["iaf_rad"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("delay_ms", [0.5, 3.0, 12.0])
def test_a_delay_is_group_delay_of_that_many_ms(delay_ms):
    x = spectrum()
    turn = np.exp(-2j * np.pi * BIN_HZ * np.arange(len(x)) * delay_ms / 1000)
    got = phase_measures_of_spectra(x, x * turn[:, None], BIN_HZ)
    assert got["gdd_ms"] == pytest.approx(delay_ms)
    assert got["gd_rad"] == pytest.approx(2 * np.pi * BIN_HZ * delay_ms / 1000)
    assert got["iaf_rad"] == pytest.approx(0, abs=1e-9)


def test_a_delayed_signal_has_about_that_group_delay():
    x = white_noise(48_000)
    got = phase_measures(x[:-24], x[24:], RATE)
    assert got["gdd_ms"] == pytest.approx(1.0, rel=0.25)  # of framed noise, not exact


def test_a_shifted_frequency_is_an_error_of_the_angular_frequency():
    t = np.arange(48_000) / RATE
    got = phase_measures(np.sin(2 * np.pi * 1000 * t), np.sin(2 * np.pi * 1005 * t), RATE)
    assert got["iaf_rad"] == pytest.approx(2 * np.pi * 5 * 0.008, rel=0.02)  # 5 Hz in 8 ms


def test_random_phase_scores_a_quarter_turn():
    got = phase_measures_of_spectra(spectrum(1), spectrum(2), BIN_HZ)
    for name in ("ip_rad", "gd_rad", "iaf_rad"):
        assert got[name] == pytest.approx(np.pi / 2, rel=0.01)
    assert got["pc"] == pytest.approx(0, abs=0.01)
    assert got["gdd_ms"] == pytest.approx(8.0, rel=0.01)  # a quarter of the window of 32 ms


def test_strong_bins_weigh_more_and_weak_ones_nothing():
    x = np.array([[3.0], [1.0], [1e-3]])
    turned = x * np.exp(1j * np.array([[0.2], [1.0], [3.0]]))
    got = phase_measures_of_spectra(x, turned, BIN_HZ)
    assert got["ip_rad"] == pytest.approx((3 * 0.2 + 1 * 1.0) / 4)  # the third is 70 dB down
    swapped = phase_measures_of_spectra(np.array([[1.0], [3.0], [1e-3]]), turned, BIN_HZ)
    assert swapped["ip_rad"] == pytest.approx((1 * 0.2 + 3 * 1.0) / 4)


def test_silence_has_no_phase():
    x = spectrum()
    assert all(map(math.isnan, phase_measures_of_spectra(0 * x, x, BIN_HZ).values()))
    assert math.isnan(phase_measures_of_spectra(x, 0 * x, BIN_HZ)["pc"])
