"""A folder of trained weights: ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from eulerodec.files import write_bytes

from .network import JointModel

__all__ = ["load_weights", "save_weights"]


def save_weights(
    folder: Path, model: JointModel, *, name: str, about: dict[str, Any], half: bool
) -> None:
    """Writes a model, as :func:`eulerodec.train.run` asks for it.

    Args:
        folder: of the files; made if missing.
        model: whose weights are written.
        name, about: free text and facts, for the reader of config.json.
        half: store float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    config = {"name": name, "model": model.config.to_dict(), "about": about}
    write_bytes(folder / "config.json", json.dumps(config, indent=2).encode())


def load_weights(folder: Path, build: Callable[[dict[str, Any]], JointModel]) -> JointModel:
    """The model of a folder, in eval mode; ``build`` makes it from its settings."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = build(config["model"])
    state = load_file(folder / "model.safetensors")
    model.load_state_dict({k: v.float() for k, v in state.items()})
    return model.eval()
