"""Signals in numpy."""

import numpy as np


def white_noise(n: int, seed: int = 0) -> np.ndarray:
    """``[n]``, of unit variance."""
    return np.random.default_rng(seed).standard_normal(n)
