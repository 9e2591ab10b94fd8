"""What is measured: one table of all metrics, and :func:`measure`, which computes them.

Add a metric by adding a :class:`Measure` to :data:`MEASURES`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..errors import ConfigError
from . import perceptual, phase, spectral, waveform

__all__ = ["MEASURES", "METRICS", "Measure", "Metric", "measure", "missing", "select", "versions"]

Signal = NDArray[np.float32]
Compute = Callable[[Signal, Signal, int], "dict[str, float]"]


@dataclass(frozen=True)
class Metric:
    """A column: its name in the CSV, its label and unit in the report, and which way is better."""

    name: str
    label: str
    unit: str
    higher_is_better: bool


@dataclass(frozen=True)
class Measure:
    """One call that gives one or several metrics.

    ``modules``: what must be importable, ``install``: how to get it. ``rate``: the sample rate in
    Hz at which it works; other signals are resampled first. 0: any. ``source``: the documented
    function.
    """

    metrics: tuple[Metric, ...]
    compute: Compute
    source: Callable[..., Any]
    rate: int = 0
    modules: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()


def _one(
    name: str,
    label: str,
    unit: str,
    higher: bool,
    compute: Callable[[Signal, Signal, int], float],
    source: Callable[..., Any],
    **more: Any,
) -> Measure:
    return Measure(
        (Metric(name, label, unit, higher),),
        lambda r, e, s: {name: compute(r, e, s)},
        source,
        **more,
    )


def _at_16k(
    name: str, label: str, unit: str, source: Callable[[Any, Any], float], **more: Any
) -> Measure:
    return _one(
        name, label, unit, True, lambda r, e, s: source(r, e), source, rate=perceptual.RATE, **more
    )


MEASURES: tuple[Measure, ...] = (
    _one("si_sdr", "SI-SDR", "dB", True, lambda r, e, s: waveform.si_sdr(r, e), waveform.si_sdr),
    _one("seg_snr", "segmental SNR", "dB", True, waveform.segmental_snr, waveform.segmental_snr),
    Measure(
        (
            Metric("ip_rad", "phase error", "rad", False),
            Metric("gd_rad", "group-delay error", "rad", False),
            Metric("iaf_rad", "frequency error", "rad", False),
            Metric("gdd_ms", "group-delay distortion", "ms", False),
            Metric("pc", "phase coherence", "", True),
        ),
        phase.phase_measures,
        phase.phase_measures_of_spectra,
    ),
    _one(
        "mrstft",
        "multi-resolution STFT",
        "",
        False,
        lambda r, e, s: spectral.multi_resolution_stft(r, e),
        spectral.multi_resolution_stft,
    ),
    _one("log_mel", "log-mel distance", "", False, spectral.log_mel, spectral.log_mel),
    _one("dac_mel", "DAC mel distance", "", False, spectral.dac_mel, spectral.dac_mel),
    _one(
        "lsd",
        "log-spectral distance",
        "dB",
        False,
        lambda r, e, s: spectral.log_spectral_distance(r, e),
        spectral.log_spectral_distance,
    ),
    _at_16k(
        "pesq_wb",
        "PESQ-WB",
        "MOS",
        perceptual.pesq_wb,
        modules=("pesq",),
        distributions=("pesq",),
    ),
    _at_16k(
        "stoi",
        "STOI",
        "",
        perceptual.stoi,
        modules=("pystoi",),
        distributions=("pystoi",),
    ),
    _at_16k(
        "estoi",
        "ESTOI",
        "",
        perceptual.estoi,
        modules=("pystoi",),
        distributions=("pystoi",),
    ),
    _at_16k(
        "visqol",
        "ViSQOL speech",
        "MOS",
        perceptual.visqol,
        modules=("visqol", "ai_edge_litert"),
        distributions=("visqol-python", "ai-edge-litert"),
    ),
    Measure(
        (
            Metric("dnsmos_ovrl", "DNSMOS P.835 overall", "MOS", True),
            Metric("dnsmos_p808", "DNSMOS P.808", "MOS", True),
        ),
        lambda r, e, s: perceptual.dnsmos(e),
        perceptual.dnsmos,
        rate=perceptual.RATE,
        modules=("speechmos", "librosa", "onnxruntime"),
        distributions=("speechmos", "librosa", "onnxruntime"),
    ),
)
METRICS: dict[str, Metric] = {m.name: m for measure in MEASURES for m in measure.metrics}


def select(names: Sequence[str] = ()) -> tuple[Measure, ...]:
    """The measures that give the metrics ``names``, all if there are none.

    Raises:
        ConfigError: an unknown name.
    """
    unknown = sorted(set(names) - set(METRICS))
    if unknown:
        raise ConfigError(f"no metric {unknown[0]!r}; there are {', '.join(METRICS)}")
    return tuple(m for m in MEASURES if not names or set(names) & {x.name for x in m.metrics})


def missing(measure: Measure) -> str:
    """Why a measure cannot run here: the distributions that are not installed, else empty."""
    pairs = zip(measure.modules, measure.distributions, strict=True)
    return ", ".join(name for module, name in pairs if importlib.util.find_spec(module) is None)


def versions(measures: Sequence[Measure]) -> dict[str, str]:
    """Installed versions of the distributions that the measures use."""
    names = sorted({name for m in measures if not missing(m) for name in m.distributions})
    return {name: importlib.metadata.version(name) for name in names}


def measure(
    reference: Signal, estimate: Signal, sample_rate: int, measures: Sequence[Measure] = MEASURES
) -> tuple[dict[str, float], dict[str, str]]:
    """Measure two aligned signals.

    Args:
        reference, estimate: ``[N]`` of one length.
        sample_rate: of both in Hz.
        measures: what to compute; one whose package is missing is left out.

    Returns:
        Values by metric, and what went wrong by metric. NaN is an error; infinity is a value
        (SI-SDR of an exact copy).

    Raises:
        ValueError: signals of different length.
    """
    if reference.shape != estimate.shape or reference.ndim != 1:
        raise ValueError(f"two signals [N] are needed, not {reference.shape} and {estimate.shape}")
    at_rate = {0: (reference, estimate), sample_rate: (reference, estimate)}
    values: dict[str, float] = {}
    errors: dict[str, str] = {}
    for one in measures:
        if missing(one):
            continue
        if one.rate not in at_rate:
            at_rate[one.rate] = (
                audio.resample(reference[None], sample_rate, one.rate)[0],
                audio.resample(estimate[None], sample_rate, one.rate)[0],
            )
        try:
            result = one.compute(*at_rate[one.rate], one.rate or sample_rate)
        except Exception as error:  # packages raise what they like
            text = " ".join(str(error).split()) or type(error).__name__
            errors |= {m.name: text[:200] for m in one.metrics}
            continue
        for name, value in result.items():
            if math.isnan(value):
                errors[name] = "not defined for these signals"
            else:
                values[name] = value
    return values, errors
