"""Resampling, against known signals."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eulerodec import audio

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000])


@given(n=st.integers(0, 3000), a=RATES, b=RATES)
def test_resampled_length_is_the_ceiling_and_the_way_back_is_exact(n, a, b):
    x = np.ones((1, n), np.float32)
    y = audio.resample(x, a, b)
    assert y.shape == (1, math.ceil(Fraction(n * b, a)))
    assert audio.resample(y, b, a, n).shape == (1, n)


@pytest.mark.parametrize(
    ("a", "b"), [(44_100, 24_000), (8_000, 24_000), (24_000, 44_100), (192_000, 24_000)]
)
def test_resampled_sine_is_the_sine(a, b):
    def tone(rate: int) -> np.ndarray:
        t = np.arange(rate) / rate
        return np.sin(2 * np.pi * 1000 * t) * np.sin(np.pi * t) ** 2  # silent at both ends

    y = audio.resample(tone(a)[None].astype(np.float32), a, b)
    assert np.abs(y[0] - tone(b)).max() < 1e-6  # no delay, no gain


def test_resampling_keeps_channels_apart_and_removes_what_does_not_fit():
    x = np.zeros((2, 48_000), np.float32)
    x[0] = np.sin(2 * np.pi * 15_000 / 48_000 * np.arange(48_000))
    y = audio.resample(x, 48_000, 24_000)
    assert not y[1].any()
    assert np.abs(y[0, 500:-500]).max() < 1e-5
