"""From a recipe to the objects that the loop works on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, TrainingError
from ..model import EuleroDec, ModelConfig
from .cache import Cache
from .checkpoint import CHECKPOINT, Progress, save_checkpoint
from .data import VAL_STEP, Crops, load_data
from .distributed import World
from .losses import LossConfig, ReconstructionLoss
from .optim import WeightAverage
from .recipe import Recipe
from .recipe import build as from_table

Loss = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
Build = Callable[[dict[str, Any]], nn.Module]  # from a recipe's [model]
Initialize = Callable[[Any, Tensor], None]  # sets a model from audio [n, 1, N]


@dataclass
class State:
    """All that changes in a run, and what it is made of."""

    recipe: Recipe
    world: World
    model: nn.Module
    loss: Loss
    average: WeightAverage
    optimizer: torch.optim.AdamW
    progress: Progress
    out: Path

    def save(self) -> None:
        if self.world.first:
            save_checkpoint(
                self.out / CHECKPOINT,
                self.model,
                self.average,
                self.optimizer,
                self.progress,
                self.recipe.to_dict(),
            )


def configure_torch(recipe: Recipe, world: World) -> None:
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    if world.device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = recipe.train.tf32
        torch.backends.cudnn.allow_tf32 = recipe.train.tf32


def build_codec(values: dict[str, Any]) -> nn.Module:
    """The codec's network from a recipe's ``[model]``."""
    return EuleroDec(ModelConfig.from_dict(values))


def build_model(
    recipe: Recipe, build: Build, loss: Loss | None, world: World
) -> tuple[nn.Module, Loss]:
    torch.manual_seed(recipe.train.seed)
    model = build(recipe.model)
    if loss is not None:
        return model.to(world.device), loss
    config = from_table(LossConfig, recipe.loss, "[loss]")
    return model.to(world.device), ReconstructionLoss(config).to(world.device)


def open_data(recipe: Recipe, world: World, quiet: bool) -> list[Cache]:
    """Only the first process decodes; the others wait for the finished cache."""
    if world.size > 1 and any(
        not Path(p).joinpath("index.jsonl").exists() for p in recipe.data.paths
    ):
        raise ConfigError(
            "several processes need packed audio: run "
            "`eulerodec pack FOLDER --out CACHE` once and give --data CACHE"
        )
    return load_data(recipe.data, quiet=quiet)


def initialize_model(
    model: nn.Module, initialize: Initialize, crops: Crops, count: int, device: torch.device
) -> None:
    """Set the model's first transform and codebooks from ``count`` crops."""
    torch.manual_seed(crops.config.seed)
    with torch.no_grad():
        initialize(model, torch.from_numpy(crops.fitting(count)).to(device))


def validation_crops(
    held_out: Sequence[Cache], recipe: Recipe, stages: Any, world: World
) -> Tensor | None:
    """Fixed crops of the held-out speakers, all sources alike, on the device."""
    if not held_out or recipe.data.val_crops <= 0:
        return None
    config = dataclasses.replace(
        recipe.data, alpha=0.0, source_weights={}, kind_share={}, silence_skip=1.0
    )
    crops = Crops(held_out, config, None, stages)
    wav = crops.plain(config.val_crops, config.val_seconds, VAL_STEP)
    return torch.from_numpy(wav).to(world.device)


def check_same_model(saved: dict[str, Any], recipe: Recipe) -> None:
    """A resumed run may change its schedule or data, but not the model."""
    if saved["model"] != recipe.model:
        keys = {
            k
            for k in {*saved["model"], *recipe.model}
            if saved["model"].get(k) != recipe.model.get(k)
        }
        raise TrainingError(
            f"the checkpoint was made with another [model]: {', '.join(sorted(keys))}"
        )
