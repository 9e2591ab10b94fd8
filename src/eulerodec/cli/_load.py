"""The codec for the verbs; importing this imports torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch

from ..codec import Codec
from ..pretrained import DEFAULT_WEIGHTS

__all__ = ["load_codec", "timed"]

T = TypeVar("T")


def load_codec(weights: str | None, threads: int | None, device: str) -> Codec:
    """The codec that the options ask for."""
    if threads is not None:
        torch.set_num_threads(threads)
    return Codec.from_pretrained(weights or DEFAULT_WEIGHTS, device)


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """The result of a call and its seconds, never 0."""
    start = time.perf_counter()
    result = call()
    return result, max(time.perf_counter() - start, 1e-9)
