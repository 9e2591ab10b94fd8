import math

import pytest
import torch
from oracle import (
    complex_randn,
    covariance,
    inverse_root,
    native,
    non_circular,
    whiten_over_channels,
)

from eulerodec.nn import (
    ComplexBatchNorm,
    ComplexRMSNorm,
    WhiteningNorm,
    inverse_sqrt_2x2,
    to_complex,
    to_planar,
)

TURN = complex(math.cos(0.7), math.sin(0.7))


def pairs_over_channels(z):
    return torch.view_as_real(z.movedim(1, -1).contiguous())


def test_inverse_root_against_eigendecomposition():
    raw = torch.randn(200, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cov = covariance(raw) * 10 ** torch.linspace(-8, 4, 200, dtype=torch.float64)[:, None, None]
    rr, ii, ri = inverse_sqrt_2x2(cov[:, 0, 0], cov[:, 1, 1], cov[:, 0, 1], 1e-3, 1e-8)
    expected = inverse_root(cov, 1e-3, 1e-8)
    torch.testing.assert_close(rr, expected[:, 0, 0])
    torch.testing.assert_close(ii, expected[:, 1, 1])
    torch.testing.assert_close(ri, expected[:, 0, 1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 5, 3, 4), (1, 5, 1)])
@pytest.mark.parametrize("center", [False, True])
def test_whitening_norm_equals_oracle(shape, center):
    norm = WhiteningNorm(5, center=center).double()
    torch.nn.init.normal_(norm.scale)
    z = non_circular(*shape)
    white = whiten_over_channels(z, norm.eps, norm.floor, center) * math.sqrt(0.5)
    expected = white * native(norm.scale).view(-1, *(1,) * (len(shape) - 2))
    torch.testing.assert_close(norm(z), expected)
    torch.testing.assert_close(norm(to_planar(z)), to_planar(expected))


@pytest.mark.parametrize("center", [False, True])
def test_covariance_after_whitening_is_half_identity(center):
    z = non_circular(2, 64, 6)
    y = WhiteningNorm(64, eps=1e-9, floor=1e-12, center=center).double()(z)
    half = 0.5 * torch.eye(2, dtype=torch.float64).expand(2, 6, 2, 2)
    torch.testing.assert_close(covariance(pairs_over_channels(y)), half, atol=1e-6, rtol=0)
    y = WhiteningNorm(64, center=center).double()(z)  # default eps: within a few per cent
    torch.testing.assert_close(covariance(pairs_over_channels(y)), half, atol=0.01, rtol=0)


@pytest.mark.parametrize("make", [WhiteningNorm, lambda c: WhiteningNorm(c, center=True)])
@pytest.mark.parametrize("angle", [0.3, math.pi / 2, -2.5])
def test_whitening_is_phase_equivariant(make, angle):
    norm = make(6).double()
    torch.nn.init.normal_(norm.scale)
    z = non_circular(2, 6, 9)
    turn = complex(math.cos(angle), math.sin(angle))
    torch.testing.assert_close(norm(turn * z), turn * norm(z), rtol=1e-10, atol=1e-12)


def test_rms_norm():
    norm = ComplexRMSNorm(6).double()
    torch.nn.init.normal_(norm.scale)
    z = non_circular(2, 6, 9)
    rms = z.abs().square().mean(1, keepdim=True).add(norm.floor).sqrt()
    torch.testing.assert_close(norm(z), z / rms * norm.scale[:, None])
    torch.testing.assert_close(norm(TURN * z), TURN * norm(z))


def batch_norm_oracle(z, mean, cov, gamma, bias, eps, floor):
    pairs = torch.view_as_real((z - mean[:, None]).movedim(1, 0).reshape(z.shape[1], -1))
    matrix = gamma @ inverse_root(cov, eps, floor)
    out = torch.view_as_complex((pairs @ matrix.mT).contiguous()) + bias[:, None]
    return out.view(z.shape[1], z.shape[0], -1).movedim(0, 1)


def randomised_batch_norm():
    torch.manual_seed(0)
    norm = ComplexBatchNorm(3).double()
    torch.nn.init.normal_(norm.gamma)
    torch.nn.init.normal_(norm.bias)
    rr, ii, ri = norm.gamma.detach().unbind(-1)
    return norm, torch.stack([rr, ri, ri, ii], -1).view(3, 2, 2), native(norm.bias)


