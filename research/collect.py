"""From the folders of the runs to three small tables, from which the pages are made."""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eulerodec.errors import ConfigError
from eulerodec.tabular import read_csv, write_csv
from research.run import FACTS, SCORES
from research.score import METRICS
from research.study import IN_DOMAIN, VARIANTS

__all__ = ["collect", "collect_others", "measure_speed"]

CURVES = (
    "step", "val_si_sdr_raw", "val_si_sdr_6", "val_si_sdr_12", "val_mel_6", "val_mel_12", "loss",
    "loss_wave", "loss_complex", "loss_magnitude", "loss_band", "loss_noise", "grad_norm",
    "stat_perplexity_mean",
)  # fmt: skip


VALIDATED = ("step", "val_si_sdr_6", "val_si_sdr_12", "val_mel_12")


def collect(runs: Path, out: Path) -> int:
    """Write ``curves.csv``, ``scores.csv`` and ``runs.csv`` of all finished runs; returns how many.

    Scores are means over the clips of a set.

    Raises:
        ConfigError: there is no run.
    """
    curves, scores, facts = [], [], []
    for variant in VARIANTS:
        for folder in sorted(runs.glob(f"{variant}-*")):
            match = re.fullmatch(rf"{variant}-(\d+)", folder.name)
            if match is None or not (folder / FACTS).is_file():
                continue
            who = {"variant": variant, "seed": match[1]}
            for row in read_csv(folder / "log.csv"):
                curves.append(who | {k: _short(row.get(k, "")) for k in CURVES})
            scores += [who | row for row in _set_means(read_csv(folder / SCORES))]
            training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
            own = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            facts.append(who | {k: training[k] for k in ("reason", "steps", "skipped_steps")} | own)
    if not facts:
        raise ConfigError(f"no finished run in {runs}")
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("curves", curves), ("scores", scores), ("runs", facts)):
        write_csv(out / f"{name}.csv", rows)
    return len(facts)


def collect_others(folders: Sequence[Path], out: Path) -> None:
    """Write ``others.csv``: the end of every run in folders of runs with other settings; and
    ``longest.csv``: what the longest of them had reached at each validation.

    Settings: learning rate, minutes of training audio (0: all), steps. Besides the held-out scores
    of the log SI-SDR and phase coherence of the out-of-domain clips, means over sets.

    Raises:
        ConfigError: there is no run.
    """
    rows: list[dict[str, str]] = []
    curves: list[list[dict[str, str]]] = []
    for log in sorted(log for folder in folders for log in folder.glob("*-*/log.csv")):
        variant, _, seed = log.parent.name.rpartition("-")
        if variant not in VARIANTS or not (log.parent / FACTS).is_file():
            continue
        recipe = tomllib.loads((log.parent / "recipe.toml").read_text(encoding="utf-8"))
        who = {"variant": variant, "seed": seed}
        scored = [row for row in read_csv(log) if row.get("val_si_sdr_12")]
        curves.append([who | {k: _short(row[k]) for k in VALIDATED} for row in scored])
        clips = _set_means(read_csv(log.parent / SCORES))
        rows.append(
            curves[-1][-1]
            | {
                "lr": recipe["optim"]["lr"],
                "minutes": f"{recipe['data'].get('max_minutes', 0.0):g}",
            }
            | {f"out_{m}": _short(_out_of_domain(clips, m)) for m in ("si_sdr", "pc")}
        )
    if not rows:
        raise ConfigError(f"no finished run in {', '.join(map(str, folders))}")
    write_csv(out / "others.csv", rows)
    most = max(float(row["step"]) for row in rows)
    longest = [c for c, row in zip(curves, rows, strict=True) if float(row["step"]) == most]
    write_csv(out / "longest.csv", [row for curve in longest for row in curve])


def _out_of_domain(means: Sequence[dict[str, str]], metric: str) -> str:
    values = [float(r[metric]) for r in means if r["stages"] == "12" and r["set"] not in IN_DOMAIN]
    return str(np.mean(values))


def _short(text: str) -> str:
    return f"{float(text):.5g}" if text else ""


def _set_means(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    means = []
    for group, stages in dict.fromkeys((r["set"], r["stages"]) for r in rows):
        of_group = [r for r in rows if (r["set"], r["stages"]) == (group, stages)]
        values = {m: [float(r[m]) for r in of_group if r.get(m)] for m in METRICS}
        means.append(
            {"set": group, "stages": stages, "clips": str(len(of_group))}
            | {m: f"{np.mean(v):.5g}" if v else "" for m, v in values.items()}
        )
    return means


def measure_speed(recipes: Path, variants: Sequence[str], out: Path, rounds: int = 5) -> None:
    """Write ``speed.csv``: processor time of a training step, as a ratio to the first variant's.

    Network and quantiser alone, forward and backward, one thread, float32; the loss and the data
    are the same for all. Variants take turns, the ratio is that of the medians.
    """
    import torch

    from eulerodec.train.recipe import load_recipe
    from research.variants import build_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    loaded = {v: load_recipe(recipes / f"{v}.toml") for v in variants}
    models = {v: build_model(r.model) for v, r in loaded.items()}
    first = next(iter(loaded.values())).data
    rate = next(iter(models.values())).sample_rate
    wav = 0.1 * torch.randn(first.batch_size, 1, round(first.crop_seconds * rate))
    most = torch.full((len(wav),), 12.0)  # all stages
    times: dict[str, list[float]] = {v: [] for v in variants}
    for _ in range(rounds + 1):
        for name, model in models.items():
            start = time.process_time()
            model(wav, bitrate_kbps=most).audio.square().mean().backward()
            times[name].append(time.process_time() - start)
    medians = {v: float(np.median(t[1:])) for v, t in times.items()}  # the first warms up
    base = medians[variants[0]]
    rows = [{"variant": v, "step_time": f"{t / base:.3f}"} for v, t in medians.items()]
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "speed.csv", rows)
