"""The study end to end on a little audio: run, resume, collect, pages."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from eulerodec import audio
from eulerodec.errors import ConfigError
from eulerodec.evaluate.summary import read_summary
from eulerodec.samples import SAMPLE
from eulerodec.tabular import read_csv, write_csv
from research import figures, pages
from research.__main__ import main as command
from research.collect import collect
from research.pages import Study, write_pages
from research.rq1 import write_rq1
from research.study import RQ2, RQ3, VARIANTS
from research.worst import worst_clips

RECIPES = Path(__file__).parents[2] / "recipes/research"
SHORT = [
    "train.steps=20", "train.init_crops=8", "train.val_every=10", 'data.val=["b.wav"]',
    "data.val_crops=1", "data.val_seconds=0.5", "data.crop_seconds=0.3",
    "data.batch_size=2", "model.codebook_size=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two variants trained for 20 steps on speech and generated tones."""
    root = tmp_path_factory.mktemp("study")
    talk = audio.read(SAMPLE)[0][0]
    t = np.arange(48_000) / 24_000
    tones = [0.1 * np.sin(2 * np.pi * f * t).astype(np.float32) for f in (220, 330, 550, 880)]
    for i, x in enumerate([talk[:96_000], *tones]):
        path = root / f"train/{'abcde'[i]}.wav"
        path.parent.mkdir(exist_ok=True)
        audio.write(path, x, 24_000)
    for name in ("librivox_unseen_readers/x.wav", "music/y.wav"):
        path = root / "clips" / name
        path.parent.mkdir(parents=True)
        audio.write(path, talk[48_000:84_000], 24_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        line = ["run", "--data", str(root / "train"), "--clips", str(root / "clips"), "--seeds",
                "3", "--recipes", str(RECIPES), "--out", str(root / "runs"),
                "--variants", "complex", "polar-params", "--set", *SHORT]  # fmt: skip
        assert command(line) == 0
        before = {p: p.stat().st_mtime_ns for p in (root / "runs").rglob("*") if p.is_file()}
        assert command(line) == 0  # nothing is left to do
        assert before == {p: p.stat().st_mtime_ns for p in (root / "runs").rglob("*.*")}
    return root / "runs"


def test_runs_leave_logs_and_scores(runs, tmp_path):
    assert collect(runs, tmp_path) == 2
    facts = read_csv(tmp_path / "runs.csv")
    assert [(r["variant"], r["seed"], r["steps"], r["skipped_steps"]) for r in facts] == [
        ("complex", "3", "20", "0"), ("polar-params", "3", "20", "0")
    ]  # fmt: skip
    assert float(facts[0]["equivariance"]) < 1e-4 < 0.1 < float(facts[1]["equivariance"])
    scores = read_csv(tmp_path / "scores.csv")
    assert {(r["set"], r["stages"]) for r in scores} == {
        (s, k) for s in ("librivox_unseen_readers", "music") for k in ("6", "12")
    }
    assert all(math.isfinite(float(r["si_sdr"])) for r in scores)
    assert not any(r["pesq_wb"] for r in scores if r["set"] == "music")
    curves = read_csv(tmp_path / "curves.csv")
    assert {r["step"] for r in curves if r["val_si_sdr_12"]} == {"0", "10", "20"}


def test_runs_with_other_settings(runs, tmp_path):
    others = tmp_path / "others"
    copied = others / "polar-params-4"
    shutil.copytree(runs / "polar-params-3", copied)
    for name, old, new in (("recipe.toml", "max_minutes = 0.0", "max_minutes = 2.0"),
                           ("log.csv", "\n20,", "\n40,")):  # fmt: skip
        text = (copied / name).read_text()
        assert old in text
        (copied / name).write_text(text.replace(old, new))
    assert command(["collect", str(runs), str(tmp_path), "--others", str(others)]) == 0
    rows = read_csv(tmp_path / "others.csv")
    assert [(r["variant"], r["seed"], r["step"], r["minutes"]) for r in rows] == [
        ("complex", "3", "20", "0"), ("polar-params", "3", "20", "0"),
        ("polar-params", "4", "40", "2"),
    ]  # fmt: skip
    clips = [float(r["si_sdr"]) for r in read_csv(copied / "scores.csv")
             if r["set"] == "music" and r["stages"] == "12"]  # fmt: skip
    assert float(rows[2]["out_si_sdr"]) == pytest.approx(np.mean(clips), rel=1e-3)
    assert {r["seed"] for r in read_csv(tmp_path / "longest.csv")} == {"4"}


def test_variants_saw_the_same_crops(runs):
    recipes = [(runs / f"{v}-3/recipe.toml").read_text() for v in ("complex", "polar-params")]
    data = [text[text.index("[data]") : text.index("[optim]")] for text in recipes]
    assert data[0] == data[1] and "seed = 3" in data[0]


def test_nothing_to_collect_is_an_error(tmp_path, capsys):
    assert command(["collect", str(tmp_path), str(tmp_path)]) == 1
    assert "no finished run" in capsys.readouterr().err


@pytest.fixture
def tables(tmp_path) -> Path:
    """Made-up results of all variants and two seeds, with means that are easy to know."""
    names = [*dict.fromkeys((*RQ2, *RQ3))]
    scores, curves, facts = [], [], []
    for i, name in enumerate(names):
        for seed in (0, 1):
            who = {"variant": name, "seed": seed}
            for group, add in (("librivox_unseen_readers", 0), ("music", -4), ("vctk", -2)):
                row = dict.fromkeys((*figures.PANELS, "pesq_wb"), 1.0 + i + add + seed)
                if group == "music":
                    row["pesq_wb"] = ""
                scores.append(who | {"set": group, "stages": 12, "clips": 2} | row)
            for step in (0, 50, 100):
                curves.append(
                    who | {"step": step, "val_si_sdr_12": step / 10 + i,
                           "val_mel_12": 1 - step / 200, "loss": 5 - step / 50,
                           "grad_norm": 1, "loss_wave": 0, "stat_perplexity_mean": 100}
                )  # fmt: skip
            facts.append(
                who | {"steps": 100, "skipped_steps": 0, "parameters": 1000, "macs_per_second": 1e6,
                       "equivariance": 0.1 * i, "equivariance_6": 0.5, "equivariance_12": 0.5,
                       "codebook_use": 0.5}
            )  # fmt: skip
    data = tmp_path / "data"
    data.mkdir()
    for name, rows in (("scores", scores), ("curves", curves), ("runs", facts)):
        write_csv(data / f"{name}.csv", rows)
    write_csv(data / "speed.csv", [{"variant": v, "step_time": "1.5"} for v in VARIANTS])
    return tmp_path


def test_pages_hold_the_means(tables):
    study = Study(tables / "data")
    assert study.score("complex", True, "si_sdr") == [1.0, 2.0]
    assert study.score("complex", False, "si_sdr") == [-2.0, -1.0]  # mean of two sets
    assert study.score("complex", False, "pesq_wb") == [-1.0, 0.0]  # speech alone
    assert study.steps_to("complex", "val_si_sdr_12", 5.0, higher=True) == [50.0, 50.0]
    assert study.steps_to("complex", "val_si_sdr_12", 11.0, higher=True) == [math.inf] * 2
    assert study.steps_to("complex", "val_mel_12", 0.6, higher=False) == [100.0, 100.0]
    rq2, rq3 = write_pages(tables)
    assert "| in-domain | complex | 1.500 ± 0.500 |" in rq2.read_text(encoding="utf-8")
    assert "Seeds: 2." in rq3.read_text(encoding="utf-8")
    for page in (rq2, rq3):
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("!["):
                assert (tables / line[line.index("(") + 1 : -1]).stat().st_size > 5000


def test_a_section_without_data_is_left_out_and_a_missing_value_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "TEMPLATES", tmp_path)
    (tmp_path / "page.md").write_text("# Title\n\n## One\n\n{{a}}\n\n## Two\n\n{{b}}\n")
    assert pages.fill("page", {"a": "", "b": "text"}) == "# Title\n\n## Two\n\ntext\n"
    with pytest.raises(KeyError, match="b"):
        pages.fill("page", {"a": "text"})


