"""A very small network with random weights."""

from __future__ import annotations

import torch

from eulerodec.model import EuleroDec, ModelConfig


def random_model(seed: int) -> EuleroDec:
    """A tiny network in which every path is live: what starts at zero gets small values."""
    torch.manual_seed(seed)
    model = EuleroDec(ModelConfig.tiny())
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return model.eval()
