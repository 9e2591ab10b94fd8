"""Complex linear layer over the last axis."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .init import complex_kaiming_
from .planar import ComplexModule

__all__ = ["ComplexLinear"]


class ComplexLinear(ComplexModule):
    """``y = x W^T + b`` over the last axis: planar ``[..., 2*in]`` -> ``[..., 2*out]``.

    ``weight`` is real ``[out, in, 2]``, ``bias`` ``[out, 2]``. U(1)-equivariant without bias.
    """

    channel_dim = -1

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features, 2))
        self.bias = nn.Parameter(torch.zeros(out_features, 2)) if bias else None
        complex_kaiming_(self.weight)

    def planar_forward(self, x: Tensor) -> Tensor:
        self._check_channels(x, self.in_features)
        wr, wi = self.weight.unbind(-1)
        weight = torch.cat([torch.cat([wr, -wi], 1), torch.cat([wi, wr], 1)], 0)
        return F.linear(x, weight, None if self.bias is None else self.bias.t().reshape(-1))

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"
