"""A small lag is found; a larger delay stays and shows in the measures."""

from __future__ import annotations

import numpy as np
import pytest

from eulerodec.evaluate.align import align, best_lag, shift
from eulerodec.metrics import measure, select

RATE = 24_000
LIMIT = 12  # half a millisecond


def late(x: np.ndarray, n: int) -> np.ndarray:
    """``x`` n samples later."""
    return shift(x, -n, len(x))


@pytest.mark.parametrize("lag", [-12, -3, 0, 1, 12])
def test_a_lag_within_the_limit_is_found_and_undone(talk, lag):
    moved, found = align(talk, late(talk, lag), RATE)
    assert found == lag
    assert np.array_equal(moved[12:-12], talk[12:-12])


@pytest.mark.parametrize("delay", [30, 120, -240])
def test_a_delayed_copy_is_not_forgiven(talk, delay):
    """1.25, 5 and -10 ms: the copy is perfect but for time, and must not look so."""
    moved, lag = align(talk, late(talk, delay), RATE)
    values, _ = measure(talk, moved, RATE, select(["si_sdr", "pc", "gdd_ms"]))
    exact, _ = measure(talk, align(talk, talk, RATE)[0], RATE, select(["si_sdr", "pc", "gdd_ms"]))
    assert abs(lag) <= LIMIT
    assert values["si_sdr"] < 5 < exact["si_sdr"]
    assert values["pc"] < 0.8 and exact["pc"] == pytest.approx(1)
    assert values["gdd_ms"] > 0.3


def test_length_is_that_of_the_reference(talk):
    for estimate in (talk[:-100], np.concatenate([talk, talk[:500]])):
        moved, lag = align(talk, estimate, RATE)
        assert moved.shape == talk.shape and lag == 0


def test_an_inverted_copy_is_not_taken_for_a_late_one():
    x = np.sin(2 * np.pi * 3000 * np.arange(2400) / RATE).astype(np.float32)  # 8 samples a period
    assert best_lag(x, -x, 3) != 0  # half a period would do, but 3 samples do not reach it
    assert best_lag(x, x, 12) == 0  # of lags a period apart the smallest


def test_silence_has_no_lag(talk):
    assert best_lag(talk, 0 * talk, LIMIT) == 0
