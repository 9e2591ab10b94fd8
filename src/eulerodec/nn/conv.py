"""Complex convolutions, computed as one real convolution with a block weight.

(wr + i wi)(xr + i xi) = (wr xr - wi xi) + i (wi xr + wr xi): over planar channels that is the real
weight [[wr, -wi], [wi, wr]]. All are linear; without bias they are U(1)-equivariant (a common
phase factor of the input appears unchanged at the output), except ``WidelyLinearConv1d``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .init import complex_kaiming_
from .planar import ComplexModule

__all__ = [
    "ComplexConv1d",
    "ComplexConv2d",
    "ComplexConvTranspose1d",
    "ComplexConvTranspose2d",
    "WidelyLinearConv1d",
    "prepared",
]

Root = TypeVar("Root", bound=nn.Module)
Size = int | tuple[int, ...]

_CONV: dict[tuple[int, bool], Callable[..., Tensor]] = {
    (1, False): F.conv1d,
    (2, False): F.conv2d,
    (1, True): F.conv_transpose1d,
    (2, True): F.conv_transpose2d,
}


def _tuple(value: Size, rank: int) -> tuple[int, ...]:
    out = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(out) != rank:
        raise ValueError(f"expected {rank} numbers, got {value}")
    return out


Parts = tuple[Tensor, Tensor, Tensor, Tensor]
Prepared = tuple[Tensor, Tensor | None]  # weight and bias as the real convolution takes them


def _block(parts: Parts, groups: int) -> Tensor:
    """Block matrix [[rr, ri], [ir, ii]] over the first two axes, inside each group."""
    rr, ri, ir, ii = (w.unflatten(0, (groups, -1)) for w in parts)
    return torch.cat([torch.cat([rr, ri], 2), torch.cat([ir, ii], 2)], 1).flatten(0, 1)


def _interleave(x: Tensor, outer: int, inner: int) -> Tensor:
    """Swap the two outer factors of the channel axis: [B, outer*inner*C, *] -> inner first."""
    return x.unflatten(1, (outer, inner, -1)).transpose(1, 2).flatten(1, 3)


class _ComplexConv(ComplexModule):
    rank: int
    transposed = False
    _prepared: Prepared | None = None  # in copies, see `prepared`

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        output_padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups={groups} must divide in_channels={in_channels} "
                f"and out_channels={out_channels}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _tuple(kernel_size, self.rank)
        self.stride = _tuple(stride, self.rank)
        self.padding = padding if isinstance(padding, str) else _tuple(padding, self.rank)
        self.output_padding = _tuple(output_padding, self.rank)
        self.dilation = _tuple(dilation, self.rank)
        self.groups = groups
        first, second = in_channels, out_channels
        if not self.transposed:
            first, second = second, first
        self.weight = nn.Parameter(torch.empty(first, second // groups, *self.kernel_size, 2))
        self.bias = nn.Parameter(torch.zeros(out_channels, 2)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Variance-preserving complex Gaussian weight, zero bias."""
        fan_in = self.in_channels / self.groups
        for k, s in zip(self.kernel_size, self.stride, strict=True):
            # each output of a transposed convolution is reached by k / stride taps
            fan_in *= k / s if self.transposed else k
        complex_kaiming_(self.weight, fan_in=fan_in)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _parts(self) -> Parts:
        """Real maps re->re, im->re, re->im, im->im (first index: output)."""
        wr, wi = self.weight.unbind(-1)
        return wr, -wi, wi, wr

    @property
    def _depthwise(self) -> bool:
        return self.groups == self.in_channels and self.groups > 1 and not self.transposed

    def prepare(self) -> Prepared:
        """Weight and bias of the real convolution; depthwise: both of its weights, stacked."""
        bias = None if self.bias is None else self.bias.t().reshape(-1)
        rr, ri, ir, ii = self._parts()
        if self._depthwise:
            return torch.stack([torch.cat([rr, ii]), torch.cat([ir, ri])]), bias
        if self.transposed:  # torch's transposed weight has the input axis first
            ri, ir = ir, ri
        if self.groups > 1 and bias is not None:
            bias = bias.unflatten(0, (2, self.groups, -1)).transpose(0, 1).reshape(-1)
        return _block((rr, ri, ir, ii), self.groups), bias

    def planar_forward(self, x: Tensor) -> Tensor:
        self._check_channels(x, self.in_channels)
        convolve = _CONV[self.rank, self.transposed]
        grouped = self.groups > 1
        weight, bias = self._prepared or self.prepare()
        if self._depthwise:
            # Depthwise kernels are fast and want no interleaving: every channel to its own part,
            # and every channel to the other part, which then changes places.
            options = (self.stride, self.padding, self.dilation, 2 * self.groups)
            own = convolve(x, weight[0], bias, *options)
            other = convolve(x, weight[1], None, *options)
            return own + other.roll(self.out_channels, 1)
        if grouped:  # each group needs its real and imaginary channels side by side
            x = _interleave(x, 2, self.groups)
        if self.transposed:
            y = convolve(
                x, weight, bias, self.stride, self.padding,
                self.output_padding, self.groups, self.dilation,
            )  # fmt: skip
        else:
            y = convolve(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        return _interleave(y, self.groups, 2) if grouped else y

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"groups={self.groups}, bias={self.bias is not None}"
        )


