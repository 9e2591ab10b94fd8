"""The training loop: :func:`run` sets a run up and closes it, :func:`fit` steps."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import TrainingError
from ..model.fit import initialize as initialize_codec
from .checkpoint import CHECKPOINT, Progress, load_checkpoint, load_weights, restore
from .data import Crops, prefetch, sample_stages, split
from .distributed import World
from .finish import finish
from .guard import first_nonfinite, restore_buffers
from .logs import Reporter
from .optim import WeightAverage, frozen_prefixes, make_optimizer, schedule, set_frozen, set_lr
from .recipe import Recipe, load_recipe, with_changes
from .setup import (
    Build,
    Initialize,
    Loss,
    State,
    build_codec,
    build_model,
    check_same_model,
    configure_torch,
    initialize_model,
    open_data,
    validation_crops,
)
from .validate import validate

__all__ = ["Result", "run"]


@dataclass(frozen=True)
class Result:
    """How a run ended: ``reason`` is ``finished``, ``time limit`` or ``signal``."""

    out: Path
    reason: str
    progress: Progress
    scores: dict[str, float]


def run(
    recipe: Recipe | str | Path,
    *,
    out: str | Path,
    data: Sequence[str | Path] = (),
    resume: bool = False,
    init_from: str | Path | None = None,
    time_limit: float | None = None,
    overrides: Sequence[str] = (),
    quiet: bool = False,
    build: Build = build_codec,
    initialize: Initialize | None = initialize_codec,
    loss: Loss | None = None,
) -> Result:
    """Train as a recipe says; under ``torchrun``, one call per process.

    Args:
        recipe: a :class:`Recipe`, or the path of its TOML file.
        out: folder of the run: checkpoint, log, curves and, at the end, the slim weights.
        data: folders, manifests or packed caches; replaces ``data.paths``.
        resume: go on from the checkpoint in ``out``, if there is one.
        init_from: weights folder, ``.safetensors`` or checkpoint to start from, without its
            optimiser state.
        time_limit: minutes of training, parts before a resume included; replaces the recipe's.
        overrides: ``section.key=value``, as on the command line (for a recipe given by path).
        build: makes the model from the recipe's ``[model]``.
        initialize: sets a new model from crops of the data, in place; None for nothing.
        loss: used instead of the one of ``[loss]``.

    Raises:
        ConfigError: the recipe is wrong or there is no data.
        TrainingError: ``out`` is in use, the checkpoint does not fit, or the loss stays non-finite.
        WeightsError: ``init_from`` does not fit.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, overrides)
    if data:
        recipe = with_changes(recipe, "data", paths=[str(p) for p in data])
    if time_limit is not None:
        recipe = with_changes(recipe, "train", time_limit_minutes=float(time_limit))
    out = Path(out)
    saved = out / CHECKPOINT
    if saved.exists() and not resume:
        raise TrainingError(f"{saved} exists; add --resume to go on, or choose another --out")

    with World.from_environment(recipe.train.device) as world:
        quiet = quiet or not world.first
        configure_torch(recipe, world)
        if world.first:
            out.mkdir(parents=True, exist_ok=True)
        model, loss = build_model(recipe, build, loss, world)
        train_data, val_data = split(open_data(recipe, world, quiet), recipe.data)
        stages = sample_stages(recipe.train.stage_probs, int(getattr(model, "n_codebooks", 12)))
        crops = Crops(train_data, recipe.data, recipe.augment, stages, rank=world.rank)
        optimizer = make_optimizer(model, recipe.optim)
        set_frozen(model, recipe.optim.freeze_until)  # names are checked before anything runs
        state = load_checkpoint(saved) if saved.exists() else None
        if state is None and init_from is not None:
            load_weights(init_from, model)
        elif state is None and initialize and world.first and recipe.train.init_crops:
            initialize_model(model, initialize, crops, recipe.train.init_crops, world.device)
        world.join()  # from here on the processes talk to each other
        world.broadcast(model)
        average = WeightAverage(model, recipe.train.ema_decay)
        progress = Progress()
        if state is not None:
            check_same_model(json.loads(state["recipe"]), recipe)
            progress = restore(state, model, average, optimizer)
            del state
        run_state = State(recipe, world, model, loss, average, optimizer, progress, out)
        val = validation_crops(val_data, recipe, stages, world) if world.first else None
        reporter = Reporter(out, recipe.train, progress.step, quiet) if world.first else None
        try:
            with _stop_signals() as stop:
                reason = fit(run_state, crops, val, reporter, stop)
                run_state.save()
            scores = finish(run_state, val, reporter, reason, train_data) if reporter else {}
        finally:
            if reporter:
                reporter.close()
        world.barrier()
    return Result(out, reason, progress, scores)


