"""The simulated network."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.packets import SEEDS, quick
from hypothesis import given
from hypothesis import strategies as st

from eulerodec import ConfigError
from eulerodec.packets import burst_loss, gilbert_elliott, reorder, uniform_loss


def test_loss_has_its_rate_and_bursts_their_length():
    n = 400_000
    assert uniform_loss(n, 0.1, 0).mean() == pytest.approx(0.1, rel=0.02)
    lost = burst_loss(n, 0.05, 4, 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost, [0]])))
    lengths = edges[1::2] - edges[::2]
    assert lost.mean() == pytest.approx(0.05, rel=0.05)
    assert lengths.mean() == pytest.approx(4, rel=0.05)
    # geometric, as a stay in a state of a Markov chain is
    assert (lengths == 1).mean() == pytest.approx(1 / 4, rel=0.05)


def test_gilbert_elliott_with_loss_in_both_states():
    lost = gilbert_elliott(400_000, 0.02, 0.2, 3, good=0.01, bad=0.5)
    assert lost.mean() == pytest.approx((0.01 * 0.2 + 0.5 * 0.02) / 0.22, rel=0.05)
    assert np.array_equal(lost, gilbert_elliott(400_000, 0.02, 0.2, 3, good=0.01, bad=0.5))


@quick
@given(n=st.integers(0, 60), depth=st.integers(0, 9), seed=SEEDS)
def test_reordering_keeps_to_its_depth(n, depth, seed):
    order = reorder(n, depth, seed)
    assert sorted(order) == list(range(n))
    newest = -1
    for k in order:
        newest = max(newest, k)
        assert newest - k <= depth


@pytest.mark.parametrize(
    "call",
    [
        lambda: uniform_loss(9, 1.5, 0),
        lambda: burst_loss(9, 0.9, 2, 0),
        lambda: burst_loss(9, 0.1, 0.5, 0),
        lambda: gilbert_elliott(9, float("nan"), 1, 0),
        lambda: reorder(9, -1, 0),
    ],
)
def test_impossible_networks(call):
    with pytest.raises(ConfigError):
        call()
