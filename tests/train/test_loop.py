"""The loop: resume, limits, signals, many processes, non-finite steps, exports."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from fakes import FakeCodec, mse, save, small_recipe
from safetensors.torch import load_file

from eulerodec.errors import TrainingError, WeightsError
from eulerodec.tabular import read_csv
from eulerodec.train.checkpoint import load_checkpoint
from eulerodec.train.loop import run
from eulerodec.train.recipe import with_changes


def train(out: Path, *, model: FakeCodec | None = None, recipe=None, **kwargs):
    return run(
        recipe or small_recipe(),
        out=out,
        build=lambda _: model or FakeCodec(),
        initialize=FakeCodec.initialize,
        loss=mse,
        save=save,
        quiet=True,
        **kwargs,
    )


def assert_same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def test_resumed_run_is_bit_equal(tmp_path: Path):
    whole = small_recipe(steps=4, ema_decay=0.9)
    train(tmp_path / "a", recipe=whole)

    calls = 0

    def stopping(audio, target):
        nonlocal calls
        calls += 1
        if calls == 3:
            os.kill(os.getpid(), signal.SIGTERM)  # the step under way is finished first
        return mse(audio, target)

    first = run(
        whole,
        out=tmp_path / "b",
        build=lambda _: FakeCodec(),
        initialize=None,
        loss=stopping,
        save=save,
        quiet=True,
    )
    assert (first.reason, first.progress.step) == ("signal", 3)
    # another initialisation: everything must come from the checkpoint
    second = train(tmp_path / "b", recipe=whole, model=FakeCodec(seed=5), resume=True)
    assert second.progress.step == 4
    a, b = (load_checkpoint(tmp_path / x / "checkpoint.pt") for x in "ab")
    for part in ("model", "average"):
        assert_same(a[part], b[part])
    for i, state in a["optimizer"]["state"].items():
        assert_same(state, b["optimizer"]["state"][i])
    assert a["progress"]["audio_seconds"] == b["progress"]["audio_seconds"]
    keep = ("step", "loss", "lr", "grad_norm")
    logs = [
        [{k: r[k] for k in keep} for r in read_csv(tmp_path / x / "log.csv") if r["loss"]]
        for x in "ab"
    ]
    assert logs[0] == logs[1]


def test_outputs_of_a_run(tmp_path: Path):
    model = FakeCodec()
    result = train(tmp_path, model=model)
    assert result.reason == "finished"
    assert model.initialized_with == (5, 1, 2400)
    weights = load_file(tmp_path / "model.safetensors")
    average = load_checkpoint(tmp_path / "checkpoint.pt")["average"]
    # the slim weights are the average, rounded to half precision
    assert_same(weights, {k: v.half() if v.is_floating_point() else v for k, v in average.items()})
    facts = json.loads((tmp_path / "training.json").read_text())
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved == {"name": "eulerodec", "about": facts}
    assert facts["steps"] == 4
    assert facts["audio_hours_seen"] == round(4 * 3 * 0.1 / 3600, 3)
    assert {s["source"] for s in facts["data"]} == {"tone", "chirp", "noise"}
    assert (tmp_path / "loss.png").read_bytes()[:4] == b"\x89PNG"
    assert {"val_si_sdr_raw", "val_si_sdr_6", "val_si_sdr_12", "val_mel_12"} <= set(result.scores)
    assert float(read_csv(tmp_path / "log.csv")[1]["stat_perplexity"]) == 5.5


def test_loss_falls(tmp_path: Path):
    recipe = with_changes(small_recipe(steps=80, ema_decay=0.0), "optim", lr=1e-2, warmup_steps=5)
    train(tmp_path, recipe=recipe)
    losses = [float(r["loss"]) for r in read_csv(tmp_path / "log.csv") if r["loss"]]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_used_folder_is_not_overwritten(tmp_path: Path):
    train(tmp_path)
    with pytest.raises(TrainingError, match="--resume"):
        train(tmp_path)


def test_init_from_takes_weights_and_skips_initialize(tmp_path: Path):
    train(tmp_path / "a")
    model = FakeCodec(seed=9)
    frozen = with_changes(small_recipe(steps=1), "optim", freeze_until={"encoder": -1})
    train(tmp_path / "b", model=model, recipe=frozen, init_from=tmp_path / "a")
    weights = load_file(tmp_path / "a" / "model.safetensors")
    assert torch.equal(model.encoder.weight, weights["encoder.weight"])
    assert not torch.equal(model.decoder.weight, weights["decoder.weight"])
    assert model.initialized_with == ()
    with pytest.raises(WeightsError, match=r"model\.safetensors: tensor \w+ has shape"):
        train(tmp_path / "c", model=FakeCodec(width=4), init_from=tmp_path / "a")
    with pytest.raises(WeightsError, match="no weights at"):
        train(tmp_path / "d", init_from=tmp_path / "nothing")


def test_other_model_is_not_resumed(tmp_path: Path):
    train(tmp_path)
    with pytest.raises(TrainingError, match="does not fit"):
        train(tmp_path, model=FakeCodec(width=4), recipe=small_recipe(steps=6), resume=True)


def test_encoder_thaws_at_its_step(tmp_path: Path):
    model = FakeCodec()
    start = model.encoder.weight.detach().clone()
    recipe = with_changes(small_recipe(steps=2), "optim", freeze_until={"encoder": 2})
    train(tmp_path, model=model, recipe=recipe)
    assert torch.equal(model.encoder.weight, start)
    recipe = with_changes(small_recipe(steps=3), "optim", freeze_until={"encoder": 2})
    train(tmp_path, model=model, recipe=recipe, resume=True)
    assert not torch.equal(model.encoder.weight, start)


def test_one_bad_step_is_skipped_and_its_buffers_put_back(tmp_path: Path, capsys):
    model = FakeCodec()
    model.poisoned_calls = {2, 3}  # the second step, and the look at it
    result = run(small_recipe(), out=tmp_path, build=lambda _: model, initialize=None, loss=mse,
                 save=save)  # fmt: skip
    assert result.progress.skipped == 1
    assert (
        "step 1: non-finite numbers, first in activation, output of decoder"
        in capsys.readouterr().err
    )
    assert all(torch.isfinite(t).all() for t in model.state_dict().values())
    assert math.isfinite(result.scores["val_si_sdr_12"])


def test_lasting_nan_stops_the_run_and_is_named(tmp_path: Path):
    def broken(audio, target):
        total, terms = mse(audio, target)
        return total * math.nan, {**terms, "phase": torch.tensor(math.nan)}

    with pytest.raises(TrainingError, match=r"3 non-finite steps.* first in loss total"):
        run(
            small_recipe(max_bad_steps=3),
            out=tmp_path,
            build=lambda _: FakeCodec(),
            initialize=None,
            loss=broken,
            save=save,
            quiet=True,
        )


def test_time_limit(tmp_path: Path):
    def slow(audio, target):
        time.sleep(0.05)
        return mse(audio, target)

    recipe = small_recipe(steps=10_000, val_every=0)
    result = run(
        recipe,
        out=tmp_path,
        build=lambda _: FakeCodec(),
        initialize=None,
        loss=slow,
        save=save,
        quiet=True,
        time_limit=0.01,
    )
    assert result.reason == "time limit"
    assert 0.5 < result.progress.seconds < 30  # of 500 s; a busy machine may take long over a step
    assert load_checkpoint(tmp_path / "checkpoint.pt")["progress"]["step"] == result.progress.step
    again = train(tmp_path, recipe=recipe, resume=True, time_limit=0.01)
    assert again.progress.step == result.progress.step  # the limit counts the first part


def test_sigterm_leaves_a_valid_checkpoint(tmp_path: Path):
    def slow(audio, target):
        time.sleep(0.02)
        return mse(audio, target)

    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    timer.start()
    recipe = small_recipe(steps=10_000, val_every=0)
    result = run(
        recipe,
        out=tmp_path,
        build=lambda _: FakeCodec(),
        initialize=None,
        loss=slow,
        save=save,
        quiet=True,
    )
    assert result.reason == "signal"
    assert signal.getsignal(signal.SIGTERM) is before
    assert load_checkpoint(tmp_path / "checkpoint.pt")["progress"]["step"] == result.progress.step
    assert list(tmp_path.glob("*.tmp")) == []


def test_damaged_checkpoint_is_one_clear_line(tmp_path: Path):
    (tmp_path / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match="cannot read checkpoint") as error:
        train(tmp_path, resume=True)
    assert "\n" not in str(error.value)


def test_bf16_runs(tmp_path: Path):
    result = train(tmp_path, recipe=small_recipe(precision="bf16"))
    assert math.isfinite(result.scores["val_si_sdr_12"])


WORKER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import torch
from fakes import FakeCodec, mse, save, small_recipe
from eulerodec.train.loop import run
rank = sys.argv[1]
model = FakeCodec(seed=int(rank))  # different starts: the first process's must win
run(
    small_recipe(steps=3), out={out!r}, build=lambda _: model, initialize=None, loss=mse, save=save,
    quiet=True,
)
torch.save(dict(model.named_parameters()), Path({out!r}) / f"rank{{rank}}.pt")
"""


def test_two_processes_agree(tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = WORKER.format(tests=str(Path(__file__).parent), out=str(tmp_path))
    workers = []
    for rank in "01":
        env = dict(
            os.environ,
            RANK=rank,
            LOCAL_RANK=rank,
            WORLD_SIZE="2",
            OMP_NUM_THREADS="1",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        workers.append(subprocess.Popen([sys.executable, "-c", code, rank], env=env))
    assert [w.wait(timeout=120) for w in workers] == [0, 0]
    a, b = (torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in "01")
    assert_same(a, b)
    assert not torch.equal(a["encoder.weight"], FakeCodec(seed=0).encoder.weight)
    assert json.loads((tmp_path / "training.json").read_text())["processes"] == 2
