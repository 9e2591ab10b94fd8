"""From a recipe to the objects that the loop works on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import ConfigError, TrainingError
from .cache import Cache
from .checkpoint import CHECKPOINT, Progress, load_checkpoint, restore, save_checkpoint, start_from
from .data import VAL_STEP, Crops, load_data, split
from .distributed import World
from .losses import ReconstructionLoss
from .optim import WeightAverage, make_optimizer, set_frozen
from .recipe import Recipe

Loss = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
Build = Callable[[dict[str, Any]], nn.Module]  # from a recipe's [model]
Initialize = Callable[[Any, Tensor], None]  # sets a model from audio [n, 1, N]


class Save(Protocol):
    """Writes a model's slim weights; see :func:`eulerodec.codec.weights.save_weights`."""

    def __call__(
        self, folder: Path, model: Any, /, *, name: str, about: dict[str, Any], half: bool
    ) -> Any: ...


@dataclass
class State:
    """A run: what changes in it, and what it works with.

    ``val``: held-out crops ``[n, 1, N]``, in the first process alone.
    """

    recipe: Recipe
    world: World
    out: Path
    model: nn.Module
    loss: Loss
    average: WeightAverage
    optimizer: torch.optim.AdamW
    progress: Progress
    data: list[Cache]
    crops: Crops
    val: Tensor | None

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


def prepare(
    recipe: Recipe,
    world: World,
    out: Path,
    *,
    build: Build,
    initialize: Initialize | None = None,
    loss: Loss | None = None,
    init_from: str | Path | None = None,
    quiet: bool = False,
) -> State:
    """Everything a run needs; all of it is checked before ``out`` is made.

    Goes on from the checkpoint in ``out`` if there is one. Arguments and errors are those of
    :func:`eulerodec.train.run`.
    """
    configure_torch(recipe, world)
    torch.manual_seed(recipe.train.seed)
    try:
        model: Any = build(recipe.model).to(world.device)
    except ConfigError as error:
        raise ConfigError(f"[model]: {error}") from None
    if loss is None:
        loss = ReconstructionLoss(recipe.loss, model.sample_rate).to(world.device)
    train_data, val_data = split(open_data(recipe, model.sample_rate, world, quiet), recipe.data)
    crops = Crops(train_data, recipe.data, recipe.augment, recipe.train, rank=world.rank)
    optimizer = make_optimizer(model, recipe.optim)
    set_frozen(model, recipe.optim.freeze_until)  # names are checked before anything runs
    saved = out / CHECKPOINT
    checkpoint = load_checkpoint(saved) if saved.exists() else None
    if checkpoint is not None:
        check_same_model(json.loads(checkpoint["recipe"]), recipe)
    elif init_from is not None:
        start_from(init_from, model)
    if world.first:
        out.mkdir(parents=True, exist_ok=True)
        fresh = checkpoint is None and init_from is None
        if fresh and initialize and recipe.train.init_crops:
            initialize_model(model, initialize, crops, recipe.train.init_crops, world.device)
    world.join()  # from here on the processes talk to each other
    world.broadcast(model)
    average = WeightAverage(model, recipe.train.ema_decay)
    progress = Progress()
    if checkpoint is not None:
        progress = restore(checkpoint, model, average, optimizer)
    val = validation_crops(val_data, recipe, world) if world.first else None
    return State(
        recipe, world, out, model, loss, average, optimizer, progress, train_data, crops, val
    )


def configure_torch(recipe: Recipe, world: World) -> None:
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    if world.device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True


def open_data(recipe: Recipe, sample_rate: int, world: World, quiet: bool) -> list[Cache]:
    """Only the first process decodes; the others wait for the finished cache."""
    if world.size > 1 and any(
        not Path(p).joinpath("index.jsonl").exists() for p in recipe.data.paths
    ):
        raise ConfigError(
            "several processes need packed audio: run "
            "`eulerodec pack FOLDER --out CACHE` once and give --data CACHE"
        )
    return load_data(recipe.data, sample_rate, quiet=quiet)


def initialize_model(
    model: nn.Module, initialize: Initialize, crops: Crops, count: int, device: torch.device
) -> None:
    """Set the model from ``count`` crops."""
    torch.manual_seed(crops.config.seed)
    with torch.no_grad():
        initialize(model, torch.from_numpy(crops.fitting(count)).to(device))


def validation_crops(held_out: Sequence[Cache], recipe: Recipe, world: World) -> Tensor | None:
    """Fixed crops of the held-out speakers, all sources alike, on the device."""
    if not held_out or recipe.data.val_crops <= 0:
        return None
    config = dataclasses.replace(recipe.data, alpha=0.0, silence_skip=1.0)
    crops = Crops(held_out, config, None, recipe.train)
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
