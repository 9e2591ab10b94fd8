"""From a recipe to the objects that the loop works on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eulerodec.errors import ConfigError, TrainingError
from eulerodec.train.cache import Cache
from eulerodec.train.checkpoint import CHECKPOINT, Progress, save_checkpoint
from eulerodec.train.data import VAL_STEP, Crops, load_data
from eulerodec.train.distributed import World
from eulerodec.train.optim import WeightAverage
from eulerodec.train.recipe import Recipe, build

Loss = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]


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


def build_model(
    recipe: Recipe, model: nn.Module | None, loss: Loss | None, world: World
) -> tuple[nn.Module, Loss]:
    if model is None:
        from eulerodec.twins import build_model as from_config

        torch.manual_seed(recipe.train.seed)
        model = from_config(recipe.model)
    if loss is not None:
        return model.to(world.device), loss
    from eulerodec.losses import LossConfig, ReconstructionLoss

    config = build(LossConfig, recipe.loss, "[loss]")
    return model.to(world.device), ReconstructionLoss(config).to(world.device)


def open_data(recipe: Recipe, world: World, quiet: bool) -> list[Cache]:
    """Only the first process decodes; the others wait for the finished cache."""
    if world.size > 1 and any(
        not Path(p).joinpath("index.jsonl").exists() for p in recipe.data.paths
    ):
        raise ConfigError(
            "several processes need packed audio: run "
            "`python -m eulerodec.train --pack CACHE --data FOLDER` once and give --data CACHE"
        )
    return load_data(recipe.data, quiet=quiet)


def initialize(model: nn.Module, crops: Crops, count: int, device: torch.device) -> None:
    """Let the model fit its first transform and codebooks to data, if it knows how."""
    initialize = getattr(model, "initialize", None)
    if initialize is not None:
        torch.manual_seed(crops.config.seed)
        with torch.no_grad():
            initialize(torch.from_numpy(crops.fitting(count)).to(device))


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
