"""A simulated network: which packets are lost, and in which order the others arrive.

Seeded: the same arguments give the same on every machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError

__all__ = ["burst_loss", "gilbert_elliott", "reorder", "uniform_loss"]

Flags = npt.NDArray[np.bool_]


def uniform_loss(n: int, rate: float, seed: int) -> Flags:
    """Which of ``n`` packets are lost, each by itself with probability ``rate``."""
    _check("rate", rate)
    return np.random.default_rng(seed).random(n) < rate


def gilbert_elliott(
    n: int, p: float, r: float, seed: int, *, good: float = 0.0, bad: float = 1.0
) -> Flags:
    """Which of ``n`` packets are lost in a channel with a good and a bad state.

    Before each packet the state changes, from good to bad with probability ``p`` and back with
    ``r``; then the packet is lost with probability ``good`` or ``bad``. The first state is drawn
    from the stationary distribution, P(bad) = p / (p + r), so the mean loss is
    (good r + bad p) / (p + r), and a stay in the bad state lasts 1 / r packets in the mean.

    The model of Gilbert (1960, Bell System Technical Journal 39(5)), who has no loss in the good
    state, and of Elliott (1963, BSTJ 42(5)), who has loss in both.
    """
    for name, value in (("p", p), ("r", r), ("good", good), ("bad", bad)):
        _check(name, value)
    generator = np.random.default_rng(seed)
    moves, losses = generator.random((2, n))
    in_bad = bool(generator.random() * (p + r) < p)
    lost = np.zeros(n, bool)
    for k in range(n):
        in_bad = moves[k] >= r if in_bad else moves[k] < p
        lost[k] = losses[k] < (bad if in_bad else good)
    return lost


def burst_loss(n: int, rate: float, burst: float, seed: int) -> Flags:
    """Loss of a mean ``rate`` in bursts of ``burst`` packets in the mean.

    :func:`gilbert_elliott` with r = 1 / burst and p = r rate / (1 - rate).
    """
    _check("rate", rate)
    if not (burst >= 1 and rate <= burst / (1 + burst)):
        raise ConfigError(f"bursts of {burst:g} packets cannot make a loss of {rate:g}")
    return gilbert_elliott(n, rate / (1 - rate) / burst, 1 / burst, seed)


def reorder(n: int, depth: int, seed: int) -> npt.NDArray[np.int64]:
    """An order in which ``n`` packets arrive: none after one that is more than ``depth`` later.

    Packet k is sorted by k + u, u uniform in [0, depth + 1).
    """
    if depth < 0:
        raise ConfigError(f"depth {depth} must be 0 or more")
    delay = np.random.default_rng(seed).random(n) * (depth + 1)
    return np.argsort(np.arange(n) + delay, kind="stable")


def _check(name: str, probability: float) -> None:
    if not 0 <= probability <= 1:
        raise ConfigError(f"{name} {probability:g} is no probability, 0 to 1")
