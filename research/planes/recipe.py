"""From prepared frames to tables, codebooks and a decoder that knows them.

The order is fixed: energies first, which latents are normalised by; then the codebooks of latents;
classes of frames and frequencies on codes as the encoder chooses them; the decoder last.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from eulerodec.bitstream.code_tables import CodeTables
from eulerodec.bitstream.payload import PacketCodes, PayloadCoder
from eulerodec.files import write_bytes
from eulerodec.model import EuleroDec
from eulerodec.train.losses import ReconstructionLoss
from eulerodec.train.recipe import LossConfig

from .decoder import PlanesDecoder
from .energies import BlockEnergies
from .fit import PlaneRule, count_codes, first_tables, fit_classes, fit_energies, kmeans, nearest
from .material import PACKET, Frames
from .packet_coder import PacketCoder

__all__ = ["HELD_OUT", "FitSizes", "fit", "train_decoder"]

# speakers of the training set that nothing is fitted to
HELD_OUT = ("librispeech_train_clean-10*", "fdm_Margot", "flemishguy", "speechocean762-16*")
_LOUDEST = 4.0  # of a latent against what its energies say
Floats = NDArray[np.float32]
Say = Callable[[str], None]


@dataclass(frozen=True)
class FitSizes:
    """How much the fit sees. Hundreds of vectors for each code, or the codes carry noise."""

    energy_packets: int = 14_000
    latent_packets: int = 9_000
    count_packets: int = 2_200
    codebook_size: int = 2048
    energy_stages: int = 8  # after the two of the base
    count_bytes: int = 1800  # a packet at 14 kbps


def fit(
    model: EuleroDec, frames: Frames, rule: PlaneRule, sizes: FitSizes, out: Path, say: Say = print
) -> None:
    """Writes ``tables.safetensors`` and ``codebooks.safetensors`` (float16 ``[K, S, 2P]``)."""
    assert model.energies is not None
    weight = model.energies.weight.numpy()
    width = model.bands.spread.sum(0).numpy()
    start = frames.packets(sizes.energy_packets, 11, HELD_OUT)
    blocks = _relative(frames, start, width)
    size = blocks.shape[2] // len(weight)
    energies = fit_energies(
        blocks, np.tile(weight, size), sizes.codebook_size, n_more=sizes.energy_stages
    )
    say("energies fitted")
    tables = first_tables(energies, width, rule)
    books = _latent_books(frames, tables, weight, rule, sizes, say)
    coder = PacketCoder(tables, books, weight)
    start = frames.packets(sizes.count_packets, 33, HELD_OUT)
    base = _Base(frames, tables, weight)
    based = [base(one)[0] for one in start]
    coder = PacketCoder(fit_classes(tables, based), books, weight)
    codes = [coder.codes(*_packet(frames, one), sizes.count_bytes, beam=2) for one in start]
    tables = count_codes(coder.tables, codes)
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / "tables.safetensors", tables.to_bytes())
    save_file({"codebooks": books.half()}, out / "codebooks.safetensors")
    say(f"written to {out}")


def _packet(frames: Frames, start: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Latents ``[1, D, T]`` and energies ``[1, N, T]`` of a packet."""
    rows = slice(start[0], start[0] + PACKET)
    pair = (torch.from_numpy(x[rows].astype(np.float32)).t() for x in (frames.pairs, frames.bands))
    z, bands = pair
    return z[None], bands[None]


class _Base:
    """Packets with their base codes, and the gains of their frames ``[T]``."""

    def __init__(self, frames: Frames, tables: CodeTables, weight: Floats) -> None:
        self.coder, self._energies = PayloadCoder(tables), BlockEnergies(tables, weight)
        self._frames = frames

    def __call__(self, start: tuple[int, int]) -> tuple[PacketCodes, Floats]:
        codes = PacketCodes.empty(self.coder.tables, 1, PACKET)
        bands = self._frames.bands[start[0] : start[0] + PACKET].astype(np.float32)
        self._energies.search(bands[None], codes)
        return codes, self._energies.gain(codes, self.coder.layout(codes))[0]


