"""SI-SDR and phase error against values known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import stft

from eulerodec.metrics import phase_error, si_sdr, spectrogram

N = 2400
T = np.arange(N)
SINE, COSINE = np.sin(2 * np.pi * 10 * T / N), np.cos(2 * np.pi * 10 * T / N)


@pytest.mark.parametrize("db", [-10.0, 0.0, 7.3, 40.0])
@pytest.mark.parametrize("scale", [0.01, 1.0, -3.0])
def test_si_sdr_of_orthogonal_noise_is_the_level_ratio(db, scale):
    estimate = scale * (SINE + 10 ** (-db / 20) * COSINE) + 0.5  # the mean does not count
    assert si_sdr(SINE, estimate) == pytest.approx(db, abs=1e-9)


def test_si_sdr_at_the_edges():
    assert si_sdr(SINE, SINE) > 250
    assert si_sdr(SINE, COSINE) < -250
    assert math.isnan(si_sdr(np.zeros(9), np.ones(9))) and math.isnan(si_sdr([], []))
    with pytest.raises(ValueError, match="equal length"):
        si_sdr([1, 2], [1])


def test_spectrogram_is_the_textbook_one():
    x = np.random.default_rng(0).standard_normal(N)
    _, _, expected = stft(x, nperseg=528, noverlap=396, boundary="zeros", padded=True)
    expected *= 264  # scipy divides by the window's sum
    got = spectrogram(x)
    frames = min(got.shape[1], expected.shape[1])
    assert frames > N // 132
    assert np.allclose(got[:, :frames], expected[:, :frames])


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0, 3.0])
def test_phase_error_of_a_turned_spectrum_is_the_angle(angle):
    reference = spectrogram(np.random.default_rng(0).standard_normal(N))
    error, mean = phase_error(reference, 2 * reference * np.exp(1j * angle))
    assert np.allclose(error, angle) and mean == pytest.approx(abs(angle))


def test_phase_error_of_another_signal_is_a_quarter_turn():
    one, other = (np.random.default_rng(k).standard_normal(200_000) for k in (1, 2))
    _, mean = phase_error(spectrogram(one), spectrogram(other))
    assert mean == pytest.approx(np.pi / 2, rel=0.01)
    assert math.isnan(phase_error(np.zeros((3, 3)), np.ones((3, 3)))[1])