def test_batch_norm_equals_oracle_in_training_and_evaluation():
    norm, gamma, bias = randomised_batch_norm()
    z = non_circular(4, 3, 10)
    flat = z.movedim(1, 0).reshape(3, -1)
    mean = flat.mean(1)
    cov = covariance(torch.view_as_real(flat - mean[:, None]))
    expected = batch_norm_oracle(z, mean, cov, gamma, bias, norm.eps, norm.floor)
    torch.testing.assert_close(norm(z), expected)
    # running statistics: one step of momentum 0.1 from mean 0, covariance I/2; unbiased as torch's
    unbiased = torch.stack([torch.cov(torch.stack([c.real, c.imag])) for c in flat])
    run = 0.9 * 0.5 * torch.eye(2, dtype=torch.float64) + 0.1 * unbiased
    torch.testing.assert_close(norm.running_cov[:, 0], run[:, 0, 0])
    torch.testing.assert_close(norm.running_cov[:, 2], run[:, 0, 1])
    torch.testing.assert_close(torch.view_as_complex(norm.running_mean), 0.1 * mean)
    norm.eval()
    expected = batch_norm_oracle(z, 0.1 * mean, run, gamma, bias, norm.eps, norm.floor)
    torch.testing.assert_close(norm(z), expected)
    torch.testing.assert_close(norm(to_planar(z)), to_planar(expected))


def test_batch_norm_whitens_each_channel_of_maps():
    z = non_circular(4, 3, 8, 6)
    y = ComplexBatchNorm(3).double()(z).movedim(1, 0).reshape(3, -1)
    assert y.mean(1).abs().max() < 1e-12
    half = 0.5 * torch.eye(2, dtype=torch.float64).expand(3, 2, 2)
    torch.testing.assert_close(covariance(torch.view_as_real(y)), half, atol=1e-3, rtol=0)


def test_fresh_batch_norm_in_evaluation_is_identity_but_running_one_is_not_equivariant():
    norm = ComplexBatchNorm(3).double().eval()
    z = non_circular(4, 3, 10)
    torch.testing.assert_close(norm(z), z, rtol=1e-4, atol=1e-6)
    norm.train()
    for _ in range(20):
        norm(z)
    norm.eval()
    assert (norm(TURN * z) - TURN * norm(z)).abs().max() > 0.1


NORMS = {
    "whitening": lambda: WhiteningNorm(4),
    "centred": lambda: WhiteningNorm(4, center=True),
    "one channel": lambda: WhiteningNorm(1),
    "rms": lambda: ComplexRMSNorm(4),
    "batch": lambda: ComplexBatchNorm(4),
}


@pytest.mark.parametrize("name", NORMS)
def test_gradcheck(name):
    norm = NORMS[name]().double()
    channels = norm.channels
    z = complex_randn(2, channels, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(norm, (z,))
    if name == "batch":
        norm.eval()
        assert torch.autograd.gradcheck(norm, (z,))


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("level", [0.0, 1e-12, 1e-8, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("kind", ["full", "real", "one phase", "constant"])
def test_finite_forward_and_backward(name, frames, level, kind):
    norm = NORMS[name]()
    z = complex_randn(1, norm.channels, frames, dtype=torch.complex64)
    z = {
        "full": z,
        "real": z.real + 0j,
        "one phase": z.real * TURN,
        "constant": torch.full_like(z, TURN),
    }[kind]
    x = to_planar((level * z).to(torch.complex64)).requires_grad_()
    y = norm(x)
    (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum().backward()
    assert y.isfinite().all() and y.abs().max() < 100
    assert all(
        t is not None and t.isfinite().all() for t in (x.grad, *(p.grad for p in norm.parameters()))
    )
    if level == 0.0:
        assert y.eq(0).all()


@pytest.mark.parametrize("name", ["whitening", "rms"])
@pytest.mark.parametrize("level", [0.1, 1.0, 1e4])
def test_level_does_not_matter(name, level):
    norm = NORMS[name]()
    z = non_circular(1, 4, 6).to(torch.complex64)
    torch.testing.assert_close(norm(level * z), norm(z), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["whitening", "rms", "batch"])
def test_half_precision_keeps_type_and_float32_statistics(name):
    norm = NORMS[name]()
    x = to_planar(non_circular(2, 4, 6)).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x)
    assert y.dtype == torch.bfloat16
    norm2 = NORMS[name]()
    torch.testing.assert_close(y.float(), norm2(x.float()), rtol=0.01, atol=1e-3)


def test_to_complex_of_half_precision():
    assert to_complex(torch.zeros(1, 2, dtype=torch.bfloat16)).dtype == torch.complex64
