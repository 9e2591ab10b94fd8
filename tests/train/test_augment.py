"""Augmentation does what its numbers say."""

import dataclasses

import numpy as np
import pytest

from eulerodec.train.augment import Spectral, augment, resample_filter
from eulerodec.train.recipe import AugmentConfig

RATE = 24000
N = 24000
OFF = AugmentConfig(gain_p=0, speed_p=0, eq_p=0, band_limit_p=0, mix_p=0, polarity_p=0)


def tone(hz: float, n: int, amplitude: float = 0.1) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(n) / RATE)).astype(np.float32)


def amplitude_at(wave: np.ndarray, hz: float) -> float:
    """Least-squares amplitude of one frequency over the middle of the crop."""
    middle = wave[N // 8 : -N // 8]
    t = 2 * np.pi * hz * np.arange(len(middle)) / RATE
    basis = np.stack([np.sin(t), np.cos(t)], 1)
    return float(np.linalg.norm(np.linalg.lstsq(basis, middle, rcond=None)[0]))


def with_(**changes) -> AugmentConfig:
    return dataclasses.replace(OFF, **changes)


def test_off_is_identity():
    wave = tone(440, N)
    out = augment(lambda n, margin: wave, N, OFF, np.random.default_rng(0), RATE)
    np.testing.assert_array_equal(out, wave)


@pytest.mark.parametrize("db", [-12.0, -3.0, 6.0])
def test_gain_is_exact(db: float):
    wave = tone(440, N)
    config = with_(gain_p=1, gain_db=[db, db])
    out = augment(lambda n, margin: wave, N, config, np.random.default_rng(0), RATE)
    np.testing.assert_allclose(out, wave * 10 ** (db / 20), rtol=1e-6)


def test_gain_never_clips():
    wave = tone(440, N, amplitude=0.9)
    config = with_(gain_p=1, gain_db=[6, 6], mix_p=1, mix_db=[0, 0])
    out = augment(lambda n, margin: wave, N, config, np.random.default_rng(0), RATE)
    assert np.abs(out).max() == pytest.approx(1.0, abs=1e-6)


def test_polarity():
    wave = tone(440, N)
    out = augment(lambda n, margin: wave, N, with_(polarity_p=1), np.random.default_rng(0), RATE)
    np.testing.assert_array_equal(out, -wave)


@pytest.mark.parametrize("speed", [0.85, 0.97, 1.0411, 1.18])
def test_speed_moves_pitch_as_asked(speed: float):
    plan = Spectral(speed=speed)
    out = resample_filter(tone(1000, plan.source_samples(N)), N, plan, RATE)
    assert out.shape == (N,)
    # the tone must be at 1000 * speed, whole: what is left after taking it out is below -60 dB
    ratio = plan.source_samples(N) / (N + 1024)  # the ratio after rounding to whole samples
    assert ratio == pytest.approx(speed, abs=1e-4)
    middle = out[N // 8 : -N // 8].astype(np.float64)
    t = 2 * np.pi * 1000 * ratio * np.arange(len(middle)) / RATE
    basis = np.stack([np.sin(t), np.cos(t)], 1)
    fit, *_ = np.linalg.lstsq(basis, middle, rcond=None)
    assert np.linalg.norm(fit) == pytest.approx(0.1, rel=1e-3)
    assert np.sqrt(np.mean((middle - basis @ fit) ** 2)) < 1e-4


def test_speed_up_does_not_alias():
    plan = Spectral(speed=1.18)  # 11 kHz would land at 12.98 kHz, above half the rate
    out = resample_filter(tone(11000, plan.source_samples(N)), N, plan, RATE)
    assert np.sqrt(np.mean(out[N // 8 : -N // 8] ** 2)) < 1e-4


def test_band_limit_keeps_below_and_removes_above():
    plan = Spectral(cutoff_hz=4000)
    source = plan.source_samples(N)
    out = resample_filter(tone(3000, source) + tone(5500, source), N, plan, RATE)
    assert amplitude_at(out, 3000) == pytest.approx(0.1, rel=1e-3)
    assert amplitude_at(out, 5500) < 1e-4


def test_equaliser_ends_have_the_given_gains():
    plan = Spectral(eq_db=(6.0, 0.0, 0.0, 0.0, 0.0, -6.0))
    source = plan.source_samples(N)
    low = resample_filter(tone(20, source), N, plan, RATE)
    high = resample_filter(tone(11950, source), N, plan, RATE)
    assert 20 * np.log10(amplitude_at(low, 20) / 0.1) == pytest.approx(6, abs=0.1)
    assert 20 * np.log10(amplitude_at(high, 11950) / 0.1) == pytest.approx(-6, abs=0.1)


def test_mix_level():
    first, second = tone(500, N), tone(2000, N, amplitude=0.01)
    waves = iter([first, second])
    config = with_(mix_p=1, mix_db=[-10, -10])
    out = augment(lambda n, margin: next(waves), N, config, np.random.default_rng(0), RATE)
    assert amplitude_at(out, 500) == pytest.approx(0.1, rel=1e-3)
    assert amplitude_at(out, 2000) == pytest.approx(0.1 * 10**-0.5, rel=1e-3)


def test_silence_stays_finite():
    config = AugmentConfig(speed_p=1, eq_p=1, band_limit_p=1, mix_p=1)
    out = augment(
        lambda n, margin: np.zeros(n, np.float32), N, config, np.random.default_rng(0), RATE
    )
    assert out.shape == (N,)
    assert not out.any()
