"""Transforms by matrices, against torch's."""

import pytest
import torch

from eulerodec.export.fourier import MatrixCorrelation, MatrixSTFT
from eulerodec.nn import STFT, Correlation


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("n_fft", "hop"), [(528, 264), (792, 264), (12, 4)])
def test_stft(n_fft, hop):
    fast, slow = MatrixSTFT(n_fft, hop), STFT(n_fft, hop)
    wav = noise(2, 20 * hop + 3)
    spec = slow.analysis(wav)
    torch.testing.assert_close(fast.analysis(wav), spec, atol=2e-6 * float(spec.max()), rtol=0)
    spec = noise(2, n_fft + 2, 7)  # with imaginary parts where a real signal has none
    torch.testing.assert_close(fast.overlap_add(spec), slow.overlap_add(spec), atol=2e-6, rtol=0)


@pytest.mark.parametrize("n", [1584, 1056, 24, 2 * 7, 2 * 289])
def test_correlation_is_the_sum_it_stands_for(n):
    a, b = noise(3, n), noise(3, n // 2)
    expected = sum(b[:, p, None].double() * a.roll(-p, 1) for p in range(n // 2))
    for kind in (Correlation, MatrixCorrelation):
        made = kind(n)
        found = made.correlate(made.spectrum(a), made.spectrum(b))
        torch.testing.assert_close(found.double(), expected, atol=2e-6 * n, rtol=0)
