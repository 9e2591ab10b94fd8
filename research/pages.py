"""The pages of questions 2 and 3: prose from ``templates``, tables and figures from the data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eulerodec.errors import ConfigError
from eulerodec.files import write_bytes
from eulerodec.tabular import markdown_table, read_csv
from research import figures
from research.study import IN_DOMAIN, RQ2, RQ3, RQ3_PATH, VARIANTS

__all__ = ["fill", "write_pages"]

Rows = list[dict[str, str]]
TEMPLATES = Path(__file__).with_name("templates")
PLACE = re.compile(r"\{\{(\w+)\}\}")
SHOWN = ("si_sdr", "log_mel", "ip_rad", "gd_rad", "iaf_rad", "pc", "pesq_wb")
HEADS = ("SI-SDR dB", "log-mel", "phase rad", "group delay rad", "frequency rad", "coherence",
         "PESQ-WB")  # fmt: skip
CURVES = (("val_si_sdr_12", "held-out SI-SDR, dB (12 stages)"),
          ("val_mel_12", "held-out log-mel distance (12 stages)"),
          ("loss", "training loss"))  # fmt: skip
STABILITY = (("grad_norm", "gradient norm"), ("stat_perplexity_mean", "codebook perplexity"),
             ("loss_wave", "waveform loss"))  # fmt: skip
BUDGET_COLUMNS = {
    "val_si_sdr_6": "held-out SI-SDR dB, 6 stages",
    "val_si_sdr_12": "12 stages",
    "val_mel_12": "held-out log-mel",
    "out_si_sdr": "out-of-domain SI-SDR dB",
    "out_pc": "out-of-domain coherence",
}


class Study:
    """The collected tables of ``docs/research/data``."""

    def __init__(self, data: Path) -> None:
        names = ("curves", "scores", "runs", "speed")
        for name in names:
            if not (data / f"{name}.csv").is_file():
                raise ConfigError(f"{data / name}.csv is missing; run `collect` and `speed` first")
        self.curves, self.scores, self.runs, speed = (read_csv(data / f"{n}.csv") for n in names)
        others = data / "others.csv"
        self.others = read_csv(others) if others.is_file() else []
        longest = data / "longest.csv"
        self.longest = read_csv(longest) if longest.is_file() else []
        self.speed = {row["variant"]: float(row["step_time"]) for row in speed}

    def present(self, variants: Sequence[str]) -> list[str]:
        done = {row["variant"] for row in self.runs}
        return [v for v in variants if v in done]

    def facts(self, variant: str, column: str) -> list[float]:
        return [float(r[column]) for r in self.runs if r["variant"] == variant]

    def score(self, variant: str, inside: bool, metric: str, stages: int = 12) -> list[float]:
        """Mean over sets for each seed; PESQ, of speech alone, over the sets that have it."""
        chosen = [
            r
            for r in self.scores
            if r["variant"] == variant
            and r["stages"] == str(stages)
            and (r["set"] in IN_DOMAIN) == inside
            and r[metric]
        ]
        seeds = dict.fromkeys(r["seed"] for r in chosen)
        return [float(np.mean([float(r[metric]) for r in chosen if r["seed"] == s])) for s in seeds]

    def final(self, variant: str, column: str) -> list[float]:
        """The last value of a curve, for each seed."""
        last: dict[str, float] = {}
        for row in self.curves:
            if row["variant"] == variant and row.get(column):
                last[row["seed"]] = float(row[column])
        return list(last.values())

    def steps_to(self, variant: str, column: str, level: float, higher: bool) -> list[float]:
        """First validated step from which on each seed is at ``level`` or better, else infinite.

        An untrained network is silent, which some measures take for better than a first attempt:
        so a level counts only if it is kept.
        """
        found: dict[str, float] = {}
        for row in self.curves:
            if row["variant"] == variant and row.get(column):
                value = float(row[column])
                reached = value >= level if higher else value <= level
                since = min(found.get(row["seed"], math.inf), float(row["step"]))
                found[row["seed"]] = since if reached else math.inf
        return list(found.values())


def write_pages(folder: Path) -> list[Path]:
    """``rq2.md``, ``rq3.md`` and their figures, from ``folder/data``; returns the pages."""
    study = Study(folder / "data")
    pages = {"rq2": _rq2(study, folder / "figures"), "rq3": _rq3(study, folder / "figures")}
    for name, values in pages.items():
        write_bytes(folder / f"{name}.md", fill(name, values).encode())
    return [folder / f"{name}.md" for name in pages]


def fill(template: str, values: Mapping[str, str]) -> str:
    """The page ``templates/NAME.md`` with every ``{{name}}`` replaced by its value.

    A section (from one ``##`` to the next) with a value that is empty is left out.
    """
    text = (TEMPLATES / f"{template}.md").read_text(encoding="utf-8")
    sections = re.split(r"(?m)^(?=## )", text)
    kept = [s for s in sections if all(values[name] for name in PLACE.findall(s))]
    return PLACE.sub(lambda match: values[match[1]], "".join(kept))


def _rq2(study: Study, pictures: Path) -> dict[str, str]:
    variants = study.present(RQ2)
    figures.curves(pictures / "rq2_curves.png", study.curves, variants, CURVES)
    figures.bars(pictures / "rq2_scores.png", _by_group(study, variants))
    columns = ("equivariance", "equivariance_6", "equivariance_12")
    return _common(study, variants) | {
        "scores": _scores(study, variants),
        "equivariance": markdown_table(
            ["network", "without quantiser", "6 stages", "12 stages"],
            [[VARIANTS[v].label, *(_spread(study.facts(v, c)) for c in columns)] for v in variants],
        ),
    }


def _rq3(study: Study, pictures: Path) -> dict[str, str]:
    variants, path = study.present(RQ3), study.present(RQ3_PATH)
    figures.curves(pictures / "rq3_steps.png", study.curves, variants, CURVES)
    figures.curves(
        pictures / "rq3_time.png", study.curves, variants, CURVES,
        "processor time, in steps of the complex network", lambda v: study.speed[v],
    )  # fmt: skip
    figures.bars(pictures / "rq3_scores.png", _by_group(study, variants))
    figures.curves(pictures / "rq3_stability.png", study.curves, variants, STABILITY)
    if path:
        figures.curves(pictures / "rq3_path.png", study.curves, path, CURVES)
    return _common(study, variants) | {
        "scores": _scores(study, variants),
        "cost": _cost(study, variants),
        "rates": _rates(study, variants),
        "usual_steps": f"{study.facts(variants[0], 'steps')[0]:.0f}",
        "budgets": _budgets(study, variants, pictures),
        "needed": _needed(study, variants),
        "path_scores": _scores(study, path) if path else "",
    }


def _common(study: Study, variants: Sequence[str]) -> dict[str, str]:
    """How it was done."""
    seeds = {v: len(study.facts(v, "steps")) for v in variants}
    counts = [f"{VARIANTS[v].label} {n}" for v, n in seeds.items()]
    same = len(set(seeds.values())) == 1
    per_set = {r["set"]: int(r["clips"]) for r in study.scores}
    setting = {
        "steps": f"{study.facts(variants[0], 'steps')[0]:.0f}",
        "clips": str(sum(per_set.values())),
        "inside": " and ".join(f"`{name}`" for name in IN_DOMAIN),
        "seeds": str(seeds[variants[0]]) if same else ", ".join(counts),
    }
    return {"setting": fill("setting", setting).strip(), "commands": fill("commands", {}).strip()}


def _by_group(
    study: Study, variants: Sequence[str]
) -> dict[str, dict[str, dict[str, list[float]]]]:
    return {
        name: {v: {m: study.score(v, inside, m) for m in figures.PANELS} for v in variants}
        for name, inside in (("in-domain", True), ("out-of-domain", False))
    }


def _scores(study: Study, variants: Sequence[str]) -> str:
    rows = []
    for name, inside in (("in-domain", True), ("out-of-domain", False)):
        for v in variants:
            cells = [_spread(study.score(v, inside, m)) for m in SHOWN]
            rows.append([name, VARIANTS[v].label, *cells])
    return markdown_table(["clips", "network", *HEADS], rows)


def _cost(study: Study, variants: Sequence[str]) -> str:
    base = {c: study.facts(variants[0], c)[0] for c in ("parameters", "macs_per_second")}
    rows = []
    for v in variants:
        count = {c: study.facts(v, c)[0] for c in base}
        norms = [
            float(r["grad_norm"]) for r in study.curves if r["variant"] == v and r["grad_norm"]
        ]
        rows.append([
            VARIANTS[v].label,
            f"{count['parameters'] / 1e3:.0f} k ({count['parameters'] / base['parameters']:.2f})",
            f"{count['macs_per_second'] / base['macs_per_second']:.2f}",
            f"{study.speed[v]:.2f}",
            f"{np.median(norms):.1f}, {max(norms):.1f}",
            f"{sum(study.facts(v, 'skipped_steps')):.0f}",
            _spread(study.facts(v, "codebook_use")),
        ])  # fmt: skip
    return markdown_table(
        ["network", "parameters (ratio)", "multiplications, ratio", "step time, ratio",
         "gradient norm, median and highest", "bad steps", "codebook use"], rows,
    )  # fmt: skip


def _needed(study: Study, variants: Sequence[str]) -> str:
    """Levels: what the worst and what the best network reaches in the end."""
    rows = []
    for column, title, higher in (("val_si_sdr_12", "SI-SDR {:.1f} dB", True),
                                  ("val_mel_12", "log-mel {:.2f}", False)):  # fmt: skip
        ends = sorted(float(np.mean(study.final(v, column))) for v in variants)
        for level in dict.fromkeys((ends[0], ends[len(ends) // 2], ends[-1])):
            cells = []
            for v in variants:
                steps = study.steps_to(v, column, level, higher)
                cells.append(", ".join("–" if math.isinf(s) else f"{s:.0f}" for s in steps))
            rows.append([title.format(level), *cells])
    return markdown_table(["level", *(VARIANTS[v].label for v in variants)], rows)


def _rates(study: Study, variants: Sequence[str]) -> str:
    """Is it the learning rate? The main comparison with others, as far as they were run."""
    usual = study.facts(variants[0], "steps")[0]
    others = [r for r in study.others if float(r["step"]) == usual and r["minutes"] == "0"]
    rows = []
    for v in variants:
        runs = [r for r in others if r["variant"] == v]
        rates = {r["lr"] for r in runs}
        if len(rates) < 2:
            continue
        for row in sorted(runs, key=lambda r: (float(r["lr"]), r["seed"])):
            values = (float(row[k]) for k in ("val_si_sdr_12", "val_mel_12"))
            cells = (f"{x:.2f}".replace("-", "−") for x in values)
            rows.append([VARIANTS[v].label, row["lr"], row["seed"], *cells])
    head = ["network", "learning rate", "seed", "held-out SI-SDR dB", "held-out log-mel"]
    return markdown_table(head, rows) if rows else ""


def _budgets(study: Study, variants: Sequence[str], pictures: Path) -> str:
    """More steps, less audio: does the ranking depend on them?"""
    usual = study.facts(variants[0], "steps")[0]
    budgets: dict[tuple[float, float, float, int], Rows] = {}
    for r in study.others:
        if float(r["step"]) > usual and r["variant"] in variants:
            minutes = float(r["minutes"]) or math.inf
            which = variants.index(r["variant"])
            key = (float(r["step"]), minutes, -float(r["lr"]), which)
            budgets.setdefault(key, []).append(r)
    if not budgets:
        return ""
    rows = []
    for (steps, minutes, rate, which), runs in sorted(budgets.items()):
        rows.append([
            f"{steps:g}", "all" if math.isinf(minutes) else f"{minutes:g} min", f"{-rate:g}",
            VARIANTS[variants[which]].label,
            *(_spread([float(r[c]) for r in runs]) for c in BUDGET_COLUMNS), str(len(runs)),
        ])  # fmt: skip
    head = ["steps", "training audio", "learning rate", "network", *BUDGET_COLUMNS.values(),
            "seeds"]  # fmt: skip
    drawn = [v for v in variants if any(r["variant"] == v for r in study.longest)]
    figures.curves(pictures / "rq3_longest.png", study.longest, drawn, CURVES[:2])
    return markdown_table(head, rows)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean, half = float(np.mean(values)), (max(values) - min(values)) / 2
    digits = 1 if abs(mean) >= 10 else 2 if abs(mean) >= 2 else 3
    text = f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if len(values) > 1 else "")
    return text.replace("-", "−")