class _Forward(_ComplexConv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, 0, dilation, groups, bias
        )


class _Transposed(_ComplexConv):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, output_padding,
            dilation, groups, bias,
        )  # fmt: skip


class ComplexConv1d(_Forward):
    """Complex ``nn.Conv1d``: planar ``[B, 2*in, T]`` -> ``[B, 2*out, T']``.

    ``weight`` is real ``[out, in/groups, k, 2]``, ``bias`` ``[out, 2]``.
    """

    rank = 1


class ComplexConv2d(_Forward):
    """Complex ``nn.Conv2d``: planar ``[B, 2*in, F, T]`` -> ``[B, 2*out, F', T']``."""

    rank = 2


class ComplexConvTranspose1d(_Transposed):
    """Complex ``nn.ConvTranspose1d`` (no conjugation); ``weight`` ``[in, out/groups, k, 2]``."""

    rank = 1


class ComplexConvTranspose2d(_Transposed):
    """Complex ``nn.ConvTranspose2d`` (no conjugation), ``weight`` ``[in, out/groups, *k, 2]``."""

    rank = 2


class WidelyLinearConv1d(ComplexConv1d):
    """Widely linear convolution ``y = A * x + B * conj(x)`` (+ bias), planar ``[B, 2C, T]``.

    The most general real-linear map of (re, im); needed where the augmented statistics matter,
    i.e. for non-circular signals (Schreier & Scharf 2010, chapter 2). A is ``weight``, B is
    ``weight_conj`` (starts at zero: strictly linear). Not U(1)-equivariant unless B = 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self.weight_conj = nn.Parameter(torch.zeros_like(self.weight))

    def _parts(self) -> Parts:
        ar, ai = self.weight.unbind(-1)
        br, bi = self.weight_conj.unbind(-1)
        return ar + br, bi - ai, ai + bi, ar - br


def prepared(root: Root, *parts: nn.Module) -> Root:
    """A copy of ``root`` for inference, whose complex convolutions hold their real block weights.

    For small inputs making the block weight costs as much as the convolution. ``root`` is left as
    it is, so training never sees stale weights; the copy shares all parameters and buffers with it
    and is meant to be thrown away once they change.

    Args:
        root: a module.
        parts: modules inside of it that shall be prepared; all of it by default.
    """
    wanted = {m for part in parts or (root,) for m in part.modules() if isinstance(m, _ComplexConv)}
    copies: dict[nn.Module, nn.Module] = {}

    def copied(module: nn.Module) -> nn.Module:
        if module not in copies:
            twin = copies[module] = copy.copy(module)
            children = module._modules.items()
            twin._modules = {name: child and copied(child) for name, child in children}
            if module in wanted:
                assert isinstance(module, _ComplexConv) and isinstance(twin, _ComplexConv)
                twin._prepared = module.prepare()
        return copies[module]

    return cast(Root, copied(root))
