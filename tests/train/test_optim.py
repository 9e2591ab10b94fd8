"""Schedule, parameter groups, freezing, averaging, and the guard."""

import math

import pytest
import torch
from fakes import FakeCodec
from torch import nn

from eulerodec.errors import ConfigError
from eulerodec.train.guard import first_nonfinite, restore_buffers
from eulerodec.train.optim import (
    WeightAverage,
    learning_rate,
    make_optimizer,
    set_frozen,
    set_lr,
)
from eulerodec.train.recipe import OptimConfig


def test_cosine_and_warmup():
    config = OptimConfig(lr=1.0, lr_min=0.1, warmup_steps=10)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 4, 0.0) == pytest.approx(0.5)
    assert learning_rate(config, 50, 0.5) == pytest.approx(0.55)
    assert learning_rate(config, 100, 1.0) == pytest.approx(0.1)


def test_groups_decay_only_kernels_and_scale_rates_by_longest_prefix():
    model = FakeCodec()
    config = OptimConfig(weight_decay=0.5, lr_multipliers={"encoder": 0.1, "encoder.bias": 0.2})
    optimizer = make_optimizer(model, config)
    set_lr(optimizer, 2.0)
    found = {
        id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]
    }
    assert {n: found[id(p)] for n, p in model.named_parameters()} == {
        "encoder.weight": (pytest.approx(0.2), 0.5),
        "encoder.bias": (pytest.approx(0.4), 0.0),
        "decoder.weight": (2.0, 0.5),
        "decoder.bias": (2.0, 0.0),
    }
    with pytest.raises(ConfigError, match="'encoder'"):
        make_optimizer(model, OptimConfig(lr_multipliers={"encodr": 1.0}))


def test_frozen_modules():
    model = FakeCodec()
    set_frozen(model, ["encoder"])
    assert not model.encoder.training and model.decoder.training
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        "decoder.weight",
        "decoder.bias",
    ]
    set_frozen(model, [])
    assert model.encoder.training and all(p.requires_grad for p in model.parameters())
    with pytest.raises(ConfigError, match="nothing starts with"):
        set_frozen(model, ["enkoder"])


def test_average_is_the_textbook_recursion_over_parameters_and_buffers():
    model = FakeCodec()
    average = WeightAverage(model, decay=0.5)
    expected = {k: v.clone() for k, v in model.state_dict().items()}
    for number in range(6):
        with torch.no_grad():
            for tensor in (*model.parameters(), model.mean):
                tensor.add_(1.0)
            model.count += 1
        average.update(model)
        decay = min(0.5, (1 + number) / (10 + number))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                expected[key] = decay * expected[key] + (1 - decay) * value
    for key, value in average.model.state_dict().items():
        want = model.count if key == "count" else expected[key]
        torch.testing.assert_close(value, want)


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.register_buffer("scale", torch.ones(4))
        self.register_buffer("shift", torch.zeros(4))
        self.trap = math.inf

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(self.first(x) * self.scale + self.shift)
        self.shift.add_(1)
        return x


def test_guard_names_the_earliest_tensor():
    x, model = torch.ones(2, 4), Chain()

    def name(audio: torch.Tensor = x, **losses: torch.Tensor) -> str:
        return first_nonfinite(model, lambda: model(audio), audio, losses)

    nan = torch.tensor(math.nan)
    assert name(x * math.nan) == "input batch"
    assert name(mel=torch.ones(()), phase=nan) == "loss phase"
    model.scale.fill_(math.inf)
    assert name(phase=nan) == "activation, output of second"
    model.scale.fill_(1)
    shift = model.shift.clone()
    model.second.weight.grad = torch.full((4, 4), math.inf)
    model.first.weight.grad = torch.full((4, 4), math.inf)
    assert name() == "gradient of second.weight (and 1 more)"
    torch.testing.assert_close(model.shift, shift)  # looking again changed no buffer
    with torch.no_grad():
        model.first.bias[2] = math.nan
    assert name(phase=nan) == "parameter first.bias"


def test_bad_buffers_come_back_with_all_of_their_module():
    model, good = Chain(), Chain()
    good.shift.fill_(7)
    model.scale[1] = math.nan
    assert restore_buffers(model, good) == ["scale"]
    torch.testing.assert_close(model.scale, torch.ones(4))
    torch.testing.assert_close(model.shift, torch.full((4,), 7.0))
