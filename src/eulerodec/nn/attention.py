"""Axial self-attention for complex features.

The score is Re(q k^H) / sqrt(2 d), which is the real dot product of [re | im] vectors of size 2d,
and the weights are real, so complex attention is one ordinary scaled dot product attention on
concatenated parts. Projections have no bias: a common phase cancels in the score and passes
through the values, so the layer is U(1)-equivariant.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .conv import ComplexConv2d
from .history import History, context
from .planar import ComplexModule

__all__ = ["AxialAttention", "TimeAttention"]

_MAX_BATCH = 32768  # fused CUDA kernels take at most 65535 sequences in a call


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """SDPA on ``[N, H, L, E]``; splits a very large N, which an exported graph need not."""
    if torch.compiler.is_compiling() or q.shape[0] <= _MAX_BATCH:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    parts = zip(*(t.split(_MAX_BATCH) for t in (q, k, v)), strict=True)
    return torch.cat([F.scaled_dot_product_attention(*p, attn_mask=bias) for p in parts])


class AxialAttention(ComplexModule):
    """Multi-head self-attention along one axis of a planar ``[B, 2C, F, T]`` map.

    Args:
        channels: complex channels C, a multiple of ``heads``.
        heads: number of heads H.
        axis: ``"frequency"`` or ``"time"``.
        window: None attends to the whole axis, without position information. ``(left, right)``
            lets position t see t-left .. t+right only, with a learned bias per head and offset,
            and takes O(length * window) memory. Positions outside the map count as zero frames
            (key and value 0, like the zero padding of a convolution), so the result at t is the
            same for any length that contains its window, and a stream can start from zero state.
        zero_init: start the output projection at zero (a residual branch that begins as identity).

    Shape: planar ``[B, 2C, F, T]`` -> same. U(1)-equivariant.
    """

    bias_index: Tensor
    outside: Tensor

    def __init__(
        self,
        channels: int,
        heads: int,
        axis: str,
        window: tuple[int, int] | None = None,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"channels={channels} must be a multiple of heads={heads}")
        if axis not in ("frequency", "time"):
            raise ValueError(f'axis must be "frequency" or "time", got {axis!r}')
        if window is not None and min(window) < 0:
            raise ValueError(f"window must be two numbers >= 0, got {window}")
        self.channels = channels
        self.heads = heads
        self.axis = axis
        self.window = window
        self.qkv = ComplexConv2d(channels, 3 * channels, 1, bias=False)
        self.project = ComplexConv2d(channels, channels, 1, bias=False)
        if zero_init:
            nn.init.zeros_(self.project.weight)
        if window is not None:
            reach = sum(window)
            self.relative_bias = nn.Parameter(torch.empty(heads, reach + 1))
            nn.init.zeros_(self.relative_bias)
            # Blocks of about the window's length: the span of keys is then twice the block.
            self.block = max(16, -(-reach // 8) * 8)
            offset = torch.arange(self.block + reach) - torch.arange(self.block)[:, None]
            self.register_buffer("bias_index", offset.clamp(0, reach), persistent=False)
            outside = (offset < 0) | (offset > reach)
            self.register_buffer("outside", outside, persistent=False)

    def planar_forward(self, x: Tensor) -> Tensor:
        return self.attend(x)

    def attend(self, x: Tensor, past: History | None = None) -> Tensor:
        """The layer on a planar tensor; with ``past`` on the next block of a stream along the axis,
        delayed by the right side of the window."""
        self._check_channels(x, self.channels)
        if x.numel() == 0:
            return x
        batch = x.shape[0]
        qkv = self.qkv(x).unflatten(1, (2, 3, self.heads, -1))  # B 2 3 H d F T
        if self.axis == "frequency":
            qkv = qkv.transpose(-1, -2)
        # -> 3, sequences (batch, other axis), heads, positions, [re | im]
        other, length = qkv.shape[-2:]
        qkv = qkv.permute(2, 0, 5, 3, 6, 1, 4).reshape(
            3, batch * other, self.heads, length, 2 * self.channels // self.heads
        )
        if self.window is None:
            y = _attend(*qkv.unbind(0))
        else:
            q, k, v = context(qkv, *self.window, past, -2).unbind(0)
            y = self._banded(q, k, v, self.window)
        y = y.reshape(batch, other, self.heads, length, 2, -1).permute(0, 4, 2, 5, 1, 3)
        if self.axis == "frequency":
            y = y.transpose(-1, -2)
        return self.project(y.reshape(x.shape))

    def _banded(self, q: Tensor, k: Tensor, v: Tensor, window: tuple[int, int]) -> Tensor:
        """Each block of queries against the span of keys its windows reach.

        All ``[N, H, left + L + right, E]`` -> ``[N, H, L, E]``.
        """
        left, right = window
        count, heads, length, size = q.shape
        length -= left + right
        q = q[:, :, left : left + length]
        blocks = (length + self.block - 1) // self.block
        extra = blocks * self.block - length
        span = self.block + left + right
        q = F.pad(q, (0, 0, 0, extra)).unflatten(2, (blocks, self.block)).transpose(1, 2)
        k, v = (
            F.pad(t, (0, 0, 0, extra)).unfold(2, span, self.block).permute(0, 2, 1, 4, 3)
            for t in (k, v)
        )
        bias = self.relative_bias[:, self.bias_index].masked_fill(self.outside, float("-inf"))
        flat = (t.reshape(count * blocks, heads, -1, size) for t in (q, k, v))
        y = _attend(*flat, bias=bias.to(q.dtype)[None])
        y = y.unflatten(0, (count, blocks)).transpose(1, 2).flatten(2, 3)
        return y[:, :, :length]

    def extra_repr(self) -> str:
        return f"{self.channels}, heads={self.heads}, axis={self.axis}, window={self.window}"


class TimeAttention(ComplexModule):
    """:class:`AxialAttention` along time for planar ``[B, 2C, T]``."""

    def __init__(
        self,
        channels: int,
        heads: int,
        window: tuple[int, int] | None = None,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        self.attention = AxialAttention(channels, heads, "time", window, zero_init)

    def planar_forward(self, x: Tensor) -> Tensor:
        return self.attend(x)

    def attend(self, x: Tensor, past: History | None = None) -> Tensor:
        """The layer on planar ``[B, 2C, T]``, or with ``past`` on the next block of a stream."""
        return self.attention.attend(x.unsqueeze(2), past).squeeze(2)
