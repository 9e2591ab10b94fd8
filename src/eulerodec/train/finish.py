"""What a run leaves behind: slim weights, recipe, facts and curves."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from ..codec.weights import save_weights
from .cache import Cache
from .logs import Reporter, plot_log
from .setup import State
from .validate import validate


def finish(
    state: State, val: Tensor | None, reporter: Reporter, reason: str, data: Sequence[Cache]
) -> dict[str, float]:
    """Last scores, slim weights, recipe, facts and curves."""
    recipe, progress = state.recipe, state.progress
    scores: dict[str, float] = {}
    if val is not None and reason != "signal":  # whoever sent the signal may not wait
        quantized = progress.step >= recipe.train.quantize_from_step
        scores = validate(state.average.model, val, recipe.data.batch_size, quantized=quantized)
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
        "data": _data_summary(data),
    }
    save_weights(
        state.out, cast(Any, state.average.model), name=recipe.train.name, about=facts, half=True
    )
    (state.out / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    plot_log(state.out / "log.csv", state.out / "loss.png")
    reporter.say(f"{reason} at step {progress.step}; weights in {state.out}")
    return scores


def _data_summary(data: Sequence[Cache]) -> list[dict[str, Any]]:
    """Hours and licences of every source, for the model card."""
    sources: dict[str, dict[str, Any]] = {}
    for item in (i for cache in data for i in cache.items):
        row = sources.setdefault(item.source, {"source": item.source, "hours": 0.0, "licences": []})
        row["hours"] += item.n / 24000 / 3600
        if item.licence and item.licence not in row["licences"]:
            row["licences"].append(item.licence)
    return [{**row, "hours": round(row["hours"], 3)} for _, row in sorted(sources.items())]
