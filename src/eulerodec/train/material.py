"""What codes are fitted to: packets of latents and band energies, drawn from training audio.

Speech alone has no vector for a steady high tone, so a tenth of the material is made: tones,
harmonic tones, sweeps, vibrato, bands of noise and pulse trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import TrainingError
from ..model import Bands, ModelConfig
from ..model.transform import lapped_transform
from ..nn import STFT, power_compress
from .cache import Cache, Item

__all__ = ["PACKET", "Analysis", "Material", "synthetic", "synthetic_cache"]

PACKET = 92  # frames that are coded together
Floats = NDArray[np.float32]
Start = tuple[int, int]  # which recording, and a packet's first frame in it
_CHUNK = 32  # packets that are analysed at once
_PART_SECONDS = 300.0  # of synthetic sounds that are made in one go
_MOST_SYNTHETIC = 3600.0


class Analysis:
    """Audio to what the codec codes of it, by the fixed parts of a network alone.

    Args:
        config: of the network.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.bands = Bands(config.sample_rate, config.hop_length)
        self._stft = STFT(config.n_fft, config.hop_length)
        self._matrix = lapped_transform(self._stft)[0].float()

    @torch.no_grad()
    def __call__(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """Audio ``[B, N]`` -> latents ``[B, 2P, T]`` and log10 energies ``[B, bands, T]``."""
        spec = self._stft.analysis(wav)
        z = power_compress(torch.matmul(self._matrix, spec), self.config.latent_exponent)
        return z, self.bands.energies(spec)


class Material:
    """Packets of :data:`PACKET` frames, drawn evenly over audio; frames are made when asked for.

    Args:
        caches: decoded audio at the rate of the analysis.
        analysis: makes the frames.

    Raises:
        TrainingError: no recording is as long as a packet.
    """

    def __init__(self, caches: Sequence[Cache], analysis: Analysis) -> None:
        self._analysis, self._hop = analysis, analysis.config.hop_length
        self._parts = [cache.audio[i.offset : i.offset + i.n] for cache in caches
                       for i in cache.items]  # fmt: skip
        rooms = [max(0, -(-len(part) // self._hop) - PACKET + 1) for part in self._parts]
        self._rooms = np.array(rooms)
        if not self._rooms.any():
            seconds = PACKET * self._hop / analysis.config.sample_rate
            raise TrainingError(f"codes are fitted to recordings of {seconds:.2f} s and longer")

    def draw(self, n: int, seed: int) -> list[Start]:
        """``n`` packets; the same for the same seed."""
        rng = np.random.default_rng(seed)
        picks = rng.choice(len(self._parts), n, p=self._rooms / self._rooms.sum())
        return [(int(k), int(rng.integers(self._rooms[k]))) for k in picks]

    def read(self, starts: Sequence[Start]) -> Iterator[tuple[Floats, Floats]]:
        """Latents ``[PACKET, 2P]`` and log10 energies ``[PACKET, bands]`` of each packet."""
        for k in range(0, len(starts), _CHUNK):
            wav = np.stack([self._around(start) for start in starts[k : k + _CHUNK]])
            z, bands = self._analysis(torch.from_numpy(wav))
            # the first and the last frame see only a part of what is around them
            for frames in zip(z[..., 1:-1], bands[..., 1:-1], strict=True):
                latents, energies = (x.t().contiguous().numpy() for x in frames)
                yield latents, energies

    def _around(self, start: Start) -> Floats:
        """Samples that a packet's frames see; frame t is centred on sample t * hop."""
        part, hop = self._parts[start[0]], self._hop
        first, n = (start[1] - 1) * hop, (PACKET + 1) * hop
        low, high = max(first, 0), min(first + n, len(part))
        wav = np.zeros(n, np.float32)
        wav[low - first : high - first] = part[low:high]
        return wav / np.float32(32768)


def synthetic_cache(caches: Sequence[Cache], seed: int = 0) -> Cache:
    """Synthetic sounds, a ninth as long as the audio of ``caches`` and an hour at most."""
    rate = caches[0].sample_rate
    total = sum(item.n for cache in caches for item in cache.items) / rate
    left, parts, items, offset = min(total / 9, _MOST_SYNTHETIC), [], [], 0
    while left > 0:
        made = synthetic(min(left, _PART_SECONDS), rate, seed + len(parts))
        name = f"synthetic-{len(parts):02d}"
        items.append(Item(path=name, offset=offset, n=len(made), source="synthetic"))
        parts.append(np.rint(made * 32767).astype(np.int16))
        left, offset = left - _PART_SECONDS, offset + len(made)
    return Cache(np.concatenate(parts), rate, items)


def synthetic(seconds: float, sample_rate: int, seed: int) -> Floats:
    """Sounds of 0.4 to 2.5 s, one after the other, each of one to three voices, ``[N]``."""
    rng = np.random.default_rng(seed)
    out = np.zeros(int(seconds * sample_rate), np.float32)
    at = 0
    while at < len(out):
        n = min(int(rng.uniform(0.4, 2.5) * sample_rate), len(out) - at)
        x = np.zeros(n)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            y = _voice(rng, n, sample_rate)
            y /= np.sqrt(np.square(y).mean()) + 1e-9
            if rng.random() < 0.3:  # struck
                y *= np.exp(-np.arange(n) / sample_rate * rng.uniform(1, 15))
            x += y * 10 ** (rng.uniform(-25, 0) / 20)
        x *= 10 ** (rng.uniform(-46, -12) / 20) / (np.sqrt(np.square(x).mean()) + 1e-9)
        if rng.random() < 0.4:
            x += rng.standard_normal(n) * 10 ** (rng.uniform(-90, -50) / 20)
        out[at : at + n] = x
        at += n
    return np.clip(out, -1, 1)


def _voice(rng: np.random.Generator, n: int, sample_rate: int) -> NDArray[np.float64]:
    top = 0.46 * sample_rate
    time = np.arange(n) / sample_rate
    hertz = float(np.exp(rng.uniform(np.log(80), np.log(top))))
    kind = rng.choice(
        ["tone", "harmonic", "sweep", "noise", "pulses", "vibrato"],
        p=[0.3, 0.15, 0.15, 0.2, 0.08, 0.12],
    )
    if kind == "tone":
        return np.sin(2 * np.pi * hertz * time + rng.uniform(0, 2 * np.pi))
    if kind == "harmonic":
        hertz, fall = min(hertz, 1500.0), rng.uniform(0.3, 1.5)
        y = np.zeros(n)
        for k in range(1, int(top // hertz) + 1):
            phase = rng.uniform(0, 2 * np.pi)
            y += rng.uniform(0.2, 1) * k**-fall * np.sin(2 * np.pi * hertz * k * time + phase)
        return y
    if kind == "noise":
        width = 2 ** (rng.choice([1 / 6, 1 / 3, 1, 2]) / 2)
        spectrum = np.fft.rfft(rng.standard_normal(n))
        bins = np.fft.rfftfreq(n, 1 / sample_rate)
        return np.fft.irfft(spectrum * ((bins > hertz / width) & (bins < hertz * width)), n)
    if kind == "pulses":
        y = np.zeros(n)
        y[:: max(1, int(sample_rate / rng.uniform(20, 300)))] = 1
        return y
    if kind == "sweep":
        end = float(np.exp(rng.uniform(np.log(80), np.log(top))))
        course = hertz * np.exp(np.log(end / hertz) * time / max(time[-1], 1e-3))
    else:
        depth = rng.uniform(0.1, 1) / 12
        course = hertz * 2 ** (depth * np.sin(2 * np.pi * rng.uniform(3, 8) * time))
    return np.sin(2 * np.pi * np.cumsum(course) / sample_rate)
