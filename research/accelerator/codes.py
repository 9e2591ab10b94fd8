"""Codes for the decoder to be trained for: the fit of :mod:`eulerodec.train.fit` on an accelerator.

The algorithm is the same; vectors by the million are what it is for. A code that sees hundreds of
vectors carries their noise: what a stage gains on other speakers grows until it sees thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from eulerodec.bitstream.code_tables import CodeTables
from eulerodec.bitstream.payload import PacketCodes
from eulerodec.model import Bands
from eulerodec.quantize import CodeBook
from eulerodec.quantize.energies import BlockEnergies
from eulerodec.quantize.search import beam_search, search_tables
from eulerodec.train.fit import _DEAF_FROM, _LOUDEST, BLOCK
from eulerodec.train.material import PACKET
from eulerodec.train.tables import (
    EnergyFit,
    PlaneRule,
    _frequencies,
    first_tables,
    fit_classes,
)

from .workers import RATES, Store

_ROWS = 1 << 18  # vectors whose distances are held at once
Say = Callable[[str], None]


def nearest(x: Tensor, book: Tensor, rows: int = _ROWS) -> Tensor:
    norms, products = book.square().sum(1), (-2.0 * book).t().contiguous()
    return torch.cat([torch.addmm(norms, part, products).argmin(1) for part in x.split(rows)])


def means(x: Tensor, weight: Tensor, index: Tensor, book: Tensor) -> Tensor:
    count = torch.zeros(len(book), device=x.device, dtype=torch.float64)
    count.index_add_(0, index, weight.double())
    total = torch.zeros(book.shape, device=x.device, dtype=torch.float64)
    for part, w, at in zip(*(v.split(4 * _ROWS) for v in (x, weight, index)), strict=True):
        total += torch.zeros_like(book).index_add_(0, at, part * w[:, None])
    new = (total / count.clamp_min(1e-12)[:, None]).float()
    empty = torch.bincount(index, minlength=len(book)) == 0
    # a code that nothing uses moves next to one of the most used
    new[empty] = 1.01 * new[count.argsort(descending=True)[: int(empty.sum())]]
    return new


def kmeans(
    x: Tensor, size: int, weight: Tensor | None = None,
    rounds: Sequence[tuple[int, int]] = ((16, 10), (4, 8), (1, 8)),
) -> Tensor:  # fmt: skip
    """As :func:`eulerodec.train.tables.kmeans`."""
    weight = torch.ones(len(x), device=x.device) if weight is None else weight
    start = torch.linspace(0, len(x) - 1, size, device=x.device).long()
    book = x[start] + 1e-6 * torch.randn(size, x.shape[1], device=x.device)
    for stride, iterations in rounds:
        stride = 1 if len(x) < stride * 24 * size else stride
        part, w = x[::stride].contiguous(), weight[::stride].contiguous()
        for _ in range(iterations):
            book = means(part, w, nearest(part, book), book)
    return book


# ---- energies ---------------------------------------------------------------------------------


def fit_energies(bands: Tensor, width: np.ndarray, weight: np.ndarray, size: int) -> EnergyFit:
    """As :func:`eulerodec.train.tables.fit_energies`, of log10 energies ``[n, T, N]``."""
    device = bands.device
    wide = torch.from_numpy(width / width.sum()).float().to(device)
    x = 10.0 * bands
    loudness = 10 / 0.75 * torch.log10(torch.pow(10.0, 0.075 * x) @ wide + 1e-9)
    level = (loudness.amax(1).clamp_min(-75.0) / 0.75).round() * 0.75
    x = x - level[:, None, None]
    soft = 10 * torch.log10(torch.pow(10.0, x.clamp_max(0) / 10) + 1e-7)
    blocks = (x.clamp_min(0) + soft).view(len(x), PACKET // BLOCK, -1)
    blocks = blocks[(loudness.amax(1) > -79)]
    w = torch.from_numpy(np.tile(weight, BLOCK)).to(device)
    mean = blocks.flatten(0, 1).mean(0)
    before = torch.cat([mean.expand(len(blocks), 1, -1),
                        (blocks + 3.0 * torch.randn_like(blocks))[:, :-1]], 1)  # fmt: skip
    books: list[Tensor] = []
    matrix = torch.zeros(len(mean) + 1, len(mean), device=device)
    decoded = before
    for turn in range(4):
        matrix = _regression(before.flatten(0, 1), blocks.flatten(0, 1))
        rest = ((blocks - _expected(matrix, before)) * w).flatten(0, 1)
        ones = torch.ones(len(rest), device=device)
        for j in range(2):
            if turn == 0:
                books.append(kmeans(rest, size, rounds=((4, 8), (1, 6))))
            else:
                for _ in range(6):
                    books[j] = means(rest, ones, nearest(rest, books[j]), books[j])
            rest = rest - books[j][nearest(rest, books[j])]
        before, decoded = _with_feedback(blocks, mean, matrix, books, w)
    rest = ((blocks - decoded) * w).flatten(0, 1)
    for _ in range(8):
        books.append(kmeans(rest, size, rounds=((4, 8), (1, 12))))
        rest = rest - books[-1][nearest(rest, books[-1])]
    numbers = [part.float().cpu().numpy() for part in (mean, matrix, torch.stack(books) / w)]
    return EnergyFit(*numbers, n_base=2)


def _expected(matrix: Tensor, before: Tensor) -> Tensor:
    return before @ matrix[:-1] + matrix[-1]


def _regression(x: Tensor, y: Tensor) -> Tensor:
    square = torch.zeros(x.shape[1] + 1, x.shape[1] + 1, dtype=torch.float64, device=x.device)
    cross = torch.zeros(x.shape[1] + 1, y.shape[1], dtype=torch.float64, device=x.device)
    for a, b in zip(x.split(_ROWS), y.split(_ROWS), strict=True):
        wide = torch.cat([a, torch.ones_like(a[:, :1])], 1).double()
        square += wide.t() @ wide
        cross += wide.t() @ b.double()
    square.diagonal()[:-1] += 1e-2 * len(x)
    return torch.linalg.solve(square, cross).float()


def _with_feedback(
    blocks: Tensor, mean: Tensor, matrix: Tensor, books: Sequence[Tensor], weight: Tensor
) -> tuple[Tensor, Tensor]:
    before, decoded = torch.empty_like(blocks), torch.empty_like(blocks)
    past = mean.expand(len(blocks), -1)
    for t in range(blocks.shape[1]):
        before[:, t] = past
        rest = (blocks[:, t] - _expected(matrix, past)) * weight
        for book in books:
            rest = rest - book[nearest(rest, book)]
        past = blocks[:, t] - rest / weight
        decoded[:, t] = past
    return before, decoded


def energy_tables(store: Store, bands: Bands, old: CodeBook, say: Say, device: str) -> CodeTables:
    """Tables with energies and classes; frequencies are those of ``old``."""
    weight = torch.where(bands.centres < _DEAF_FROM, 1.0, 0.6).float().numpy()
    width = bands.spread.sum(0).numpy()
    size = old.codebooks.shape[1]
    fit = fit_energies(store.tensor("bands").to(device), width, weight, size)
    say("energies fitted")
    tables = first_tables(fit, width, PlaneRule(n_latents=len(old.codebooks)))
    coding, packets = BlockEnergies(tables, weight), []
    for bands_ in store["bands"][: min(len(store), 3000)]:
        codes = PacketCodes.empty(tables, 1, PACKET)
        coding.search(np.asarray(bands_)[None], codes)
        packets.append(codes)
    tables = fit_classes(tables, packets)
    say("classes fitted")
    # of the depths that the training sees; counted anew at the end
    return replace(
        tables, latent_counts=old.tables.latent_counts, energy_counts=old.tables.energy_counts
    )


# ---- latents ----------------------------------------------------------------------------------


def unit_latents(
    audio: np.ndarray, gain: np.ndarray, analysis: Callable[[Tensor], Tensor], device: str
) -> Tensor:
    """Latents ``[n, T, D]`` of crops int16 ``[n, N]`` divided by what their energies say, ``[n,
    T]``."""
    parts = []
    for k in range(0, len(audio), 512):
        wav = torch.from_numpy(np.asarray(audio[k : k + 512])).to(device)
        level = torch.from_numpy(np.asarray(gain[k : k + 512])).to(device)[..., None]
        z = analysis(wav.float() / 32768.0).transpose(1, 2)
        parts.append(torch.where(level > 0, z / level.clamp_min(1e-12), 0.0))  # silence has none
    return torch.cat(parts)


def latent_books(
    z: Tensor, loudness: Tensor, n_stages: int, size: int, say: Say, deadline: Callable[[], float]
) -> Tensor:
    """As :func:`eulerodec.train.fit._latent_books`; ``z`` is used up.

    Args:
        z: ``[n, D]``.
        loudness: in 1/16 dB, ``[n]``.
        n_stages, size: of the codebooks.
        say: gets a line for each stage.
        deadline: seconds that are left; rounds get fewer when stages would not be done in time.
    """
    decibel = loudness.float().clamp_min(-960) / 16
    power = z.square().sum(1)
    ok = (decibel > -50) & (power > 0)
    unit = power[ok][:: max(1, len(power) // 1_000_000)].median().sqrt()
    z *= (_LOUDEST * unit / power.clamp_min(1e-12).sqrt()).clamp_max(1.0)[:, None]
    importance = torch.pow(10.0, 0.0375 * decibel)
    wait = (-decibel * 0.4).clamp(0, 14)
    books = []
    total = float((z.square().sum(1) * importance).sum())
    left = deadline()
    for k in range(n_stages):
        seen = wait <= max(2, 22 - k) if k > 4 else torch.ones_like(ok)
        before = deadline()
        share = before / (left / n_stages * (n_stages - k))
        last = 12 if share > 0.9 else 6 if share > 0.6 else 1
        part = z if k <= 4 else z[seen]
        book = kmeans(part, size, importance[seen], rounds=((16, 10), (4, 8), (1, last)))
        del part
        books.append(book.half().float())
        for part in z.split(_ROWS):  # in place
            part -= books[-1][nearest(part, books[-1])]
        error = float((z.square().sum(1) * importance).sum())
        say(f"stage {k}: {10 * np.log10(total / error):.3f} dB, {before - deadline():.1f} s")
    return torch.stack(books)


def encode(z: Tensor, books: Tensor, beam: int, rows: int) -> Tensor:
    """Codes int16 ``[n, K]`` of latents ``[n, D]``."""
    tables = search_tables(books)
    return torch.cat([beam_search(part, books, beam, tables).short() for part in z.split(rows)])


def counted(tables: CodeTables, store: Store, codes: Tensor, kbps: float = 15.0) -> CodeTables:
    """Tables with the frequencies of codes ``[n, T, K]`` as deep as packets of a rate go."""
    device, size = codes.device, tables.latent_counts.shape[-1]
    rate = RATES.index(kbps)
    depth = torch.from_numpy(np.asarray(store["latent_depth"][:, rate])).to(device)
    classes = store.tensor("classes").long().to(device)
    alive = (store.tensor("level") > 0).to(device)[:, None]
    latents = torch.zeros(tables.latent_counts.shape, device=device, dtype=torch.float64)
    n_classes = latents.shape[1]
    for k in range(len(latents)):
        seen = (depth > k) & alive
        flat = classes[seen] * size + codes[..., k][seen].long()
        latents[k] = torch.bincount(flat, minlength=n_classes * size).view(n_classes, size)
    e = store.tensor("energies").long()
    d = torch.from_numpy(np.asarray(store["energy_depth"][:, rate])).long()
    e, d = e[store.tensor("level") > 0], d[store.tensor("level") > 0]
    kinds = torch.from_numpy(tables.energy_class.astype(np.int64))
    first = kinds[e[..., 0]]
    before = torch.cat([torch.zeros_like(first[:, :1]), first[:, :-1]], 1)
    energies = torch.zeros(tables.energy_counts.shape, dtype=torch.float64)
    n_contexts = energies.shape[1]
    for q in range(len(energies)):
        seen = d >= q + 1 - tables.n_base
        context = before if q == 0 else first
        flat = context[seen] * size + e[..., q][seen]
        energies[q] = torch.bincount(flat, minlength=n_contexts * size).view(n_contexts, size)
    return replace(
        tables,
        latent_counts=_frequencies(latents.cpu().numpy()),
        energy_counts=_frequencies(energies.numpy()),
    )