def _relative(frames: Frames, starts: Sequence[tuple[int, int]], width: Floats) -> Floats:
    """Energies of packets in dB against their loudest frame, ``[n, blocks, V]``."""
    bands = 10.0 * frames.bands[frames.rows(starts).ravel()].astype(np.float32)
    bands = bands.reshape(len(starts), PACKET, -1)
    share = width / width.sum()
    loudness = 10 / 0.75 * np.log10((10 ** (0.075 * bands)) @ share + 1e-9)
    level = np.round(np.maximum(loudness.max(1), -75.0) / 0.75) * 0.75
    x = bands - level[:, None, None]
    soft = 10 * np.log10(10 ** (np.minimum(x, 0) / 10) + 1e-7)  # the floor of BlockEnergies
    blocks = (np.maximum(x, 0) + soft).astype(np.float32)
    return blocks.reshape(len(starts), PACKET // 4, -1)


def _latent_books(
    frames: Frames,
    tables: CodeTables,
    weight: Floats,
    rule: PlaneRule,
    sizes: FitSizes,
    say: Say,
) -> Tensor:
    """Codebooks by k-means, stage after stage, on latents of unit power.

    A frame weighs by the root of its power, as it does in the order of planes; a stage sees the
    frames that get so far at 16 kbps.
    """
    starts = frames.packets(sizes.latent_packets, 21, HELD_OUT)
    z = frames.pairs[frames.rows(starts).ravel()].astype(np.float32)
    base, loudness = _Base(frames, tables, weight), []
    for k, start in enumerate(starts):
        codes, gain = base(start)
        z[k * PACKET : (k + 1) * PACKET] /= np.maximum(gain, 1e-12)[:, None]
        loudness.append(base.coder.layout(codes).loudness[0])
    decibel = np.maximum(np.concatenate(loudness), -960) / 16
    power = np.square(z).sum(1)
    unit = np.sqrt(np.median(power[(decibel > -50) & (power > 0)]))
    z *= np.minimum(1.0, _LOUDEST * unit / np.sqrt(np.maximum(power, 1e-12)))[:, None]
    importance = (10 ** (0.0375 * decibel)).astype(np.float32)
    wait = np.clip(-decibel * 0.4, 0, 14)
    books = []
    for k in range(rule.n_latents):
        seen = wait <= max(2, 22 - k) if k > 4 else np.ones(len(z), bool)
        books.append(kmeans(z[seen], sizes.codebook_size, importance[seen]))
        z -= books[-1][nearest(z, books[-1])]
        say(f"latents: stage {k + 1}")
    return torch.from_numpy(np.stack(books))


@dataclass
class _Batch:
    audio: Tensor
    z: Tensor
    bands: Tensor
    stages: Tensor
    energies: Tensor


def train_decoder(
    model: EuleroDec,
    frames: Frames,
    coder: PacketCoder,
    *,
    minutes: float,
    out: Path,
    n_packets: int = 4200,
    batch_size: int = 12,
    lr: float = 5e-4,
    seed: int = 1,
    say: Say = print,
) -> PlanesDecoder:
    """Trains the decoder on payloads of random rates, against codes that do not move.

    Args:
        model: whose decoder is trained on; a copy is.
        frames: prepared audio.
        coder: tables and codebooks.
        minutes: of training; the rate falls to nothing at their end.
        out: file for the averaged weights, float16.
        n_packets: that are coded once, at 16 kbps, and cut at random.
        batch_size: packets of a step.
        lr: of AdamW at the start.
        seed: of what is drawn.
        say: told the loss every 50 steps.
    """
    net = PlanesDecoder(copy.deepcopy(model), coder.tables.n_latents, coder.tables.n_energies)
    trained = [
        (name, p) for name, p in net.named_parameters()
        if not name.startswith(("decoder.transform", "decoder.expand", "select"))
    ]  # fmt: skip
    groups = [
        {"params": [p for name, p in trained if "pitch" not in name], "factor": 1.0},
        {"params": [p for name, p in trained if "pitch" in name], "factor": 4.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr, betas=(0.9, 0.99), weight_decay=0.0)
    weights = LossConfig(wave=1.0, complex=1.0, magnitude=1.5, band=2.0, noise=1.5)
    loss = ReconstructionLoss(weights, model.sample_rate)
    average = copy.deepcopy(net)
    rng = np.random.default_rng(seed)
    starts = frames.packets(n_packets, 77, HELD_OUT)
    most = 16_000 * PACKET * model.hop_length // model.sample_rate // 8
    payloads = [coder.encode(*_packet(frames, start), most, beam=2) for start in starts]
    begun, step, sums = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - begun) / (60 * minutes)) < 1 or step == 0:
        rate = lr * min(1.0, (step + 1) / 100) * 0.5 * (1 + np.cos(np.pi * min(share, 1.0)))
        for group in optimizer.param_groups:
            group["lr"] = 1e-6 + group["factor"] * rate
        batch = _draw(frames, coder, starts, payloads, batch_size, rng)
        spec = net(batch.z, batch.bands, batch.stages, batch.energies)
        audio = net.stft.synthesis(spec, batch.audio.shape[-1])[:, None]
        total, _ = loss(audio, batch.audio[:, None])
        optimizer.zero_grad()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        if torch.isfinite(total) and torch.isfinite(norm):
            optimizer.step()
        with torch.no_grad():
            keep = min(0.998, (step + 1) / (step + 10))
            for a, b in zip(average.parameters(), net.parameters(), strict=True):
                a.lerp_(b, 1 - keep)
        step, sums = step + 1, sums + float(total.detach())
        if step % 50 == 0:
            say(f"step {step}, {time.monotonic() - begun:.0f} s, loss {sums / 50:.3f}")
            sums = 0.0
    state = {k: v.half().contiguous() for k, v in average.state_dict().items()}
    save_file(state, out, {"steps": str(step)})
    return average


def _draw(
    frames: Frames,
    coder: PacketCoder,
    starts: Sequence[tuple[int, int]],
    payloads: Sequence[bytes],
    batch_size: int,
    rng: np.random.Generator,
) -> _Batch:
    """Packets cut to random rates, most of them near 6 and 12 kbps."""
    picks = rng.integers(0, len(starts), batch_size)
    kbps = rng.choice([1.5, 3, 6, 6, 8, 12, 12, 15], batch_size) * rng.uniform(
        0.85, 1.15, batch_size
    )
    found = []
    for k, rate in zip(picks, kbps, strict=True):
        found.append(coder.decode(payloads[k][: int(len(payloads[k]) * rate / 16)], 1, PACKET))
    audio = torch.from_numpy(np.stack([frames.samples(starts[k]) for k in picks]))
    return _Batch(
        audio,
        torch.cat([x.z for x in found]),
        torch.cat([x.bands for x in found]),
        torch.cat([x.n_stages for x in found]),
        torch.cat([x.n_energies for x in found]),
    )
