"""Means, paired differences and intervals against values worked out by hand or by scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from eulerodec.evaluate.summary import (
    bootstrap,
    failures,
    groups,
    read_summary,
    summarize,
    write_summary,
)


def row(clip, group, system, value, errors=""):
    return {
        "clip": clip, "set": group, "system": system, "kbps": "6", "file_kbps": "7",
        "pc": value, "errors": errors,
    }  # fmt: skip


ROWS = [
    row("1", "x", "a", "0.5"), row("1", "x", "b", "0.7"),
    row("2", "x", "a", "0.6"), row("2", "x", "b", "0.9"),
    row("3", "y", "a", "0.1"), row("3", "y", "b", "", '{"pc": "too short"}'),
]  # fmt: skip


def find(stats, group, system, metric="pc"):
    return next(s for s in stats if (s.group, s.system, s.metric) == (group, system, metric))


def test_means_and_pairs():
    stats = summarize(ROWS, ["pc"], "a")
    a, b = find(stats, "all", "a"), find(stats, "all", "b")
    assert (a.clips, a.n, b.clips, b.n, b.pairs) == (3, 3, 3, 2, 2)
    assert a.mean == pytest.approx(0.4) and a.median == pytest.approx(0.5)
    assert a.std == pytest.approx(np.std([0.5, 0.6, 0.1], ddof=1))
    assert b.mean == pytest.approx(0.8)
    # only clips 1 and 2 have both: the difference is not that of the means
    assert b.diff == pytest.approx((0.2 + 0.3) / 2) and b.wins == 1
    assert a.pairs == 0 and math.isnan(a.diff)
    assert find(stats, "all", "b", "kbps").mean == 6


def test_groups():
    assert groups(ROWS) == {"all": ["x", "y"], "set: x": ["x"], "set: y": ["y"]}
    assert groups(ROWS, ["y"])["in-domain"] == ["y"]
    assert groups(ROWS, ["y"])["out-of-domain"] == ["x"]
    assert groups(ROWS[:4]) == {"all": ["x"]}
    stats = summarize(ROWS, ["pc"], "a", ["y"])
    assert find(stats, "in-domain", "a").mean == pytest.approx(0.1)
    assert find(stats, "out-of-domain", "a").mean == pytest.approx(0.55)


def test_bootstrap_is_the_percentile_one():
    values = np.random.default_rng(5).exponential(size=40)
    low, high = bootstrap(values)
    reference = scipy_bootstrap(
        (values,), np.mean, method="percentile", n_resamples=9999, rng=np.random.default_rng(1)
    ).confidence_interval
    width = reference.high - reference.low
    assert low == pytest.approx(reference.low, abs=0.05 * width)
    assert high == pytest.approx(reference.high, abs=0.05 * width)
    assert bootstrap(values) == (low, high)  # the seed is fixed
    assert bootstrap(values, seed=1) != (low, high)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = bootstrap(rng.standard_normal(30))
        hits += low <= 0 <= high
    assert 175 <= hits <= 199


def test_bootstrap_at_the_edges():
    assert all(map(math.isnan, bootstrap(np.array([1.0]))))
    assert bootstrap(np.full(5, 2.0)) == (2.0, 2.0)
    assert all(map(math.isnan, bootstrap(np.array([1.0, math.inf]))))


def test_exact_copies_have_an_infinite_mean_and_no_interval():
    rows = [row("1", "x", "a", "inf"), row("2", "x", "a", "inf"), row("1", "x", "b", "3")]
    stats = summarize(rows, ["pc"], "b")
    a = find(stats, "all", "a")
    assert a.mean == math.inf and math.isnan(a.low) and a.pairs == 0


def test_failures_are_named():
    (found,) = failures(ROWS)
    assert (found.clip, found.system, found.metric, found.message) == ("3", "b", "pc", "too short")


def test_what_is_written_can_be_read_back(tmp_path):
    stats = summarize(ROWS, ["pc"], "a")
    write_summary(tmp_path / "summary.csv", stats)
    back = read_summary(tmp_path / "summary.csv")
    assert [(s.group, s.system, s.metric, s.n, s.pairs) for s in back] == [
        (s.group, s.system, s.metric, s.n, s.pairs) for s in stats
    ]
    means = [[s.mean for s in some] for some in (back, stats)]
    np.testing.assert_allclose(*means, rtol=1e-5)
    assert any(math.isnan(s.diff) for s in back)
