"""A small model with the interface of the codec, and a loss, for tests of the loop."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from eulerodec.train.recipe import Recipe


@dataclass
class Output:
    audio: Tensor
    losses: dict[str, Tensor]
    stats: dict[str, Any] = field(default_factory=dict)


class FakeCodec(nn.Module):
    """Linear encoder and decoder on frames of 24 samples, with an EMA buffer and dropout."""

    sample_rate = 24_000

    def __init__(self, width: int = 8, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.Conv1d(1, width, 24, stride=24)
        self.decoder = nn.ConvTranspose1d(width, 1, 24, stride=24)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.calls = 0
        self.poisoned_calls: set[int] = set()
        self.initialized_with: tuple[int, ...] = ()

    def initialize(self, wavs: Tensor) -> None:
        self.initialized_with = tuple(wavs.shape)

    def forward(self, wav: Tensor, *, bitrate_kbps: Tensor | None = None):
        latent = self.encoder(wav)
        if self.training:
            self.mean += 0.1 * (latent.detach().float().mean((0, 2)) - self.mean)
            self.count += 1
            latent = nn.functional.dropout(latent, 0.1)
            self.calls += 1
            if self.calls in self.poisoned_calls:
                self.mean.fill_(float("nan"))
                latent = latent * float("nan")
        if bitrate_kbps is not None:
            latent = latent + 0.1 * torch.exp2(-bitrate_kbps)[:, None, None]
        audio = self.decoder(latent)[..., : wav.shape[-1]]
        audio = nn.functional.pad(audio, (0, wav.shape[-1] - audio.shape[-1]))
        losses = {"commitment": latent.square().mean()}
        return Output(audio, losses, {"perplexity": torch.arange(12.0)})


def save(folder: Path, model: FakeCodec, *, name: str, about: dict[str, Any], half: bool) -> None:
    """Slim weights, and what was asked for beside them."""
    assert half
    save_file({k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()},
              folder / "model.safetensors")  # fmt: skip
    (folder / "config.json").write_text(json.dumps({"name": name, "about": about}))


def mse(audio: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    value = (audio - target).square().mean()
    return value, {"mse": value.detach()}


def small_recipe(**train: Any) -> Recipe:
    return Recipe.from_dict(
        {
            "data": {
                "synthetic_seconds": 30,
                "crop_seconds": 0.1,
                "batch_size": 3,
                "val_fraction": 0.3,
                "val_crops": 2,
                "val_seconds": 0.2,
            },
            "optim": {"warmup_steps": 2},
            "train": {
                "steps": 4,
                "device": "cpu",
                "init_crops": 5,
                "val_every": 2,
                "log_every": 1,
                **train,
            },
        }
    )
