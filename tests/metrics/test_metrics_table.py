"""The table of metrics: all of them move the right way, at the right rate, or say why not."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

from eulerodec import audio
from eulerodec.errors import ConfigError
from eulerodec.metrics import MEASURES, METRICS, measure, missing, perceptual, select

RATE = 24_000


def noisy(x: np.ndarray, db: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(x)).astype(np.float32)
    return x + noise * np.float32(np.linalg.norm(x) / np.linalg.norm(noise) * 10 ** (-db / 20))


@pytest.fixture(scope="module")
def at_snr(talk):
    """Metrics of speech with noise 40, 20 and 0 dB below it."""
    return [measure(talk, noisy(talk, db), RATE) for db in (40.0, 20.0, 0.0)]


@pytest.mark.parametrize("name", METRICS)
def test_no_metric_is_constant_or_runs_the_wrong_way(name, at_snr):
    owner = next(m for m in MEASURES if name in {x.name for x in m.metrics})
    if missing(owner):
        pytest.skip(f"not installed: {missing(owner)}")
    best, middle, worst = (values[name] for values, _ in at_snr)
    if METRICS[name].higher_is_better:
        best, worst = worst, best
    assert best < middle < worst or best > middle > worst
    up = METRICS[name].higher_is_better
    values = [v[name] for v, _ in at_snr]
    assert values == sorted(values, reverse=up)


def test_nothing_fails_on_speech(at_snr):
    assert [errors for _, errors in at_snr] == [{}, {}, {}]


def test_an_exact_copy_has_the_best_values(talk):
    values, errors = measure(talk, talk, RATE)
    assert errors == {} and values["si_sdr"] == math.inf
    known = {"pc": 1.0, "stoi": 1.0, "estoi": 1.0, "seg_snr": 35.0}
    # P.862.2: 0.999 + 4 / (1 + exp(-1.3669 * 4.5 + 3.8224))
    known["pesq_wb"] = 0.999 + 4 / (1 + math.exp(-1.3669 * 4.5 + 3.8224))
    known |= dict.fromkeys(("ip_rad", "gd_rad", "iaf_rad", "gdd_ms"), 0.0)
    known |= dict.fromkeys(("mrstft", "log_mel", "dac_mel", "lsd"), 0.0)
    for name in known.keys() & values.keys():
        assert values[name] == pytest.approx(known[name], abs=1e-5), name


def test_models_are_given_their_own_rate(talk):
    pesq = pytest.importorskip("pesq")
    bad = noisy(talk, 10)
    values, _ = measure(talk, bad, RATE, select(["pesq_wb"]))
    r, e = (audio.resample(x[None], RATE, 16_000)[0] for x in (talk, bad))
    assert values["pesq_wb"] == pytest.approx(pesq.pesq(16_000, r, e, "wb"))
    # the same samples taken for 16 kHz would score otherwise
    assert abs(values["pesq_wb"] - perceptual.pesq_wb(talk, bad)) > 0.01


def test_stoi_is_the_correlation_model_of_the_paper(talk):
    pytest.importorskip("pystoi")
    # Taal et al. 2011: invariant to a gain, and monotonic in the level of noise
    r, e = (audio.resample(x[None], RATE, 16_000)[0] for x in (talk, noisy(talk, 5)))
    assert perceptual.stoi(r, 0.2 * e) == pytest.approx(perceptual.stoi(r, e), abs=1e-6)
    assert perceptual.estoi(r, e) < perceptual.stoi(r, e) < 1


def test_what_a_model_cannot_judge_is_an_error_with_its_name(talk):
    pytest.importorskip("pystoi")
    short = talk[:2400]
    values, errors = measure(short, noisy(short, 10), RATE, select(["stoi", "si_sdr"]))
    assert "stoi" in errors and "stoi" not in values
    assert "Not enough" in errors["stoi"] and values["si_sdr"] == pytest.approx(10, abs=0.5)


def test_an_undefined_value_is_an_error(talk):
    values, errors = measure(0 * talk, talk, RATE, select(["si_sdr", "pc", "mrstft"]))
    assert {"si_sdr", "pc", "ip_rad"} <= errors.keys() and "si_sdr" not in values


def test_a_missing_package_leaves_its_metrics_out(talk, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pesq" else find(name)
    )
    values, errors = measure(talk, talk, RATE, select(["pesq_wb", "si_sdr"]))
    assert "pesq_wb" not in values | errors and "si_sdr" in values
    assert missing(select(["pesq_wb"])[0]) == "pesq"


def test_signals_of_different_length_are_refused(talk):
    with pytest.raises(ValueError, match="two signals"):
        measure(talk, talk[1:], RATE)


def test_an_unknown_metric_is_named():
    with pytest.raises(ConfigError, match=r"'pesk'.*pesq_wb"):
        select(["pesk"])


def test_every_metric_is_documented():
    for one in MEASURES:
        assert len(one.source.__doc__ or "") > 60
