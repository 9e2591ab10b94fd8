"""What the fit sees: compressed lapped coefficients and band energies of all training audio.

Speech alone has no vector for a steady high tone, so a tenth of the material is made: tones,
harmonic tones, sweeps, vibrato, bands of noise and pulse trains.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eulerodec.model import EuleroDec
from eulerodec.nn import power_compress
from eulerodec.train.cache import open_cache

__all__ = ["PACKET", "Frames", "Part", "open_frames", "prepare", "synthetic"]

PACKET = 92  # frames that are coded together
_CHUNK = 100 * PACKET  # frames that are analysed at once
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """One recording: its name, speaker, kind, and where its frames and samples lie."""

    name: str
    speaker: str
    kind: str
    first: int
    n_frames: int
    offset: int  # samples, in audio.s16


@dataclass(frozen=True)
class Frames:
    """Frames of all parts, one after the other.

    Attributes:
        pairs: compressed lapped coefficients, planar float16 ``[n, 2P]``.
        bands: log10 energies float16 ``[n, N]``.
        audio: int16 samples; frame t of a part is centred on sample t * hop_length of it.
        parts: what lies where.
    """

    pairs: NDArray[np.float16]
    bands: NDArray[np.float16]
    audio: NDArray[np.int16]
    parts: list[Part]

    def packets(
        self, n: int, seed: int, held_out: Sequence[str], wanted: bool = False
    ) -> list[tuple[int, int]]:
        """First frame, and its sample, of ``n`` packets drawn evenly over the audio.

        Args:
            n: packets.
            seed: of the draw.
            held_out: patterns of names and speakers.
            wanted: only what is held out, or only the rest.
        """
        rng = np.random.default_rng(seed)
        parts = [p for p in self.parts if held_out_by(p, held_out) == wanted]
        room = np.array([max(p.n_frames - PACKET, 0) for p in parts], float)
        picks = rng.choice(len(parts), n, p=room / room.sum())
        hop = self._hop
        out = []
        for k in picks:
            at = int(rng.integers(parts[k].n_frames - PACKET))
            out.append((parts[k].first + at, parts[k].offset + at * hop))
        return out

    @property
    def _hop(self) -> int:
        return self.pairs.shape[1]  # critically sampled: as many coefficients as samples

    def rows(self, starts: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
        """Frames ``[n, PACKET]`` of packets."""
        return np.array([first for first, _ in starts])[:, None] + np.arange(PACKET)

    def samples(self, start: tuple[int, int]) -> Floats:
        """Audio that the frames of a packet make by themselves, [(PACKET - 1) * hop]."""
        n = (PACKET - 1) * self._hop
        return self.audio[start[1] : start[1] + n].astype(np.float32) / np.float32(32768)


def held_out_by(part: Part, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(x, p) for p in patterns for x in (part.name, part.speaker))


def prepare(model: EuleroDec, cache: Path, out: Path, synthetic_minutes: float = 60.0) -> None:
    """Analyses a packed cache, and synthetic sounds, into a folder for :func:`open_frames`."""
    packed = open_cache(cache, model.sample_rate)
    out.mkdir(parents=True, exist_ok=True)
    parts: list[Part] = []
    first = offset = 0
    with (
        open(out / "pairs.f16", "wb") as pairs,
        open(out / "bands.f16", "wb") as bands,
        open(out / "audio.s16", "wb") as audio,
    ):
        for name, speaker, kind, samples in _sources(packed, model.sample_rate, synthetic_minutes):
            n_frames = 0
            for p, b in _analysed(model, samples):
                pairs.write(p.tobytes())
                bands.write(b.tobytes())
                n_frames += len(p)
            audio.write(samples.astype("<i2").tobytes())
            parts.append(Part(name, speaker, kind, first, n_frames, offset))
            first, offset = first + n_frames, offset + len(samples)
    width = {"pairs": model.hop_length, "bands": _n_bands(model)}
    index = {"width": width, "parts": [asdict(p) for p in parts]}
    (out / "frames.json").write_text(json.dumps(index))


def _n_bands(model: EuleroDec) -> int:
    assert model.energies is not None
    return model.energies.n_bands


def _sources(
    packed, sample_rate: int, minutes: float
) -> Iterator[tuple[str, str, str, NDArray[np.int16]]]:
    for item in packed.items:
        kind = item.source or "audio"
        yield (
            Path(item.path).stem, item.speaker, kind,
            packed.audio[item.offset : item.offset + item.n],
        )  # fmt: skip
    for k in range(round(minutes / 5)):
        made = synthetic(300.0, sample_rate, k)
        yield f"synthetic-{k:02d}", "", "synthetic", np.rint(made * 32767).astype(np.int16)


@torch.no_grad()
def _analysed(
    model: EuleroDec, samples: NDArray[np.int16]
) -> Iterator[tuple[NDArray[np.float16], NDArray[np.float16]]]:
    step = _CHUNK * model.hop_length
    for k in range(0, len(samples), step):
        wav = torch.from_numpy(samples[k : k + step].astype(np.float32) / 32768)
        spec = model.stft.analysis(wav[None])[..., :-1]
        pairs = power_compress(model.encoder.transform(spec.float()), model.config.latent_exponent)
        bands = model.band_energies(spec)
        assert bands is not None
        yield pairs[0].t().half().numpy(), bands[0].t().half().numpy()


def open_frames(folder: Path) -> Frames:
    """What :func:`prepare` wrote, memory-mapped."""
    index = json.loads((folder / "frames.json").read_text())
    parts = [Part(**p) for p in index["parts"]]

    def mapped(name: str) -> NDArray[np.float16]:
        flat = np.memmap(folder / f"{name}.f16", dtype=np.float16, mode="r")
        return flat.reshape(-1, index["width"][name])

    audio = np.memmap(folder / "audio.s16", dtype="<i2", mode="r")
    return Frames(mapped("pairs"), mapped("bands"), audio, parts)


def synthetic(seconds: float, sample_rate: int, seed: int) -> Floats:
    """Sounds of 0.4 to 2.5 s, one after the other, each of one to three voices."""
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