def fit(
    state: State,
    crops: Crops,
    val: Tensor | None,
    reporter: Reporter | None,
    stop: threading.Event,
) -> str:
    """Step until the recipe's number of steps, its time limit or a signal; returns which."""
    recipe, world, model, progress = state.recipe, state.world, state.model, state.progress
    config, optim = recipe.train, recipe.optim
    limit = config.time_limit_minutes * 60
    base, started = progress.seconds, time.monotonic()
    saved_at = started
    autocast = torch.autocast(
        world.device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16"
    )
    frozen, net = None, model
    sums: dict[str, Tensor] = {}
    summed, logged_at, bad_in_a_row = 0, time.monotonic(), 0

    def score() -> dict[str, float]:
        if val is None:
            return {}
        with autocast:
            quantized = progress.step >= config.quantize_from_step
            return validate(state.average.model, val, recipe.data.batch_size, quantized=quantized)

    if reporter and val is not None and progress.step == 0:
        reporter.log({"step": 0, "seconds": 0.0, **score()})

    batches = prefetch(crops, progress.step, config.steps, recipe.data.workers)
    for step, batch in batches:
        # all processes must agree on time and on stopping
        elapsed, stopping = world.maximum(base + time.monotonic() - started, float(stop.is_set()))
        progress.seconds = elapsed
        if stopping:
            return "signal"
        if limit and elapsed >= limit:
            return "time limit"
        resting = frozen_prefixes(optim, step)
        if resting != frozen:
            frozen = resting
            set_frozen(model, frozen)
            net = world.wrap(cast(nn.Module, torch.compile(model)) if config.compile else model)
        if step == config.quantize_from_step and step > 0:
            state.average.follow_buffers(model)
        by_time = optim.schedule_by == "time"
        rate = schedule(optim, step, elapsed / limit if by_time else step / config.steps)
        set_lr(state.optimizer, rate)

        # draws inside the model (dropout, revival of codes) follow the step, as the data do
        torch.manual_seed(config.seed * 1_000_003 + step)
        wav = torch.from_numpy(batch.audio).to(world.device, non_blocking=True)
        n_codebooks = torch.from_numpy(batch.n_codebooks).to(world.device, non_blocking=True)
        quantize = step >= config.quantize_from_step

        forward = partial(_forward, autocast, wav, n_codebooks, quantize)
        state.optimizer.zero_grad(set_to_none=True)
        output = forward(net)
        total, terms = state.loss(output.audio.float(), wav)
        terms = {**terms, "commitment": torch.as_tensor(output.commitment_loss).detach()}
        total = total + config.commitment_weight * output.commitment_loss
        if config.shift_weight:
            terms["shift"] = output.shift_loss.detach()
            total = total + config.shift_weight * output.shift_loss
        total.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip or math.inf)
        finite = world.all_true(math.isfinite(total.item()) and math.isfinite(norm.item()))

        if finite:
            state.optimizer.step()
            state.average.update(model)
            bad_in_a_row, summed = 0, summed + 1
            for key, value in {
                "loss": total.detach(),
                "grad_norm": norm,
                **_prefixed(terms),
            }.items():
                sums[key] = sums[key] + value if key in sums else value
        else:
            bad_in_a_row += 1
            progress.skipped += 1
            bad_buffers = restore_buffers(model, state.average.model)
            tensors = {"total": total, **{k: torch.as_tensor(v) for k, v in terms.items()}}
            name = first_nonfinite(model, partial(forward, model), wav, tensors)
            text = f"step {step}: non-finite numbers, first in {name}; step skipped"
            if bad_buffers:
                text += f"; {len(bad_buffers)} buffers put back ({bad_buffers[0]}, ...)"
            if reporter:
                reporter.say(text)
            if bad_in_a_row >= config.max_bad_steps:
                raise TrainingError(
                    f"{bad_in_a_row} non-finite steps in a row, the last at step {step}, first in "
                    f"{name}; lower optim.lr or train.grad_clip, or use precision fp32"
                )
        progress.step = step + 1
        progress.audio_seconds += wav.shape[0] * wav.shape[-1] / 24000 * world.size
        progress.seconds = base + time.monotonic() - started

        if reporter is None:
            continue
        row: dict[str, float] = {}
        if progress.step % config.log_every == 0 and sums:
            row = {"lr": rate, **{k: float(v) / summed for k, v in sums.items()}}
            row |= _stats(output.stats)
            row["ms_per_step"] = 1000 * (time.monotonic() - logged_at) / config.log_every
            sums, summed, logged_at = {}, 0, time.monotonic()
        if config.val_every and progress.step % config.val_every == 0:
            row |= score()
        if row:
            reporter.log({"step": progress.step, "seconds": progress.seconds, **row})
        if time.monotonic() - saved_at >= config.checkpoint_minutes * 60:
            state.save()
            saved_at = time.monotonic()
    return "finished"


def _forward(
    autocast: torch.autocast, wav: Tensor, n_codebooks: Tensor, quantize: bool, net: nn.Module
) -> Any:
    with autocast:
        return net(wav, n_codebooks=n_codebooks, quantize=quantize)


def _prefixed(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"loss_{k}": torch.as_tensor(v).detach().float() for k, v in terms.items()}


def _stats(stats: dict[str, Any]) -> dict[str, float]:
    """The model's statistics as numbers; what has one value per stage is averaged."""
    values = {k: torch.as_tensor(v, dtype=torch.float32) for k, v in (stats or {}).items()}
    return {f"stat_{k}": float(v.mean()) for k, v in values.items() if v.numel()}


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets; a second signal acts as it always does."""
    stop = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def handler(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, handler)
    try:
        yield stop
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
