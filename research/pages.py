"""The pages of questions 2 and 3, from the collected tables.

Everything on a page is generated but what stands between the two conclusion marks: that is
written by hand, and kept when the page is made again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eulerodec.errors import ConfigError
from eulerodec.files import write_bytes
from research import figures
from research.run import read_csv
from research.study import IN_DOMAIN, RQ2, RQ3, RQ3_PATH, VARIANTS

__all__ = ["keep_conclusion", "write_pages"]

Rows = list[dict[str, str]]
START, END = "<!-- conclusion, by hand -->", "<!-- /conclusion -->"
SHOWN = ("si_sdr", "log_mel", "ip_rad", "gd_rad", "iaf_rad", "pc", "pesq_wb")
HEADS = ("SI-SDR dB", "log-mel", "phase rad", "group delay rad", "frequency rad", "coherence",
         "PESQ-WB")  # fmt: skip
CURVES = (("val_si_sdr_12", "held-out SI-SDR, dB (12 stages)"),
          ("val_mel_12", "held-out log-mel distance (12 stages)"),
          ("loss", "training loss"))  # fmt: skip
BUDGET_COLUMNS = {
    "val_si_sdr_6": "held-out SI-SDR dB, 6 stages",
    "val_si_sdr_12": "12 stages",
    "val_mel_12": "held-out log-mel",
    "out_si_sdr": "out-of-domain SI-SDR dB",
    "out_pc": "out-of-domain coherence",
}
COMMANDS = """```sh
python -m research run --data TRAIN --clips EVAL --out runs/research   # hours; resumes
for minutes in 2 20 0; do  # the table of more steps and less audio
  python -m research run --data TRAIN --clips EVAL --out runs/minutes-$minutes \\
    --variants complex real-params polar-params \\
    --set data.max_minutes=$minutes train.steps=1200 train.val_every=200
done  # and, for other learning rates, --set optim.lr=0.001
python -m research run --data TRAIN --clips EVAL --out runs/longer --seeds 0 \\
  --variants complex real-params polar-params --set train.steps=4800 train.val_every=400
python -m research collect runs/research docs/research/data \\
  --others runs/minutes-* runs/longer
python -m research speed docs/research/data
python -m research pages docs/research
```"""
SETTING = """All networks of a comparison see the same crops in the same order for a seed, the same
loss, optimiser, quantiser and number of steps; only `[model]` of their recipes differs
([recipes/research](../../recipes/research)). They are small and trained for {steps} steps of 4
crops of 1 s: the question is the difference, not the quality. There is no transform path (the fixed
lapped transform that gives the released model its start), so each network has to learn the whole
code by itself{but}. The quantiser is a residual one of 12 stages of 512 codes, dropped out at
random as in the released model. Numbers are means over seeds ± half their range; curves
show the mean and the range. Evaluation: 3 s from the middle of {clips} clips that no training crop
comes from, in-domain = {inside}, out-of-domain = the other sets."""


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
    pages = {"rq2.md": _rq2(study, folder), "rq3.md": _rq3(study, folder)}
    for name, text in pages.items():
        write_bytes(folder / name, keep_conclusion(text, folder / name).encode())
    return [folder / name for name in pages]


def keep_conclusion(text: str, path: Path) -> str:
    """A new page with what stands between the conclusion marks of the old one at ``path``."""
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    kept = re.search(f"{START}(.*?){END}", old, re.DOTALL)
    return text.replace(f"{START}{END}", f"{START}{kept[1] if kept else ' '}{END}")


def _rq2(study: Study, folder: Path) -> str:
    variants = study.present(RQ2)
    pictures = folder / "figures"
    figures.curves(pictures / "rq2_curves.png", study.curves, variants, CURVES)
    figures.bars(pictures / "rq2_scores.png", _by_group(study, variants))
    return "\n\n".join([
        "# Does coupling magnitude and phase help?",
        "The complex network, and the same network with one coupling taken out: RMS norms instead"
        " of 2x2 whitening, no axial attention, or re and im that gate themselves instead of a"
        " gate by modulus.",
        f"{START}{END}",
        "![curves](figures/rq2_curves.png)",
        "![scores](figures/rq2_scores.png)",
        "Bars are means over seeds, dots the seeds; 12 stages.",
        _scores(study, variants),
        "## Equivariance",
        "Turn the phase of the input by an angle: does the output turn with it? The number is"
        " |f(e^(ia) X) - e^(ia) f(X)| / |f(X)|, mean over seven angles, 0 for a network that"
        " treats all phases alike. The quantiser's codebooks have directions of their own, so with"
        " it nothing is exact.",
        _table(
            ["network", "without quantiser", "6 stages", "12 stages"],
            [[VARIANTS[v].label, *(_spread(study.facts(v, c))
              for c in ("equivariance", "equivariance_6", "equivariance_12"))] for v in variants],
        ),
        "## How it was done", _setting(study, variants, ""), COMMANDS,
    ]) + "\n"  # fmt: skip


def _rq3(study: Study, folder: Path) -> str:
    variants, path = study.present(RQ3), study.present(RQ3_PATH)
    pictures = folder / "figures"
    figures.curves(pictures / "rq3_steps.png", study.curves, variants, CURVES)
    figures.curves(
        pictures / "rq3_time.png", study.curves, variants, CURVES,
        "processor time, in steps of the complex network", lambda v: study.speed[v],
    )  # fmt: skip
    figures.bars(pictures / "rq3_scores.png", _by_group(study, variants))
    stability = (("grad_norm", "gradient norm"), ("stat_perplexity_mean", "codebook perplexity"),
                 ("loss_wave", "waveform loss"))  # fmt: skip
    figures.curves(pictures / "rq3_stability.png", study.curves, variants, stability)
    parts = [
        "# Complex against real",
        "Three ways to treat a spectrum: complex layers; ordinary real layers on re and im as two"
        " channels; ordinary real layers on log-magnitude and phase (cosine and sine in, a"
        " direction out). A real layer with free weights between all parts takes as many"
        " multiplications as the complex one and has twice the parameters, so each variant comes in"
        " two widths.",
        f"{START}{END}",
        "![against steps](figures/rq3_steps.png)",
        "![against time](figures/rq3_time.png)",
        "![scores](figures/rq3_scores.png)",
        "Bars are means over seeds, dots the seeds; 12 stages.",
        _scores(study, variants),
        "## Cost, stability, codebooks",
        _cost(study, variants),
        "Step time is processor time of forward and backward pass of network and quantiser,"
        " measured in turns in one process. Perplexity is relative to the 512 codes of a stage,"
        " mean over stages.",
        "![stability](figures/rq3_stability.png)",
        *_rates(study, variants),
        *_budgets(study, variants, pictures),
        "## Steps needed",
        "First validated step (every 50) from which on a run is as good as the level; a dash: not"
        " within the run. Each seed apart.",
        _needed(study, variants),
    ]
    if path:
        figures.curves(pictures / "rq3_path.png", study.curves, path, CURVES)
        parts += [
            "## In the released design",
            "The same comparison, parameters equal, with the transform path in place, as in the"
            " released model: the network only corrects what the linear transform codes.",
            "![with transform path](figures/rq3_path.png)",
            _scores(study, path),
        ]
    but = " (the last comparison above has it)" if path else ""
    parts += ["## How it was done", _setting(study, variants, but), COMMANDS]
    return "\n\n".join(parts) + "\n"


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
    return _table(["clips", "network", *HEADS], rows)


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
    return _table(
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
    return _table(["level", *(VARIANTS[v].label for v in variants)], rows)


def _rates(study: Study, variants: Sequence[str]) -> list[str]:
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
    if not rows:
        return []
    head = ["network", "learning rate", "seed", "held-out SI-SDR dB", "held-out log-mel"]
    return ["## Another learning rate", "At the end of the run, 12 stages.", _table(head, rows)]


def _budgets(study: Study, variants: Sequence[str], pictures: Path) -> list[str]:
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
        return []
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
    return [
        "## More steps, less audio",
        f"More than the {usual:.0f} steps of above, with all of the training audio and with parts"
        " of it. Held-out: other speakers than in training; out-of-domain: as above. In the picture"
        " the longest runs.",
        _table(head, rows),
        "![longest runs](figures/rq3_longest.png)",
    ]


def _setting(study: Study, variants: Sequence[str], but: str) -> str:
    seeds = {v: len(study.facts(v, "steps")) for v in variants}
    per_set = {r["set"]: int(r["clips"]) for r in study.scores}
    text = SETTING.format(
        steps=f"{study.facts(variants[0], 'steps')[0]:.0f}",
        but=but,
        clips=sum(per_set.values()),
        inside=" and ".join(f"`{name}`" for name in IN_DOMAIN),
    )
    counts = ", ".join(f"{VARIANTS[v].label} {n}" for v, n in seeds.items())
    same = len(set(seeds.values())) == 1
    return text + (f" Seeds: {next(iter(seeds.values()))}." if same else f" Seeds: {counts}.")


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean, half = float(np.mean(values)), (max(values) - min(values)) / 2
    digits = 1 if abs(mean) >= 10 else 2 if abs(mean) >= 2 else 3
    text = f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if len(values) > 1 else "")
    return text.replace("-", "−")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)
