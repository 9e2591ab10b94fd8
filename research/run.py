"""Trains and scores every recipe of the study with every seed; goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from eulerodec.errors import ConfigError
from eulerodec.evaluate.clips import Clip, find_clips
from eulerodec.files import write_bytes
from eulerodec.tabular import write_csv
from research.joint.weights import load_weights, save_weights
from research.score import read_middle, score_clips, summarise_model
from research.variants import build_model, initialize

__all__ = ["run_study"]

SCORES, FACTS = "scores.csv", "facts.json"
SECONDS = 3.0  # of each clip


def run_study(
    recipes: Path,
    variants: Sequence[str],
    seeds: Sequence[int],
    *,
    data: Sequence[str],
    clips: str,
    per_set: int,
    out: Path,
    overrides: Sequence[str] = (),
) -> None:
    """One folder ``VARIANT-SEED`` per run below ``out``; finished ones are left as they are.

    A seed sets the initial weights and the crops, so all variants see the same crops of a seed in
    the same order. Seeds come one after the other: whatever is finished compares all variants.

    Args:
        recipes: folder of the recipes.
        variants, seeds: names of recipes, and seeds for each.
        data: training audio, as for :func:`eulerodec.train.run`.
        clips: what to score them on, see :func:`~eulerodec.evaluate.clips.find_clips`.
        per_set: clips of each set.
        out: folder of the runs.
        overrides: settings for all of them, ``section.key=value``.

    Raises:
        ConfigError: a recipe that is not there; and whatever training raises.
    """
    from eulerodec.train import run

    for variant in variants:
        if not (recipes / f"{variant}.toml").is_file():
            raise ConfigError(f"no recipe {variant}.toml in {recipes}; see --recipes, --variants")
    found, _ = find_clips(clips, per_set)
    for seed in seeds:
        for variant in variants:
            folder = out / f"{variant}-{seed}"
            if not (folder / "training.json").is_file():
                print(f"{folder.name}: training", flush=True)
                result = run(
                    recipes / f"{variant}.toml",
                    out=folder,
                    data=data,
                    resume=True,
                    overrides=[f"train.seed={seed}", f"data.seed={seed}", *overrides],
                    quiet=True,
                    build=build_model,
                    initialize=initialize,
                    save=save_weights,
                )
                if result.reason == "signal":
                    (folder / "training.json").unlink(missing_ok=True)  # go on from the checkpoint
                    return
            if not (folder / FACTS).is_file():
                _score(folder, found)
                (folder / "checkpoint.pt").unlink(missing_ok=True)


def _score(folder: Path, clips: Sequence[Clip]) -> None:
    model = load_weights(folder, build_model)
    rows = score_clips(model, clips, SECONDS)
    write_csv(folder / SCORES, rows)
    shortest = [
        read_middle(clip, 1.0, model.sample_rate) for clip in clips[:: max(1, len(clips) // 4)]
    ]
    wavs = [torch.from_numpy(w) for w in shortest if len(w) == model.sample_rate]
    facts = summarise_model(model, torch.stack(wavs)[:, None])
    text = json.dumps({k: round(v, 6) for k, v in facts.items()}, indent=2)
    write_bytes(folder / FACTS, text.encode())
    sdr = [r["si_sdr"] for r in rows if r["stages"] == 12 and "si_sdr" in r]
    print(f"{folder.name}: SI-SDR {sum(sdr) / len(sdr):.2f} dB, 12 stages", flush=True)
