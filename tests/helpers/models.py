"""Models and signals for the tests of the network."""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from eulerodec import EuleroDec, ModelConfig
from eulerodec.bitstream.code_tables import TOTAL
from eulerodec.codec.weights import DEFAULT_WEIGHTS, load_codes
from eulerodec.quantize import CodeBook

HOP = 264
TINY = ModelConfig.tiny()


@lru_cache
def few_codes(size=256, n_latents=14, seed=0):
    """Of the bundled codes ``size`` in each stage, so that the search takes no time."""
    book = load_codes(DEFAULT_WEIGHTS)
    tables = book.tables
    kept = np.sort(np.random.default_rng(seed).permutation(1 << tables.codebook_bits)[:size])
    few = replace(
        tables,
        energy_books=tables.energy_books[:, kept],
        energy_class=tables.energy_class[kept],
        energy_counts=_shares(tables.energy_counts[..., kept]),
        latent_plane=tables.latent_plane[:n_latents],
        latent_counts=_shares(tables.latent_counts[:n_latents, :, kept]),
    )
    return CodeBook(few, book.codebooks[:n_latents, kept].contiguous(), book.energy_weight)


def _shares(counts):
    """Frequencies less one of fewer codes."""
    room = TOTAL - counts.shape[-1]
    counts = counts.astype(np.int64) + 1
    counts = counts * room // counts.sum(-1, keepdims=True)
    counts[..., 0] += room - counts.sum(-1)
    return counts.astype(np.uint16)


def build(config=TINY, seed=0, live=True, book=None):
    """A model in eval mode; ``live`` gives small values to what starts at zero."""
    torch.manual_seed(seed)
    model = EuleroDec(config, few_codes() if book is None else book)
    if live:
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.02)
    return model.eval()


def noise(n, batch=1, seed=0, level=0.1):
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(batch, 1, n, generator=generator)


def low_pass(n, hertz, seed=0):
    spectrum = torch.fft.rfft(noise(n, seed=seed))
    spectrum[..., int(hertz / 24000 * n) :] = 0
    return torch.fft.irfft(spectrum, n=n)


def snr_db(x, y):
    return float(10 * torch.log10(x.square().sum() / (x - y).square().sum()))


def agree(codes, others):
    """Equal codes, but for a few: where two are equally near, rounding decides.

    For what is computed in other shapes (blocks, batches) or with other numbers of threads.
    """
    return codes.shape == others.shape and bool((codes != others).sum() <= 0.05 * codes.numel())


def analysis(model, wav):
    with torch.no_grad():
        return model.analysis(wav)


def heard(model, coded, n):
    """Audio ``[B, 1, n]`` of coded frames, all at once."""
    with torch.no_grad():
        return model.stft.synthesis(model.decoder(coded), n)[:, None]


def unquantised(model, wav):
    """The upper bound: latents and energies as they are."""
    return model(wav).audio


def without_offset(wav, frames):
    """Audio ``[..., n]`` less the slow mean that encoders take off, packets of so many frames."""
    out, slow, size = wav.double(), None, frames * HOP
    for start in range(0, wav.shape[-1], size):
        part = out[..., start : start + size]
        n, mean = part.shape[-1], part.mean(-1, keepdim=True)
        before = mean if slow is None else slow
        slow = before + (1 - math.exp(-n / 48_000)) * (mean - before)  # 2 s
        ramp = torch.linspace(0, 1, n, dtype=torch.float64)
        out[..., start : start + size] = part - before - (slow - before) * ramp
    return out.to(wav.dtype)
