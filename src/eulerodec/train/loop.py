"""The training loop: :func:`run` sets a run up and closes it, :func:`fit` steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..codec.weights import build_network, save_weights
from ..errors import TrainingError
from ..model.fit import initialize as initialize_codec
from .checkpoint import CHECKPOINT, Progress
from .data import prefetch
from .distributed import World
from .finish import finish
from .logs import Averages, Reporter
from .recipe import Recipe, load_recipe, with_changes
from .setup import Build, Initialize, Loss, Save, State, prepare
from .step import Stepper
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
    build: Build = build_network,
    initialize: Initialize | None = initialize_codec,
    loss: Loss | None = None,
    save: Save = save_weights,
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
        quiet: print nothing.
        build: makes the model from the recipe's ``[model]`` and checks it. The model has
            ``sample_rate``, is called as :class:`~eulerodec.model.EuleroDec` is (audio, and
            ``bitrate_kbps`` of each item), and gives an output with ``audio``, ``losses`` and
            ``stats``.
        initialize: sets a new model from crops of the data, in place; None for nothing.
        loss: of (audio, target), instead of the one of ``[loss]``.
        save: writes the slim weights at the end.

    Raises:
        ConfigError: the recipe is wrong or there is no data; nothing has been made then.
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
        state = prepare(
            recipe, world, out,
            build=build, initialize=initialize, loss=loss, init_from=init_from, quiet=quiet,
        )  # fmt: skip
        progress = state.progress
        reporter = Reporter(out, recipe.train.steps, progress.step, quiet) if world.first else None
        try:
            with _stop_signals() as stop:
                reason = fit(state, reporter, stop)
                state.save()
            scores = finish(state, reporter, reason, save) if reporter else {}
        finally:
            if reporter:
                reporter.close()
        world.barrier()
    return Result(out, reason, progress, scores)


def fit(state: State, reporter: Reporter | None, stop: threading.Event) -> str:
    """Step until the recipe's number of steps, its time limit or a signal; returns which."""
    config, world, progress = state.recipe.train, state.world, state.progress
    by_time, limit = state.recipe.optim.schedule == "time", config.time_limit_minutes * 60
    stepper = Stepper(state, reporter.say) if reporter else Stepper(state)
    averages = Averages()
    started = time.monotonic() - progress.seconds
    saved_at = time.monotonic()
    if reporter and state.val is not None and progress.step == 0:
        reporter.log({"step": 0, "seconds": 0.0, **_score(state, stepper)})

    batches = prefetch(state.crops, progress.step, config.steps, state.recipe.data.workers)
    for step, batch in batches:
        # all processes must agree on time and on stopping
        elapsed, stopping = world.maximum(time.monotonic() - started, float(stop.is_set()))
        progress.seconds = elapsed
        if stopping:
            return "signal"
        if limit and elapsed >= limit:
            return "time limit"
        report = stepper.step(step, batch, elapsed / limit if by_time else step / config.steps)
        averages.add(report.values)
        progress.step = step + 1
        progress.audio_seconds += batch.audio.size / state.crops.sample_rate * world.size
        progress.seconds = time.monotonic() - started

        if reporter is None:
            continue
        row: dict[str, float] = {}
        if progress.step % config.log_every == 0 and averages.count:
            row = {"lr": report.rate, **averages.take(), **_stats(report.stats)}
        if config.val_every and progress.step % config.val_every == 0:
            row |= _score(state, stepper)
        if row:
            reporter.log({"step": progress.step, "seconds": progress.seconds, **row})
        if time.monotonic() - saved_at >= config.checkpoint_minutes * 60:
            state.save()
            saved_at = time.monotonic()
    return "finished"


def _score(state: State, stepper: Stepper) -> dict[str, float]:
    if state.val is None:
        return {}
    batch_size, rate = state.recipe.data.batch_size, state.crops.sample_rate
    with stepper.autocast:
        return validate(state.average.model, state.val, batch_size, rate)


def _stats(stats: Any) -> dict[str, float]:
    """The model's statistics as numbers; what has one value per stage is averaged."""
    values = {k: torch.as_tensor(v, dtype=torch.float32) for k, v in stats.items()}
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
