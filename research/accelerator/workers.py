"""What processors do while the accelerator waits for its data: audio, crops, energies, layouts.

Everything goes through arrays on disk (a RAM disk, where there is one), so that workers share it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eulerodec.bitstream.payload import Layout, PacketCodes, PayloadCoder
from eulerodec.quantize import CodeBook
from eulerodec.quantize.allocation import Allocation
from eulerodec.quantize.energies import BlockEnergies, latent_gain
from eulerodec.train.cache import Cache, Item, _decode, open_cache, scan
from eulerodec.train.data import Crops, split
from eulerodec.train.material import PACKET, synthetic
from eulerodec.train.recipe import Recipe, load_recipe

RATES = (1.0, 1.5, 2.0, 3.0, 4.5, 6.0, 8.0, 10.0, 12.0, 15.0)  # kbps of the depths that are kept
CHUNK = 64  # crops of a task

#: name: (shape of a crop's part, type)
Fields = dict[str, tuple[tuple[int, ...], Any]]


def fields(book: CodeBook, n_samples: int) -> Fields:
    """What is kept of each crop."""
    tables = book.tables
    blocks = -(-PACKET // tables.block_frames)
    return {
        "audio": ((n_samples,), np.int16),
        "bands": ((PACKET, tables.n_bands), np.float32),
        "level": ((), np.int16),
        "energies": ((blocks, tables.n_energies), np.int16),
        "base": ((PACKET, tables.n_bands), np.int16),
        "gain": ((PACKET,), np.float32),
        "loudness": ((PACKET,), np.int16),
        "classes": ((PACKET,), np.uint8),
        "latent_depth": ((len(RATES), PACKET), np.int8),
        "energy_depth": ((len(RATES), blocks), np.int8),
    }


class Store:
    """Arrays ``[N, ...]`` of N crops in a folder."""

    def __init__(self, folder: Path, wanted: Fields | None = None, n: int = 0) -> None:
        self.folder = folder
        described = folder / "fields.json"
        if wanted is not None:
            folder.mkdir(parents=True, exist_ok=True)
            shapes = {k: ([n, *shape], np.dtype(t).str) for k, (shape, t) in wanted.items()}
            described.write_text(json.dumps(shapes))
            for name, (shape, kind) in shapes.items():
                np.memmap(folder / name, kind, "w+", shape=tuple(shape))
        self._shapes = json.loads(described.read_text())

    def __getitem__(self, name: str) -> np.ndarray:
        shape, kind = self._shapes[name]
        return np.memmap(self.folder / name, kind, "r+", shape=tuple(shape))

    def __len__(self) -> int:
        return self._shapes["audio"][0][0]

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.asarray(self[name]))


def in_pool(
    job: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], jobs: int, *setup: Any
) -> Iterator[Any]:
    """``job(*task)`` for all tasks by ``jobs`` processes, in order."""
    with ProcessPoolExecutor(jobs, initializer=_start, initargs=setup) as pool:
        yield from pool.map(_call, ((job, task) for task in tasks))


_own: dict[str, Any] = {}  # of a worker


def _start(*setup: Any) -> None:
    torch.set_num_threads(1)
    _own["setup"] = setup


def _call(job_and_task: tuple[Callable[..., Any], tuple[Any, ...]]) -> Any:
    job, task = job_and_task
    return job(*task)


# ---- audio ------------------------------------------------------------------------------------


def decode_file(path: str) -> np.ndarray:
    return _decode(Path(path), 24_000)


def decode(manifest: Path, out: Path, jobs: int) -> None:
    """The files of a manifest to a cache, as :func:`eulerodec.train.cache.pack` has it."""
    rows = list(scan(manifest))
    out.mkdir(parents=True, exist_ok=True)
    offset, lines = 0, [{"format": 1, "sample_rate": 24_000}]
    with open(out / "audio.s16", "wb") as audio:
        for row, wave in zip(
            rows, in_pool(decode_file, [(r["path"],) for r in rows], jobs), strict=True
        ):
            audio.write(wave.tobytes())
            item = Item(path=row["path"], offset=offset, n=len(wave), source=row.get("source", ""),
                        speaker=row.get("speaker", ""), licence=row.get("licence", ""))  # fmt: skip
            lines.append(asdict(item))
            offset += len(wave)
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (out / "index.jsonl").write_text(text + "\n", encoding="utf-8")


def made(seed: int) -> np.ndarray:
    return np.rint(synthetic(60.0, 24_000, seed) * 32767).astype(np.int16)


def make_synthetic(out: Path, minutes: int, jobs: int) -> None:
    """A cache of synthetic sounds."""
    out.mkdir(parents=True, exist_ok=True)
    parts = list(in_pool(made, [(k,) for k in range(minutes)], jobs))
    lines: list[dict[str, Any]] = [{"format": 1, "sample_rate": 24_000}]
    offset = 0
    for k, part in enumerate(parts):
        lines.append(asdict(Item(path=f"synthetic-{k:03d}", offset=offset, n=len(part),
                                 source="synthetic")))  # fmt: skip
        offset += len(part)
    np.concatenate(parts).tofile(out / "audio.s16")
    text = "\n".join(json.dumps(line) for line in lines)
    (out / "index.jsonl").write_text(text + "\n", encoding="utf-8")


# ---- crops ------------------------------------------------------------------------------------


def crops_of(recipe: Recipe, folders: Sequence[str], held_out: bool) -> Crops:
    caches: list[Cache] = [open_cache(folder) for folder in folders]
    train, val = split(caches, recipe.data)
    if held_out:
        config = replace(recipe.data, alpha=0.0, silence_skip=1.0, seed=1)
        return Crops(val, config, None, recipe.train)
    return Crops(train, recipe.data, recipe.augment, recipe.train)


def write_crops(recipe: str, caches: list[str], store: str, held_out: bool, first: int) -> None:
    """One task: crops ``first`` to ``first + CHUNK``, every second augmented."""
    key = f"crops{held_out}"
    if key not in _own:
        _own[key] = crops_of(load_recipe(recipe), caches, held_out)
    crops, out = _own[key], Store(Path(store))["audio"]
    for n in range(first, min(first + CHUNK, len(out))):
        rng = np.random.default_rng([7, n])
        plain = held_out or n % 2
        wave = crops._draw(crops.n_samples, 0, rng) if plain else crops._crop(rng)
        out[n] = np.clip(np.rint(wave * 32768), -32768, 32767)


# ---- energies and layouts ---------------------------------------------------------------------


def write_layouts(store: str, codes: str, first: int) -> None:
    """One task: levels, energy codes and what follows from them, of CHUNK crops."""
    if "book" not in _own:
        book = CodeBook.from_bytes(Path(codes).read_bytes())
        energies = BlockEnergies(book.tables, book.energy_weight)
        _own["book"] = book, energies, PayloadCoder(book.tables), Allocation(book.tables)
    book, coding, payload, allocation = _own["book"]
    tables, stored = book.tables, Store(Path(store))
    s = {name: stored[name] for name in stored._shapes}
    rows = slice(first, min(first + CHUNK, len(stored)))
    bands = np.asarray(s["bands"][rows])
    codes_ = PacketCodes.empty(tables, len(bands), PACKET)  # as if they were channels
    rest = coding.search(bands, codes_)
    coding.refine(rest, codes_, np.full(rest.shape[:2], tables.n_energies - tables.n_base))
    base = tables.decode_blocks(codes_.energies[:, : tables.n_base])
    base = base.reshape(len(bands), -1, tables.n_bands)[:, :PACKET]
    loudness = tables.loudness(base)
    delays = tables.delays(loudness)
    s["level"][rows] = codes_.levels
    s["energies"][rows] = codes_.energies.transpose(0, 2, 1)
    s["base"][rows] = base
    s["gain"][rows] = latent_gain(loudness, codes_.levels)
    s["loudness"][rows] = np.maximum(loudness, -30_000)
    n_samples = s["audio"].shape[1]
    for c in range(len(bands)):
        one = PacketCodes(*(x[c : c + 1] for x in vars(codes_).values()))
        classes = tables.classes(base[c], loudness[c])
        order = payload._order(one, delays[c : c + 1])
        layout = Layout(base[c : c + 1], loudness[c : c + 1], delays[c : c + 1],
                        classes[None], order)  # fmt: skip
        s["classes"][first + c] = classes
        for k, kbps in enumerate(RATES):
            depths = allocation.depths(
                layout, rest.shape[1], int(125 * kbps * n_samples / 24_000), 1.0
            )
            s["latent_depth"][first + c, k] = depths.latents[0]
            s["energy_depth"][first + c, k] = depths.energies[0]
