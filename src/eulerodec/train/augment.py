"""Random changes of a crop, each with a probability from the recipe.

Speed, equaliser and band limit are one pass through the frequency domain: the spectrum of the crop
(with margins on both sides) is scaled by a smooth zero-phase curve and read back on another number
of points, which is ideal band-limited resampling at the ratio of the two lengths. The margins are
tapered and cut off again, so the wrap-around of the FFT does not reach the crop. All randomness
comes from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .recipe import AugmentConfig

__all__ = ["Spectral", "augment", "plan_spectral", "resample_filter"]

Wave = NDArray[np.float32]
MARGIN = 512  # samples on each side, at the output rate


@dataclass(frozen=True)
class Spectral:
    """What the frequency-domain pass will do to one crop.

    ``speed`` 1.1 plays 10 % faster and higher; ``eq_db`` are the gains at equally spaced points of
    a warped frequency axis; ``cutoff_hz`` 0 = no band limit.
    """

    speed: float = 1.0
    eq_db: tuple[float, ...] = ()
    cutoff_hz: float = 0.0

    @property
    def identity(self) -> bool:
        return self.speed == 1.0 and not self.eq_db and self.cutoff_hz == 0.0

    def source_samples(self, n: int) -> int:
        """Input samples (margins included) for ``n`` output samples."""
        return n if self.identity else round((n + 2 * MARGIN) * self.speed)

    def source_margin(self, n: int) -> int:
        """Input samples of the left margin."""
        return 0 if self.identity else round(MARGIN * self.source_samples(n) / (n + 2 * MARGIN))


def plan_spectral(config: AugmentConfig, rng: np.random.Generator) -> Spectral:
    """Draw speed (log-uniform), equaliser and band limit."""
    speed, eq_db, cutoff = 1.0, (), 0.0
    if rng.random() < config.speed_p:
        speed = _log_uniform(rng, config.speed)
    if rng.random() < config.eq_p:
        eq_db = tuple(rng.uniform(-config.eq_db, config.eq_db, size=6).tolist())
    if rng.random() < config.band_limit_p:
        cutoff = _log_uniform(rng, config.band_limit_hz)
    return Spectral(speed, eq_db, cutoff)


def _log_uniform(rng: np.random.Generator, ends: list[float]) -> float:
    return float(np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]))))


def resample_filter(wave: Wave, n: int, plan: Spectral, sample_rate: int) -> Wave:
    """Apply ``plan`` to ``wave`` [plan.source_samples(n)] and return the crop, float32 [n]."""
    if plan.identity:
        return wave[:n]
    length = n + 2 * MARGIN
    ramp = np.sin(np.linspace(0, np.pi / 2, MARGIN // 2, dtype=np.float32)) ** 2
    tapered = wave.copy()
    tapered[: len(ramp)] *= ramp
    tapered[-len(ramp) :] *= ramp[::-1]
    spectrum = np.fft.rfft(tapered)
    bins = min(len(spectrum), length // 2 + 1)
    hz = np.arange(bins, dtype=np.float32) * np.float32(sample_rate / length)
    curve = np.full(bins, length / len(wave), dtype=np.float32)
    if plan.eq_db:
        curve *= _eq_curve(hz, plan.eq_db, sample_rate)
    if plan.cutoff_hz:
        # raised cosine from 1 at the cutoff to 0 at 1.15 times it
        fall = np.clip((hz / np.float32(plan.cutoff_hz) - 1) / 0.15, 0, 1)
        curve *= np.cos(fall * np.float32(np.pi / 2)) ** 2
    out = np.fft.irfft(spectrum[:bins] * curve, n=length)
    return out[MARGIN : MARGIN + n].astype(np.float32)


def _eq_curve(hz: Wave, gains_db: tuple[float, ...], sample_rate: int) -> Wave:
    """Smooth gain over frequency: half-cosine interpolation of points on a mel-like axis."""
    position = np.log1p(hz / 700) / np.log1p(sample_rate / 2 / 700) * (len(gains_db) - 1)
    left = np.clip(position.astype(np.int64), 0, len(gains_db) - 2)
    blend = 0.5 - 0.5 * np.cos(np.pi * np.clip(position - left, 0, 1))
    points = np.asarray(gains_db)
    return (10 ** ((points[left] * (1 - blend) + points[left + 1] * blend) / 20)).astype(np.float32)


def augment(
    draw: Callable[[int, int], Wave],
    n: int,
    config: AugmentConfig,
    rng: np.random.Generator,
    sample_rate: int,
) -> Wave:
    """One augmented crop.

    Args:
        draw: ``draw(n_source, margin)`` returns a random stretch of audio, float32 [n_source];
            ``margin`` samples on the left and right will be cut off.
        n: samples of the crop.
        config: the recipe's ``[augment]``.
        rng: source of all randomness.
        sample_rate: in Hz.

    Returns:
        float32 [n] within [-1, 1]: where the gain would clip, it is lowered to a peak of 1.
    """

    def one() -> Wave:
        plan = plan_spectral(config, rng)
        wave = draw(plan.source_samples(n), plan.source_margin(n))
        return resample_filter(wave, n, plan, sample_rate)

    wave = one()
    if rng.random() < config.mix_p:
        other = one()
        ratio_db = rng.uniform(config.mix_db[0], config.mix_db[1])
        level = float(np.sqrt(np.mean(wave**2) / (np.mean(other**2) + 1e-12)))
        wave = wave + other * np.float32(min(level, 30.0) * 10 ** (ratio_db / 20))
    gain = 1.0
    if rng.random() < config.gain_p:
        gain = 10 ** (rng.uniform(config.gain_db[0], config.gain_db[1]) / 20)
    gain = min(gain, 1.0 / max(float(np.abs(wave).max()), 1e-9))
    if rng.random() < config.polarity_p:
        gain = -gain
    return wave * np.float32(gain)
