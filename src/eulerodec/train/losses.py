"""The one training loss: waveform, compressed complex spectra, and critical-band energies.

No discriminator.  The waveform and complex terms hold the phase; the band energies hold what a
squared error gives away first (weak bands are cheapest when left out) and the ear misses most.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..nn import erb_rate, triangles
from .recipe import LossConfig

__all__ = ["ReconstructionLoss", "erb_filterbank"]

TERMS = ("wave", "complex", "magnitude", "band", "noise")


def erb_filterbank(sample_rate: int, n_fft: int, step: float = 1.0) -> Tensor:
    """Triangular filters evenly spaced on the ERB-rate scale.

    Args:
        sample_rate: in Hz.
        n_fft: STFT window in samples.
        step: distance of the bands in ERB; the first is at 1 ERB, 26 Hz.

    Returns:
        Weights ``[bands, n_fft // 2 + 1]``. Each row sums to one, and a band narrower than a bin
        takes its nearest bin.
    """
    bins = erb_rate(torch.linspace(0.0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64))
    centres = torch.arange(1.0, float(bins[-1]), step, dtype=torch.float64)
    # one more at each end, so that the outermost fall to zero too
    ends = torch.cat([centres[:1] - step, centres, centres[-1:] + step])
    weight = triangles(ends, bins)[1:-1]
    nearest = (bins - centres[:, None]).abs().argmin(1)
    weight[torch.arange(len(centres)), nearest] += 1e-3
    return (weight / weight.sum(1, keepdim=True)).float()


class ReconstructionLoss(nn.Module):
    """``forward(audio, target) -> (total, parts)``, both ``[B, 1, N]`` at ``sample_rate`` in Hz.

    Terms, each a mean over the batch (items weigh the same whatever their level):

    * wave: log10(|y - x|^2 / |x|^2) per item, with a floor for silence.
    * complex: per window, sum |Yc - Xc| / sum |Xc| of compressed spectra Xc = X |X|^(a-1).
    * magnitude: the same of moduli.
    * band: mean |log10 (E_y + e) - log10 (E_x + e)| over 1-ERB bands and frames.
    * noise: mean log10 (E_(y-x) / (E_x + e) + 0.03) there: every band counts by its own
      signal-to-noise ratio, as the ear masks, up to 15 dB.
    """

    def __init__(self, config: LossConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        for n in {*config.windows, *config.band_windows}:
            self.register_buffer(f"window_{n}", torch.hann_window(n), persistent=False)
        for n in config.band_windows:
            self.register_buffer(f"erb_{n}", erb_filterbank(sample_rate, n), persistent=False)

    def _stft(self, x: Tensor, n: int, hop: int) -> Tensor:
        window = getattr(self, f"window_{n}")
        z = torch.stft(x, n, hop, window=window, return_complex=True, pad_mode="constant")
        return torch.view_as_real(z) * math.sqrt(4.0 / n)

    def forward(self, audio: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        y, x = audio[:, 0].float(), target[:, 0].float()
        config = self.config
        parts: dict[str, Tensor] = {}
        power = x.square().mean(-1) + 1e-7
        parts["wave"] = torch.log10(((y - x).square().mean(-1) + 1e-3 * 1e-7) / power).mean()

        # relative floor, so that the compression's slope at zero is bounded at any level
        floor = (1e-4 * power)[:, None, None]
        complex_terms, magnitude_terms = [], []
        for n in config.windows:
            spec = self._stft(torch.cat([y, x]), n, n // 4)
            energy = spec.square().sum(-1)
            gain = (energy + floor.repeat(2, 1, 1)).pow(0.5 * (config.exponent - 1.0))
            cy, cx = (spec * gain[..., None]).chunk(2)
            my, mx = (energy.clamp_min(1e-20).sqrt() * gain).chunk(2)
            norm = mx.mean((1, 2)) + 1e-6
            distance = ((cy - cx).square().sum(-1) + 1e-10).sqrt()
            complex_terms.append((distance.mean((1, 2)) / norm).mean())
            magnitude_terms.append(((my - mx).abs().mean((1, 2)) / norm).mean())
        parts["complex"] = torch.stack(complex_terms).mean()
        parts["magnitude"] = torch.stack(magnitude_terms).mean()

        band_terms, noise_terms = [], []
        silence = (10.0 ** (config.band_floor_db / 10.0) * power)[:, None, None]
        for n in config.band_windows:
            spec = self._stft(torch.cat([y, x]), n, config.band_hop)
            sy, sx = spec.chunk(2)
            energies = torch.cat([spec.square().sum(-1), (sy - sx).square().sum(-1)])
            ey, ex, noise = torch.matmul(getattr(self, f"erb_{n}"), energies).chunk(3)
            band_terms.append((torch.log10(ey + silence) - torch.log10(ex + silence)).abs().mean())
            noise_terms.append(torch.log10(noise / (ex + silence) + 0.03).mean())
        parts["band"] = torch.stack(band_terms).mean()
        parts["noise"] = torch.stack(noise_terms).mean()

        total = torch.stack([getattr(config, name) * value for name, value in parts.items()]).sum()
        return total, {name: value.detach() for name, value in parts.items()}
