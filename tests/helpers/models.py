"""Models and signals for the tests of the network."""

import torch

from eulerodec import EuleroDec, ModelConfig

HOP = 264
TINY = ModelConfig.tiny()


def build(config=TINY, seed=0, live=True):
    """A model in eval mode; ``live`` gives small values to what starts at zero."""
    torch.manual_seed(seed)
    model = EuleroDec(config)
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


def latents(model, wav):
    with torch.no_grad():
        return model.encoder(model.stft.analysis(wav[:, 0]))
