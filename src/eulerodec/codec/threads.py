"""How many threads of the CPU torch computes with."""

from __future__ import annotations

from ..settings import whole

__all__ = ["set_threads"]

_MAX_THREADS = 1024  # of more, the system may not have enough: then the process ends


def set_threads(threads: int | None, share: int = 1) -> int:
    """Let torch compute with so many threads.

    Args:
        threads: 1 to 1024; None: as many as it would take by itself, all cores if nothing else is
            set.
        share: processes that share them.

    Returns:
        Threads of this process, at least 1.

    Raises:
        ConfigError: a number that is none; before torch is imported.
    """
    if threads is not None:
        threads = whole("threads", threads, 1, _MAX_THREADS)

    import torch

    before = torch.get_num_threads()
    now = max((before if threads is None else threads) // share, 1)
    if now != before:
        torch.set_num_threads(now)
    return now
