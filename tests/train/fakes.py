"""A small model with the interface of the codec, and a loss, for tests of the loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from eulerodec.train.recipe import Recipe


@dataclass
class Output:
    audio: Tensor
    losses: dict[str, Tensor]
    stats: dict[str, Any] = field(default_factory=dict)


class FakeCodec(nn.Module):
    """Linear encoder and decoder on frames of 24 samples, with an EMA buffer and dropout."""

    n_codebooks = 12
    sample_rate = 24_000

    def __init__(self, width: int = 8, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.Conv1d(1, width, 24, stride=24)
        self.decoder = nn.ConvTranspose1d(width, 1, 24, stride=24)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.config = SimpleNamespace(to_dict=lambda: {"width": width})
        self.calls = 0
        self.poisoned_calls: set[int] = set()
        self.initialized_with: tuple[int, ...] = ()

    def initialize(self, wavs: Tensor) -> None:
        self.initialized_with = tuple(wavs.shape)

    def forward(self, wav: Tensor, *, n_codebooks: Tensor | None = None, quantize: bool = True):
        latent = self.encoder(wav)
        if self.training:
            self.mean += 0.1 * (latent.detach().float().mean((0, 2)) - self.mean)
            self.count += 1
            latent = nn.functional.dropout(latent, 0.1)
            self.calls += 1
            if self.calls in self.poisoned_calls:
                self.mean.fill_(float("nan"))
                latent = latent * float("nan")
        if quantize and n_codebooks is not None:
            latent = latent + 0.1 * torch.exp2(-n_codebooks.float())[:, None, None]
        audio = self.decoder(latent)[..., : wav.shape[-1]]
        audio = nn.functional.pad(audio, (0, wav.shape[-1] - audio.shape[-1]))
        losses = {"commitment": latent.square().mean(), "shift": latent.abs().mean()}
        return Output(audio, losses, {"perplexity": torch.arange(12.0)})


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
