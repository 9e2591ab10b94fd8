"""The complex trunk that encoder and decoder share: gated convolutions, whitening, attention."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import (
    AxialAttention,
    Clock,
    ComplexConv1d,
    History,
    MagnitudeGLU,
    TimeAttention,
    WhiteningNorm,
    context,
    delay,
    mask_frames,
    scale_planar,
)
from .config import ModelConfig

__all__ = ["LEVEL_LEFT", "LayerState", "Trunk", "cat_planar", "local_level", "scale_channels"]

LEVEL_LEFT = 8  # frames of the past that set the local level


def cat_planar(*parts: Tensor) -> Tensor:
    """Concatenates planar tensors along the complex channels."""
    return torch.cat([p.unflatten(1, (2, -1)) for p in parts], 2).flatten(1, 2)


def scale_channels(x: Tensor, gain: Tensor) -> Tensor:
    """Planar ``[B, 2C, T]`` times a real gain per channel, ``[C]`` or ``[B, C]``."""
    return x * gain.repeat(*([1] * (gain.ndim - 1)), 2).unsqueeze(-1)


@dataclass
class LayerState:
    """A residual layer in a stream; ``delayed``: frames that its result is delayed by."""

    clock: Clock
    delayed: int
    inner: History = field(default_factory=History)
    skip: History = field(default_factory=History)


def local_level(x: Tensor, right: int, past: History | None = None) -> Tensor:
    """Root mean square modulus over channels and nearby frames, ``[B, 1, T]``.

    The network works on levels relative to this, so it treats a whisper as it treats a shout.
    """
    power = 2.0 * x.float().square().mean(1, keepdim=True)
    power = context(power, LEVEL_LEFT, right, past)
    return (F.avg_pool1d(power, LEVEL_LEFT + right + 1, 1) + 1e-10).sqrt()


class Residual(nn.Module):
    """A layer of the trunk: ``x + branch(x)``, delayed by ``right`` frames in a stream."""

    right = 0

    def branch(self, x: Tensor, past: History | None) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor, state: LayerState | None = None) -> Tensor:
        if state is None:
            return x + self.branch(x, None)
        y = delay(x, self.right, state.skip) + self.branch(x, state.inner)
        return mask_frames(y, state.delayed, state.clock)


class GatedBlock(Residual):
    """Residual block: norm, complex convolution over time to (value, gate), modulus gate, mix."""

    def __init__(self, config: ModelConfig, channels: int, look_ahead: bool) -> None:
        super().__init__()
        reach = config.kernel_size - 1
        self.right = reach // 2 if look_ahead else 0
        self.left = reach - self.right
        self.norm = _norm(channels)
        self.conv = ComplexConv1d(channels, 2 * channels, config.kernel_size, bias=False)
        self.gate = MagnitudeGLU(channels)
        self.mix = ComplexConv1d(channels, channels, 1, bias=False)
        with torch.no_grad():
            self.mix.weight.mul_(0.1)

    def branch(self, x: Tensor, past: History | None) -> Tensor:
        h = self.conv(context(self.norm(x), self.left, self.right, past))
        value, gate = h.unflatten(1, (2, 2, -1)).unbind(2)
        return self.mix(self.gate(value.flatten(1, 2), gate.flatten(1, 2)))


class FrequencyAttention(Residual):
    """Residual axial attention between the ``bands`` groups of channels of each frame."""

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        self.bands = config.bands
        self.norm = _norm(channels)
        width = channels // config.bands
        self.attention = AxialAttention(width, config.frequency_heads, "frequency", zero_init=True)

    def branch(self, x: Tensor, past: History | None) -> Tensor:
        grid = self.norm(x).unflatten(1, (2, self.bands, -1)).transpose(2, 3).flatten(1, 2)
        y = self.attention(grid).unflatten(1, (2, -1)).transpose(2, 3)
        return y.flatten(1, 3)


class WindowedAttention(Residual):
    """Residual attention over a fixed window of frames."""

    def __init__(self, config: ModelConfig, channels: int, right: int) -> None:
        super().__init__()
        self.right = right
        self.norm = _norm(channels)
        window = (config.attention_window[0], right)
        self.attention = TimeAttention(channels, config.time_heads, window, zero_init=True)

    def branch(self, x: Tensor, past: History | None) -> Tensor:
        return self.attention.attend(self.norm(x), past)


def _norm(channels: int) -> nn.Module:
    # The trunk's input has unit level over some frames; the floor of the same size keeps the
    # *relative* level of neighbouring frames visible, which normalising each to one would erase.
    return WhiteningNorm(channels, floor=0.5)


class Trunk(nn.Module):
    """Planar features of unit local level ``[B, 2*in, T]`` -> trunk state ``[B, 2C, T]``."""

    def __init__(
        self, config: ModelConfig, in_channels: int, channels: int, blocks: int, look_ahead: int
    ) -> None:
        super().__init__()
        self.in_proj = ComplexConv1d(in_channels, channels, 1, bias=False)
        layers: list[nn.Module] = [FrequencyAttention(config, channels)]
        right = min(config.attention_window[1], look_ahead)
        # future context early, so that every later block profits from it
        for k in range(blocks):
            if k == blocks // 2:
                layers.append(WindowedAttention(config, channels, right))
            layers.append(GatedBlock(config, channels, k < look_ahead))
        self.layers = nn.ModuleList(layers)
        per_block = (config.kernel_size - 1) // 2
        self.look_ahead = per_block * min(look_ahead, blocks) + right
        self.look_back = (
            per_block * min(look_ahead, blocks)
            + 2 * per_block * max(blocks - look_ahead, 0)
            + config.attention_window[0]
        )

    @property
    def _residuals(self) -> list[Residual]:
        return cast(list[Residual], list(self.layers))

    def start(self, clock: Clock, delayed: int) -> list[LayerState]:
        """States for a stream whose input is delayed by ``delayed`` frames."""
        states = []
        for layer in self._residuals:
            delayed += layer.right
            states.append(LayerState(clock, delayed))
        return states

    def forward(
        self, x: Tensor, gain: Tensor | None = None, states: list[LayerState] | None = None
    ) -> Tensor:
        x = self.in_proj(x)
        if gain is not None:
            x = scale_planar(x, (1.0 + gain).to(x.dtype))
        for k, layer in enumerate(self._residuals):
            x = layer(x, states[k] if states else None)
        return x
