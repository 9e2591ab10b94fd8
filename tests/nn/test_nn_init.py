import math

import pytest
import torch
from oracle import complex_randn, native
from scipy import stats

from eulerodec.nn import (
    ComplexConv1d,
    ComplexConvTranspose1d,
    complex_glorot_,
    complex_kaiming_,
    complex_unitary_,
)


def generator():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize(
    ("fill", "variance"),
    [(complex_kaiming_, 1 / (32 * 5)), (complex_glorot_, 2 / (5 * (32 + 48)))],
)
def test_rayleigh_modulus_uniform_phase(fill, variance):
    w = native(fill(torch.empty(48, 32, 5, 2), generator=generator())).detach().flatten()
    assert w.abs().square().mean().item() == pytest.approx(variance, rel=0.05)
    scale = math.sqrt(variance / 2)
    assert stats.kstest(w.abs().numpy(), stats.rayleigh(scale=scale).cdf).pvalue > 0.01
    phase = stats.uniform(-math.pi, 2 * math.pi)
    assert stats.kstest(w.angle().numpy(), phase.cdf).pvalue > 0.01


@pytest.mark.parametrize("shape", [(6, 6, 2), (3, 8, 2), (12, 2, 3, 2), (4, 3, 2, 2, 2)])
def test_semi_unitary(shape):
    filled = complex_unitary_(torch.empty(shape, dtype=torch.float64), generator=generator())
    w = native(filled).detach().flatten(1)
    gram = w @ w.mH if w.shape[0] <= w.shape[1] else w.mH @ w
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=gram.dtype))


def test_unitary_keeps_energy_with_gain():
    layer = ComplexConv1d(8, 8, 1, bias=False).double()
    complex_unitary_(layer.weight, gain=2.0)
    z = complex_randn(2, 8, 5)
    torch.testing.assert_close(layer(z).norm(dim=1), 2 * z.norm(dim=1))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: ComplexConv1d(64, 96, 5, padding=2),
        lambda: ComplexConv1d(64, 64, 7, padding=3, groups=8),
        lambda: ComplexConvTranspose1d(64, 96, 8, stride=4, padding=2),
    ],
)
def test_default_keeps_power(layer):
    torch.manual_seed(0)
    z = complex_randn(2, 64, 200, dtype=torch.complex64)
    assert layer()(z).abs().square().mean().item() == pytest.approx(1.0, rel=0.15)


def test_shape_is_checked():
    with pytest.raises(ValueError, match="must be"):
        complex_kaiming_(torch.empty(4, 3))
