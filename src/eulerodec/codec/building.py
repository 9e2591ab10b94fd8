"""Building a network from settings that nobody has checked, without the memory they claim.

torch can build a network of shapes alone, on its ``meta`` device, but imports its compiler for it:
half of the time that a command took to start. So the network is built for real, and every
parameter, as soon as a layer has it and before anything is written to it, is held against what the
file has.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

__all__ = ["built_of"]

Network = TypeVar("Network", bound=nn.Module)


class _NotThereError(Exception):
    """A layer wants a parameter that the file does not have."""


def built_of(build: Callable[[], Network], shapes: Iterable[tuple[int, ...]]) -> Network | None:
    """A network, if tensors of these shapes are enough for all of its parameters.

    Args:
        build: makes the network.
        shapes: of the tensors that there are; each serves one parameter.

    Returns:
        The network, or None where building it failed, or was stopped at the first parameter for
        which there is no tensor.
    """
    left = Counter(shapes)
    thread = threading.get_ident()  # the hook sees what other threads build, too

    def take(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if threading.get_ident() != thread:
            return
        shape = tuple(parameter.shape)
        if not left[shape]:
            raise _NotThereError(f"{type(module).__name__}.{name} {list(shape)}")
        left[shape] -= 1

    hook = register_module_parameter_registration_hook(take)
    try:
        return build()
    except Exception:  # whoever asked finds out why, without the memory
        return None
    finally:
        hook.remove()
