import math
from typing import Any

import pytest
import torch
from oracle import complex_randn, native
from torch.nn import functional as F

from eulerodec.nn import (
    ComplexConv1d,
    ComplexConv2d,
    ComplexConvTranspose1d,
    ComplexConvTranspose2d,
    ComplexLinear,
    WidelyLinearConv1d,
    to_complex,
    to_planar,
)

CONV: dict[str, tuple[Any, Any, tuple[int, ...], dict[str, Any]]] = {
    "1d": (ComplexConv1d, F.conv1d, (11,), dict(kernel_size=3)),
    "1d-strided": (ComplexConv1d, F.conv1d, (11,), dict(kernel_size=4, stride=2, padding=1)),
    "1d-dilated": (ComplexConv1d, F.conv1d, (11,), dict(kernel_size=3, dilation=3, padding=2)),
    "1d-grouped": (ComplexConv1d, F.conv1d, (11,), dict(kernel_size=3, groups=2)),
    "1d-depthwise": (ComplexConv1d, F.conv1d, (11,), dict(kernel_size=3, groups=4)),
    "1d-same": (ComplexConv1d, F.conv1d, (11,), dict(kernel_size=5, padding="same", bias=False)),
    "2d": (ComplexConv2d, F.conv2d, (6, 7), dict(kernel_size=(3, 2), padding=(1, 0))),
    "2d-strided": (ComplexConv2d, F.conv2d, (6, 7), dict(kernel_size=3, stride=(2, 1), padding=1)),
    "2d-grouped": (ComplexConv2d, F.conv2d, (6, 7), dict(kernel_size=3, groups=2, bias=False)),
    "2d-depthwise": (ComplexConv2d, F.conv2d, (6, 7), dict(kernel_size=3, groups=4, dilation=2)),
    "t1d": (
        ComplexConvTranspose1d,
        F.conv_transpose1d,
        (5,),
        dict(kernel_size=4, stride=3, padding=1, output_padding=1),
    ),
    "t1d-grouped": (
        ComplexConvTranspose1d,
        F.conv_transpose1d,
        (5,),
        dict(kernel_size=4, stride=2, groups=2),
    ),
    "t1d-depthwise": (
        ComplexConvTranspose1d,
        F.conv_transpose1d,
        (5,),
        dict(kernel_size=3, groups=4, bias=False),
    ),
    "t2d": (
        ComplexConvTranspose2d,
        F.conv_transpose2d,
        (3, 4),
        dict(kernel_size=(4, 3), stride=(2, 1), padding=1),
    ),
    "t2d-grouped": (
        ComplexConvTranspose2d,
        F.conv_transpose2d,
        (3, 4),
        dict(kernel_size=3, stride=2, groups=4, dilation=2),
    ),
}


def build(name, seed=0):
    cls, fn, size, options = CONV[name]
    torch.manual_seed(seed)
    layer = cls(4, 8, **options).double()
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    keep = {k: v for k, v in options.items() if k not in ("kernel_size", "bias")}
    return layer, fn, complex_randn(2, 4, *size), keep


@pytest.mark.parametrize("name", CONV)
def test_planar_and_native_equal_complex_convolution(name):
    layer, fn, z, options = build(name)
    weight = native(layer.weight)
    bias = None if layer.bias is None else native(layer.bias)
    expected = fn(z, weight, bias, **options)
    actual = layer(z)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(layer(to_planar(z)), to_planar(expected))
    # The gradient of the (re, im) pair is the gradient torch gives to a complex parameter.
    cost = complex_randn(*expected.shape, seed=1)
    (actual * cost).real.sum().backward()
    (expected * cost).real.sum().backward()
    torch.testing.assert_close(torch.view_as_complex(layer.weight.grad), weight.grad)
    if bias is not None and layer.bias is not None:
        torch.testing.assert_close(torch.view_as_complex(layer.bias.grad), bias.grad)


@pytest.mark.parametrize("name", ["1d-strided", "1d-depthwise", "2d-grouped", "t1d", "t1d-grouped"])
def test_gradcheck_on_native_input(name):
    layer, _, z, _ = build(name)
    assert torch.autograd.gradcheck(layer, (z[:1].requires_grad_(),))


@pytest.mark.parametrize("name", ["1d-same", "2d-grouped", "t1d-depthwise"])
def test_no_bias_is_phase_equivariant(name):
    layer, _, z, _ = build(name)
    turn = complex(math.cos(1.1), math.sin(1.1))
    torch.testing.assert_close(layer(turn * z), turn * layer(z))


@pytest.mark.parametrize(("groups", "out"), [(1, 6), (2, 6), (4, 8)])
def test_widely_linear(groups, out):
    torch.manual_seed(0)
    layer = WidelyLinearConv1d(4, out, 3, stride=2, padding=1, groups=groups).double()
    assert layer.bias is not None
    z = complex_randn(2, 4, 9)
    options: dict[str, Any] = dict(stride=2, padding=1, groups=groups)
    linear = F.conv1d(z, native(layer.weight), native(layer.bias), **options)
    torch.testing.assert_close(layer(z), linear)  # starts strictly linear
    torch.nn.init.normal_(layer.weight_conj)
    expected = linear + F.conv1d(z.conj(), native(layer.weight_conj), **options)
    torch.testing.assert_close(layer(z), expected)
    torch.testing.assert_close(to_complex(layer(to_planar(z))), expected)
    assert torch.autograd.gradcheck(layer, (z[:1, :, :5].requires_grad_(),))


def test_linear():
    torch.manual_seed(0)
    layer = ComplexLinear(4, 3).double()
    assert layer.bias is not None
    torch.nn.init.normal_(layer.bias)
    z = complex_randn(2, 5, 4)
    expected = z @ native(layer.weight).mT + native(layer.bias)
    torch.testing.assert_close(layer(z), expected)
    torch.testing.assert_close(layer(to_planar(z, -1)), to_planar(expected, -1))
    assert torch.autograd.gradcheck(layer, (z.requires_grad_(),))


def test_depthwise_does_not_mix_channels():
    layer = ComplexConv1d(4, 4, 3, padding=1, groups=4, bias=False)
    z = torch.zeros(1, 4, 8, dtype=torch.complex64)
    z[0, 2].fill_(1j)
    assert layer(z).abs().sum(-1).ne(0).tolist() == [[False, False, True, False]]


def test_bf16_autocast_is_close_to_float32():
    torch.manual_seed(0)
    layer = ComplexConv1d(8, 8, 3)
    x = torch.randn(1, 16, 20)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), atol=0.05, rtol=0.05)


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match="ComplexConv1d has 4 complex channels"):
        ComplexConv1d(4, 4, 1)(torch.zeros(1, 4, 3))
    with pytest.raises(ValueError, match="groups=3"):
        ComplexConv1d(4, 4, 1, groups=3)
    with pytest.raises(ValueError, match="even size"):
        to_complex(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="needs a complex tensor"):
        to_planar(torch.zeros(1, 3))
