"""What a run leaves behind: slim weights, recipe, facts and curves."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from typing import Any

import torch

from .cache import Cache
from .logs import Reporter, plot_log
from .setup import Save, State
from .validate import validate


def finish(state: State, reporter: Reporter, reason: str, save: Save) -> dict[str, float]:
    """Last scores, slim weights, recipe, facts and curves.

    Args:
        state: the run.
        reporter: gets the scores.
        reason: why the run ended; see :class:`~eulerodec.train.loop.Result`.
        save: writes the weights.

    Returns:
        The scores; none after a signal, whose sender may not wait.
    """
    recipe, progress = state.recipe, state.progress
    scores: dict[str, float] = {}
    if state.val is not None and reason != "signal":
        rate = state.crops.sample_rate
        scores = validate(state.average.model, state.val, recipe.data.batch_size, rate)
        reporter.log({"step": progress.step, "seconds": progress.seconds, **scores})
    (state.out / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    facts = {
        "reason": reason,
        "steps": progress.step,
        "skipped_steps": progress.skipped,
        "seconds": round(progress.seconds, 1),
        "audio_hours_seen": round(progress.audio_seconds / 3600, 3),
        "processes": state.world.size,
        "machine": state.world.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "validation": {k: round(v, 4) for k, v in scores.items()},
        "data": _data_summary(state.data),
    }
    save(state.out, state.average.model, name=recipe.train.name, about=facts, half=True)
    (state.out / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    plot_log(state.out / "log.csv", state.out / "loss.png")
    reporter.say(f"{reason} at step {progress.step}; weights in {state.out}")
    return scores


def _data_summary(data: Sequence[Cache]) -> list[dict[str, Any]]:
    """Hours and licences of every source, for the model card."""
    sources: dict[str, dict[str, Any]] = {}
    for cache in data:
        for item in cache.items:
            empty = {"source": item.source, "hours": 0.0, "licences": []}
            row = sources.setdefault(item.source, empty)
            row["hours"] += item.n / cache.sample_rate / 3600
            if item.licence and item.licence not in row["licences"]:
                row["licences"].append(item.licence)
    return [{**row, "hours": round(row["hours"], 3)} for _, row in sorted(sources.items())]
