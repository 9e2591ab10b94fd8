"""Training: recipes, data, augmentation and the loop (torch is imported when one is used)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cache import open_cache, pack
    from .loop import Result, run
    from .recipe import Recipe, load_recipe

__all__ = ["Recipe", "Result", "load_recipe", "open_cache", "pack", "run"]

_HOME = {
    "Recipe": "recipe",
    "Result": "loop",
    "load_recipe": "recipe",
    "open_cache": "cache",
    "pack": "cache",
    "run": "loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
