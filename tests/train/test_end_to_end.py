"""The command and the smoke recipe, with the real model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eulerodec.cli import main
from eulerodec.codec.weights import load_weights

SMOKE = str(Path(__file__).parents[2] / "recipes" / "smoke.toml")


def test_smoke_recipe_trains_the_real_model(tmp_path: Path):

    short = ["train.steps=3", "train.init_crops=8", "data.val_crops=1", "train.threads=1"]
    overrides = [part for text in short for part in ("--set", text)]
    assert main(["train", SMOKE, "--out", str(tmp_path), *overrides]) == 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["name"] == "eulerodec"
    model = load_weights(tmp_path).model
    assert model.book.hash == load_weights().model.book.hash  # the codes are those of the recipe
    assert all(torch.isfinite(t).all() for t in model.state_dict().values())
    facts = json.loads((tmp_path / "training.json").read_text())
    assert facts["steps"] == 3 and facts["skipped_steps"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([SMOKE, "--set", "optim.lrr=1"], "did you mean 'lr'?"),
        ([SMOKE, "--set", "model.bandz=1"], "'bands'"),
        ([SMOKE, "--set", "model.latent_dim=abc"], "[model]: latent_dim = 'abc'"),
        ([SMOKE, "--set", "model.latent_dim=-1"], "[model]: latent_dim=-1"),
        ([SMOKE, "--set", "model.hop_length=2"], "[model]: "),
        ([SMOKE, "--set", "model.hop_length=256"], "[model]: "),  # the codes are of another
        ([SMOKE, "--set", "loss.wav=1"], "'wave'"),
        ([SMOKE, "--set", "train.device=qpu"], "qpu"),
        ([SMOKE, "--set", "data.synthetic_seconds=0"], "--data"),
        ([SMOKE, "--set", "optim.freeze_until={nothing=-1}"], "'nothing'"),
        (["none.toml"], "none.toml"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, capsys, arguments: list[str], words: str):
    assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and words in lines[0]
    assert not (tmp_path / "run").exists()  # checked before anything is made


def test_training_from_a_cache_needs_no_audio_libraries():
    code = (
        "import sys; import eulerodec.train as t; assert 'torch' not in sys.modules; "
        "t.run, t.pack, t.load_recipe; "
        "assert not {'soundfile', 'soxr', 'matplotlib', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_real_model_resumes_bit_equal(tmp_path: Path):
    from eulerodec.train.checkpoint import load_checkpoint

    def train(out: Path, steps: int, *more: str) -> None:
        short = [
            f"train.steps={steps}",
            "train.init_crops=0",
            "train.threads=1",
            "data.val=[]",
            "data.val_crops=0",
            "optim.lr_min=1e-3",  # the same rate whatever the number of steps
            "train.precision=bf16",
        ]
        overrides = [part for text in short for part in ("--set", text)]
        assert main(["train", SMOKE, "--out", str(out), *overrides, *more]) == 0

    train(tmp_path / "whole", 4)
    train(tmp_path / "parts", 2)
    train(tmp_path / "parts", 4, "--resume")
    a, b = (load_checkpoint(tmp_path / p / "checkpoint.pt") for p in ("whole", "parts"))
    for part in ("model", "average"):
        different = [k for k in a[part] if not torch.equal(a[part][k], b[part][k])]
        assert not different
