"""Training state on disk: full checkpoints to resume from, slim weights to use.

Checkpoints hold plain tensors and Python scalars only (``torch.load(weights_only=True)``), and
take their name when they are complete, so a crash while writing leaves the previous one.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..codec.weights import TENSOR_FILE, build_network, load_tensors
from ..errors import TrainingError, WeightsError
from ..files import atomic_output
from ..model import EuleroDec
from .optim import WeightAverage

__all__ = [
    "CHECKPOINT",
    "Progress",
    "load_average",
    "load_checkpoint",
    "restore",
    "save_checkpoint",
    "start_from",
    "weights_file",
]

CHECKPOINT = "checkpoint.pt"
FORMAT = 1


@dataclass
class Progress:
    """How far a run is. ``seconds`` of training and of audio include all parts before a resume."""

    step: int = 0
    seconds: float = 0.0
    audio_seconds: float = 0.0
    skipped: int = 0


def save_checkpoint(
    path: Path,
    model: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    recipe: dict[str, Any],
) -> None:
    """Write everything that resuming needs. Data and draws need nothing: they follow the step."""
    state = {
        "format": FORMAT,
        "model": model.state_dict(),
        "average": average.model.state_dict(),
        "average_updates": average.updates,
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
        "recipe": json.dumps(recipe),
    }
    with atomic_output(path) as sink:
        torch.save(state, sink)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        TrainingError: not readable, larger inside than outside, or of a newer format.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.save stores its parts as they are
            claimed = sum(part.file_size for part in archive.infolist())
        if claimed > path.stat().st_size:
            raise ValueError(f"its parts claim {claimed} bytes, it has {path.stat().st_size}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged file
        raise TrainingError(
            f"cannot read checkpoint {path}: {str(error).splitlines()[0]}"
        ) from None
    if not isinstance(state, dict) or "format" not in state:
        raise TrainingError(f"{path} is not a training checkpoint")
    if state["format"] > FORMAT:
        raise TrainingError(f"{path} has format {state['format']}, newer than {FORMAT}; upgrade")
    return state


def restore(
    state: dict[str, Any],
    model: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
) -> Progress:
    """Put a checkpoint's state into model, average and optimiser.

    Raises:
        TrainingError: the checkpoint was made with another model or other parameter groups.
    """
    try:
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        average.updates = state["average_updates"]
        factors = [group["lr_factor"] for group in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizer"])
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group["lr_factor"] = factor  # the recipe may have changed it
    except (RuntimeError, ValueError, KeyError) as error:
        text = " ".join(str(error).split())[:300]
        raise TrainingError(f"the checkpoint does not fit this recipe's model: {text}") from None
    return Progress(**state["progress"])


def start_from(path: str | Path, model: nn.Module) -> None:
    """Start a model from a weights folder, a ``.safetensors`` file, or a checkpoint's average.

    Raises:
        WeightsError: missing file, or names and shapes that are not this model's.
    """
    path = Path(path)
    if path.is_dir():
        path = weights_file(path)
    if not path.is_file():
        raise WeightsError(f"no weights at {path}")
    if path.suffix == ".safetensors":
        load_tensors(model, path)
        return
    try:
        model.load_state_dict(load_checkpoint(path)["average"])
    except RuntimeError as error:
        text = " ".join(str(error).split())[:400]
        raise WeightsError(f"{path} does not fit the recipe's [model]: {text}") from None


def weights_file(directory: Path) -> Path:
    """The file that is the weights: of a finished run, or of one under way.

    Raises:
        WeightsError: there is neither.
    """
    for name in (TENSOR_FILE, CHECKPOINT):
        if (directory / name).is_file():
            return directory / name
    raise WeightsError(f"{directory}: neither {TENSOR_FILE} nor {CHECKPOINT} in it")


def load_average(path: Path) -> EuleroDec:
    """The averaged network of a checkpoint, in eval mode on the CPU.

    Raises:
        ConfigError: the recipe in it makes no network.
        TrainingError: as for :func:`load_checkpoint`.
    """
    state = load_checkpoint(path)
    model = build_network(json.loads(state["recipe"])["model"])
    model.load_state_dict(state["average"])
    return model.eval()
