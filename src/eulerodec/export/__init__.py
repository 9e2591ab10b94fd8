"""The network as ONNX graphs, for programs without torch.

The graphs are made from the torch network itself, with matrices in place of Fourier transforms
(:mod:`.fourier`): there is no second network to keep alike.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .folder import export_onnx

__all__ = ["export_onnx"]


def __getattr__(name: str) -> Any:  # PEP 562
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".folder", __name__), name)
