import math

import pytest
import torch
from oracle import complex_randn

from eulerodec.nn import STFT, power_compress, power_expand, to_complex, to_planar

SIZES = [(1056, 264), (528, 264), (792, 264), (9, 3)]


def noise(n, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, dtype=torch.float64, generator=gen)


@pytest.mark.parametrize(("n_fft", "hop"), SIZES)
@pytest.mark.parametrize("n", [0, 1, 263, 264, 265, 5000])
def test_perfect_reconstruction(n_fft, hop, n):
    stft = STFT(n_fft, hop)
    wav = noise(n)
    spec = stft.analysis(wav)
    frames = math.ceil(n / hop) + n_fft // hop - 1 if n else 0
    assert spec.shape == (2, 2 * (n_fft // 2 + 1), frames) and stft.n_frames(n) == frames
    torch.testing.assert_close(stft.synthesis(spec, n).double(), wav, atol=1e-6, rtol=0)
    if n:
        torch.testing.assert_close(stft.synthesis(to_complex(spec), n), wav, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("n_fft", "hop"), SIZES)
def test_inner_frames_equal_torch_stft(n_fft, hop):
    stft = STFT(n_fft, hop).double()
    wav = noise(5000)
    m = n_fft // hop
    expected = torch.stft(wav, n_fft, hop, window=stft.window, center=False, return_complex=True)
    inner = to_complex(stft.analysis(wav))[..., m - 1 : m - 1 + expected.shape[-1]]
    torch.testing.assert_close(inner, expected)


def test_window_products_sum_to_one():
    for n_fft, hop in SIZES:
        squared = STFT(n_fft, hop).window.double().square().view(-1, hop).sum(0)
        torch.testing.assert_close(squared, torch.ones(hop).double(), atol=1e-6, rtol=0)


def test_frame_needs_no_later_sample():
    stft = STFT(12, 3)
    wav = noise(60)
    changed = wav.clone()
    changed[:, 30:] += 1.0  # frame t ends at sample 3 t + 2
    difference = (stft.analysis(changed) - stft.analysis(wav)).abs().amax((0, 1))
    assert difference[:10].max() == 0 and difference[10] > 0


def test_frame_by_frame_synthesis_equals_the_whole():
    stft = STFT(12, 3).double()
    wav = noise(31)
    spec = stft.analysis(wav)
    tail = torch.zeros(2, 9, dtype=torch.float64)
    pieces = []
    for t in range(spec.shape[-1]):
        block = stft.overlap_add(spec[..., t : t + 1])
        block[:, :9] += tail
        pieces.append(block[:, :3])
        tail = block[:, 3:]
    streamed = torch.cat(pieces, 1)[:, 9 : 9 + 31]
    torch.testing.assert_close(streamed, stft.synthesis(spec, 31))
    padded = torch.nn.functional.pad(wav, (9, 9 + 2))
    torch.testing.assert_close(stft.transform(padded), spec)


def test_imaginary_part_of_dc_and_nyquist_is_ignored():
    stft = STFT(12, 3)
    spec = stft.analysis(noise(30))
    z = to_complex(spec)
    z[:, 0] += 5j
    z[:, -1] -= 3j
    torch.testing.assert_close(stft.synthesis(z, 30), stft.synthesis(spec, 30))


def test_gradient_flows_through_the_round_trip():
    stft = STFT(6, 3).double()
    wav = noise(8).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: stft.synthesis(1.7 * stft(w), 8), (wav,))


def test_bfloat16_spectrum_is_accepted():
    stft = STFT(12, 3)
    wav = noise(30).float()
    y = stft.synthesis(stft.analysis(wav).bfloat16(), 30)
    torch.testing.assert_close(y, wav, atol=0.05, rtol=0)


def test_errors():
    for n_fft, hop in [(1000, 264), (264, 264), (0, 0)]:
        with pytest.raises(ValueError, match="multiple"):
            STFT(n_fft, hop)
    with pytest.raises(ValueError, match="need 7 frames"):
        STFT(12, 3).synthesis(torch.zeros(1, 14, 6), 10)


@pytest.mark.parametrize("exponent", [0.3, 0.5, 1.0, 2.0])
def test_compress_is_a_power_law_with_exact_inverse(exponent):
    levels = 10 ** torch.linspace(-9, 3, 60, dtype=torch.float64)
    z = complex_randn(2, 4, 60) * levels
    y = power_compress(z, exponent)
    above = z.abs() >= 1e-4
    torch.testing.assert_close(y[above], torch.polar(z.abs() ** exponent, z.angle())[above])
    assert (y / z).angle().abs().max() < 1e-12
    torch.testing.assert_close(power_expand(y, exponent), z, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        power_compress(power_expand(z, exponent), exponent), z, rtol=1e-9, atol=0
    )
    x = to_planar(z).float()
    torch.testing.assert_close(power_compress(x, exponent), to_planar(y).float())
    torch.testing.assert_close(
        power_expand(power_compress(x, exponent), exponent), x, rtol=2e-5, atol=1e-30
    )


@pytest.mark.parametrize("function", [power_compress, power_expand])
@pytest.mark.parametrize("exponent", [0.3, 0.5])
def test_compress_gradient(function, exponent):
    z = complex_randn(1, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: function(v, exponent), (z,))
    x = torch.zeros(1, 4, 3, requires_grad=True)
    y = function(x, exponent)
    y.sum().backward()
    assert x.grad is not None
    assert y.eq(0).all() and x.grad.isfinite().all() and x.grad.ne(0).all()


def test_compress_is_continuous_at_the_floor():
    z = torch.tensor([[[1 - 1e-9, 1 + 1e-9]]], dtype=torch.complex128) * 1e-4
    y = power_compress(z, 0.3)
    torch.testing.assert_close(y[..., 0], y[..., 1])


def test_compress_rejects_bad_exponent():
    with pytest.raises(ValueError, match="exponent=0"):
        power_compress(torch.zeros(1, 2, 1), 0)
