"""Bitrates and numbers of stages; needs no torch."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Real

from ..errors import ConfigError

__all__ = ["bitrates_kbps", "kbps_per_stage", "stages_for"]

# A rate is the one that is listed if it is the same in six digits, as rates are printed.
_TOLERANCE = 1e-5


def kbps_per_stage(sample_rate: int, hop_length: int, code_bits: int) -> Fraction:
    """Bitrate of one stage of one channel, exactly: bits per frame times frames per second."""
    return Fraction(sample_rate * code_bits, hop_length * 1000)


def bitrates_kbps(step: Fraction, n_codebooks: int) -> tuple[float, ...]:
    """The bitrates of 1 to ``n_codebooks`` stages; whole ones as int, for messages and JSON."""
    rates = (step * k for k in range(1, n_codebooks + 1))
    return tuple(rate.numerator if rate.denominator == 1 else float(rate) for rate in rates)


def stages_for(bitrate_kbps: object, step: Fraction, n_codebooks: int, *, owner: str) -> int:
    """Stages of a bitrate.

    Args:
        bitrate_kbps: of one channel.
        step: :func:`kbps_per_stage`.
        n_codebooks: the most stages there are.
        owner: whose stages these are, for the message.

    Raises:
        ConfigError: for any other rate; it names those that there are.
    """
    given = repr(bitrate_kbps)
    if isinstance(bitrate_kbps, Real) and not isinstance(bitrate_kbps, bool):
        kbps = float(bitrate_kbps)
        given = f"{kbps:g}"
        stages = round(kbps / float(step)) if math.isfinite(kbps) else 0
        near = abs(float(stages * step) - kbps) <= _TOLERANCE * abs(kbps)
        if near and 1 <= stages <= n_codebooks:
            return stages
    known = ", ".join(f"{rate:g}" for rate in bitrates_kbps(step, n_codebooks))
    raise ConfigError(f"bitrate {given} kbps is not available: {owner} has {known}")
