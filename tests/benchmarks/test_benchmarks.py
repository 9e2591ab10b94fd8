"""The speed benchmark runs, without transformers too, and its counts are those done by hand."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from helpers.models import build
from torch import nn

from eulerodec.codec.weights import DEFAULT_WEIGHTS, load_codes

FILE = Path(__file__).parents[2] / "benchmarks" / "speed.py"
TINY = ["--tiny", "--seconds", "0.3", "--runs", "1"]


@pytest.fixture(scope="module")
def speed():
    spec = importlib.util.spec_from_file_location("speed_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)


def test_without_transformers_it_says_so_in_one_line_and_measures_alone(
    speed, no_transformers, capsys
):
    assert speed.main(TINY) == 0
    out, err = capsys.readouterr()
    assert err.strip().splitlines() == [speed.NO_PEER] and "transformers" in err
    assert "EuleroDec" in out and "decode, x real time" in out and "EnCodec" not in out


def test_json_is_one_object_with_all_numbers(speed, capsys):
    assert speed.main([*TINY, "--no-peer", "--json", "--bitrate", "12"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert err == "" and result["encodec"] is None and result["ratio"] is None
    own = result["eulerodec"]
    model = build(book=load_codes(DEFAULT_WEIGHTS))
    assert own["parameters"] == sum(p.numel() for p in model.parameters())
    assert own["codebook_values"] == model.book.codebooks.numel()
    assert own["encode_gmacs"] == pytest.approx(own["encoder_gmacs"] + own["search_gmacs"])
    speeds = [own["encode_speed"], own["decode_speed"], *result["file"].values()]
    assert len(speeds) == 4 and all(0 < s < float("inf") for s in speeds)
    # products of R^264 with 2048 codes: at least one for each code that 12 kbps hold, and no more
    # than all paths have in all stages
    one, frames = 2048 * 264e-9, model.n_frames(7200) / 0.3
    least = 0.7 * 12_000 / 11 * one
    assert least < own["search_gmacs"] < frames * 20 * speed.DEFAULT_BEAM * one


def test_with_a_peer_there_are_ratios(speed, monkeypatch):
    """A stand-in with EnCodec's calls, work known by hand and half the speed."""

    def take_turns(steps, runs, clock):
        with torch.inference_mode():
            for step in steps.values():
                step()
        return {
            name: [2.0 if "peer" in name else 1.0, 8.0 if "peer" in name else 4.0] for name in steps
        }

    class Made:
        def __init__(self, codes):
            self.audio_codes, self.audio_scales = codes, None

    class Peer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(100, 50, bias=False)

        def encode(self, wav, bandwidth):
            assert bandwidth == 6.0
            return Made(self.layer(wav.reshape(-1, 100)))

        def decode(self, codes, scales):
            return codes @ self.layer.weight

    monkeypatch.setattr(speed, "take_turns", take_turns)
    codec, _ = speed.load_codec(None, tiny=True)
    result = speed.measure(codec, seconds=0.2, runs=2, kbps=6, peer=Peer())
    own, peer, ratio = result["eulerodec"], result["encodec"], result["ratio"]
    assert peer["parameters"] == 5000
    assert peer["encode_gmacs"] == pytest.approx(4800 / 100 * 5000 / 0.2 * 1e-9)
    assert peer["decode_gmacs"] == pytest.approx(peer["encode_gmacs"])
    assert ratio["parameters"] == pytest.approx(own["parameters"] / 5000)
    assert ratio["encode_gmacs"] == pytest.approx(own["encode_gmacs"] / peer["encode_gmacs"])
    assert ratio["encode_speed"] == ratio["decode_speed"] == 2.0  # faster is above one
    assert own["encode_speed"] == pytest.approx(0.2 / 2.5)
    assert "EnCodec" in speed.table(result) and "ratio" in speed.table(result)


def test_counts_equal_the_textbook(speed):
    conv = nn.Conv1d(6, 10, 5, groups=2)
    x = torch.randn(1, 6, 44)
    assert speed.count_macs(lambda: conv(x)) == 40 * 10 * 3 * 5
    q = torch.randn(1, 2, 30, 8)
    attention = nn.functional.scaled_dot_product_attention
    assert speed.count_macs(lambda: attention(q, q, q)) == 2 * (2 * 30 * 30 * 8)


def test_steps_alternate_and_the_first_run_does_not_count(speed):
    now, order = [0.0], []

    def work(name, seconds):
        now[0] += seconds * (100 if name not in order else 1)
        order.append(name)

    steps = {"a": lambda: work("a", 1.0), "b": lambda: work("b", 2.0)}
    times = speed.take_turns(steps, 2, clock=lambda: now[0])
    assert times == {"a": [1.0, 1.0], "b": [2.0, 2.0]}
    assert order == ["a", "b"] * 3


def test_wrong_weights_are_one_line(speed, capsys):
    assert speed.main(["--weights", "gone"]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