def test_other_budgets_have_a_table_and_a_picture(tables):
    assert "More steps" not in write_pages(tables)[1].read_text(encoding="utf-8")
    values = {"val_si_sdr_6": 1, "val_si_sdr_12": 2, "val_mel_12": 0.5}
    other = {"minutes": "2", "lr": "0.001", "out_si_sdr": 3, "out_pc": 0.9}
    runs = [{"variant": "complex", "seed": k, "step": "400"} | values for k in (0, 1)]
    write_csv(tables / "data/others.csv", [run | other for run in runs])
    write_csv(tables / "data/longest.csv", runs)
    text = write_pages(tables)[1].read_text(encoding="utf-8")
    assert "| 400 | 2 min | 0.001 | complex | 1.000 ± 0.000 | 2.00 ± 0.00 |" in text
    assert (tables / "figures/rq3_longest.png").stat().st_size > 1000


def test_the_page_of_an_evaluation(tmp_path, weights):
    from eulerodec.evaluate.evaluation import evaluate

    talk = audio.read(SAMPLE)[0][0]
    for i, name in enumerate(("a/x.wav", "b/y.wav", "b/z.wav")):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(tmp_path / "clips" / name, talk[i * 24_000 + 24_000 :][:24_000], 24_000)
    options = dict(metric_names=["si_sdr", "pc", "pesq_wb"], listen=0)
    systems = f"low={weights}:3,high={weights}:12"
    out = tmp_path / "out"
    evaluate(tmp_path / "clips", systems, out, **options)
    with pytest.raises(ConfigError, match="--in-domain"):
        write_rq1(out, tmp_path / "docs")
    evaluate(tmp_path / "clips", systems, out, in_domain=["a"], **options)
    stats = read_summary(out / "summary.csv")
    stat = next(
        s for s in stats if (s.group, s.system, s.metric) == ("out-of-domain", "high:12", "pc")
    )
    text = write_rq1(out, tmp_path / "docs").read_text(encoding="utf-8")
    assert f"{stat.mean:.3f}" in text and f"{stat.diff:+.3g} (100%)" in text
    assert (tmp_path / "docs/figures/rq1_in-domain.svg").stat().st_size > 5000


def test_a_picture_of_the_worst_clips(tmp_path):
    names = ["a/1.wav", "a/2.wav", "b/3.wav", "music/4.wav", "music/5.wav"]
    talk = audio.read(SAMPLE)[0][0]
    for k, name in enumerate(names):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write(path, talk[k * 6000 : k * 6000 + 6000], 24_000)
    scores = {"a/1.wav": ("1.5", "1"), "a/2.wav": ("1.7", "1"), "b/3.wav": ("2.0", "1"),
              "music/4.wav": ("", "0.5"), "music/5.wav": ("", "0.9")}  # fmt: skip
    rows = [
        {"clip": n, "set": n.split("/")[0], "system": "eulerodec:6", "pesq_wb": p, "dac_mel": d}
        for n, (p, d) in scores.items()
    ]
    write_csv(tmp_path / "results.csv", rows)
    figure = tmp_path / "worst.png"
    line = ["worst", str(tmp_path), str(tmp_path / "clips"), str(figure)]
    assert worst_clips(tmp_path, "eulerodec:6") == ["a/1.wav", "b/3.wav", "music/5.wav"]
    assert command([*line, "--systems", "eulerodec:6"]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert command([*line, "--systems", "opus:6"]) == 1  # not in this evaluation
