import math

import pytest
import torch
from oracle import complex_randn

from eulerodec.nn import (
    Cardioid,
    MagnitudeGELU,
    MagnitudeGLU,
    ModReLU,
    magnitude,
    scale_planar,
    to_planar,
)

TURN = complex(math.cos(2.1), math.sin(2.1))


def mod_relu():
    layer = ModReLU(3)
    layer.bias.data = torch.tensor([-0.5, 0.0, 0.7])
    return layer.double()


def magnitude_gelu():
    layer = MagnitudeGELU(3)
    layer.mu.data = torch.tensor([0.0, 0.5, 1.2])
    layer.log_sigma.data = torch.tensor([-1.0, 0.0, 0.3])
    return layer.double()


LAYERS = {"modrelu": mod_relu, "gelu": magnitude_gelu, "cardioid": Cardioid}


def expected(name, layer, z):
    r = z.abs()
    if name == "modrelu":
        return torch.polar((r + layer.bias[:, None]).clamp_min(0), z.angle())
    if name == "gelu":
        normal = torch.distributions.Normal(layer.mu[:, None], layer.log_sigma.exp()[:, None])
        return z * normal.cdf(r)
    return 0.5 * (1 + torch.cos(z.angle())) * z


@pytest.mark.parametrize("name", LAYERS)
def test_formula_and_gradient(name):
    layer = LAYERS[name]()
    z = complex_randn(2, 3, 5)
    torch.testing.assert_close(layer(z), expected(name, layer, z))
    torch.testing.assert_close(layer(to_planar(z)), to_planar(expected(name, layer, z)))
    assert torch.autograd.gradcheck(layer, (z.requires_grad_(),))


@pytest.mark.parametrize("name", ["modrelu", "gelu"])
def test_equivariant(name):
    layer = LAYERS[name]()
    z = complex_randn(2, 3, 4, 5)
    torch.testing.assert_close(layer(TURN * z), TURN * layer(z))


def test_cardioid_is_relu_on_the_real_axis_and_not_equivariant():
    layer = Cardioid()
    z = torch.tensor([[[-2.0, -0.1, 0.3, 4.0]]], dtype=torch.float64) + 0j
    torch.testing.assert_close(layer(z), torch.relu(z.real) + 0j)
    assert (layer(TURN * z) - TURN * layer(z)).abs().max() > 0.1


def test_gated():
    layer = MagnitudeGLU(3).double()
    layer.a.data = torch.tensor([0.5, 1.0, -2.0]).double()
    value, gate = complex_randn(2, 3, 5), complex_randn(2, 3, 5, seed=1)
    want = value * torch.sigmoid(layer.a[:, None] * gate.abs() + layer.b[:, None])
    torch.testing.assert_close(layer(value, gate), want)
    torch.testing.assert_close(layer(to_planar(value), to_planar(gate)), to_planar(want))
    torch.testing.assert_close(layer(TURN * value, 1j * gate), TURN * want)
    inputs = (value.requires_grad_(), gate.requires_grad_())
    assert torch.autograd.gradcheck(layer, inputs)
    with pytest.raises(ValueError, match="must both be planar"):
        layer(value, to_planar(gate))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("level", [0.0, 1e-20, 1e-8, 1e4])
def test_finite(name, level):
    layer = LAYERS[name]().float()
    x = (level * to_planar(complex_randn(1, 3, 1, dtype=torch.complex64))).requires_grad_()
    y = layer(x)
    y.square().sum().backward()
    assert y.isfinite().all() and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_defaults_open_half_way_at_the_median_modulus():
    x = torch.tensor([math.sqrt(math.log(2)), 0.0]).view(1, 2, 1)
    half = torch.tensor([[[x[0, 0, 0] / 2], [0.0]]])
    torch.testing.assert_close(MagnitudeGELU(1)(x), half)
    torch.testing.assert_close(MagnitudeGLU(1)(x, x), half)


def test_helpers():
    z = complex_randn(2, 3, 5)
    torch.testing.assert_close(magnitude(to_planar(z), eps=0.0), z.abs())
    torch.testing.assert_close(scale_planar(to_planar(z), z.abs()), to_planar(z * z.abs()))
    x = to_planar(z).bfloat16()
    assert magnitude(x).dtype == torch.float32
    assert MagnitudeGELU(3)(x).dtype == torch.bfloat16
