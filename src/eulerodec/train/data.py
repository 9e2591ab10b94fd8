"""Random crops as a pure function of (seed, step, rank), prepared ahead by threads.

Nothing here has state that a checkpoint would have to keep: the batch of step ``s`` is the same
whether the run reached ``s`` in one go or was resumed there, and ranks draw different crops.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .augment import augment
from .cache import (
    Cache,
    Item,
    default_cache_dir,
    is_cache,
    open_cache,
    pack,
    synthesize,
)
from .recipe import AugmentConfig, DataConfig, TrainConfig

__all__ = ["Batch", "Crops", "load_data", "prefetch", "split"]

Wave = NDArray[np.float32]
MAX_DRAWS = 8  # tries for a crop that is not silent
INIT_STEP = 2**40  # "step" numbers of draws that are not training steps
VAL_STEP = 2**41


@dataclass(frozen=True)
class Batch:
    """``audio`` float32 [B, 1, N] in [-1, 1]; ``bitrate_kbps`` float32 [B]."""

    audio: Wave
    bitrate_kbps: NDArray[np.float32]


def load_data(config: DataConfig, sample_rate: int, *, quiet: bool = False) -> list[Cache]:
    """Open the data of a recipe at the model's rate in Hz; what is not packed is decoded first.

    Raises:
        ConfigError: no data given, or a path is missing.
        TrainingError: nothing readable, or a packed cache of another rate.
    """
    caches = [open_cache(p, sample_rate) for p in config.paths if is_cache(p)]
    loose = [p for p in config.paths if not is_cache(p)]
    if loose:
        out = Path(config.cache) if config.cache else default_cache_dir(loose, sample_rate)
        caches.append(open_cache(pack(loose, out, sample_rate=sample_rate, quiet=quiet)))
    if not caches and config.synthetic_seconds > 0:
        caches.append(synthesize(config.synthetic_seconds, sample_rate, config.seed))
    if not caches:
        raise ConfigError("no training audio: give --data FOLDER or set data.paths in the recipe")
    return caches


def split(caches: Sequence[Cache], config: DataConfig) -> tuple[list[Cache], list[Cache]]:
    """Training and held-out part. A speaker of the hashed share is never in both."""

    def held_out(item: Item) -> bool:
        names = (item.path, Path(item.path).name, item.speaker)
        if any(fnmatch.fnmatch(name, pattern) for pattern in config.val for name in names if name):
            return True
        who = f"{item.source}/{item.speaker or item.path}"
        draw = int.from_bytes(hashlib.sha256(who.encode()).digest()[:8], "big") / 2**64
        return draw < config.val_fraction

    def keep(wanted: bool) -> list[Cache]:
        parts = (replace(c, items=[i for i in c.items if held_out(i) == wanted]) for c in caches)
        return [part for part in parts if part.items]

    train, val = keep(False), keep(True)
    if not train:
        raise ConfigError("all audio is held out; lower data.val_fraction or shorten data.val")
    if config.val and not val:
        raise ConfigError(f"data.val = {config.val} matches no file or speaker")
    if config.max_minutes > 0:
        train = _shorten(train, config.max_minutes * 60)
    return train, val


def _shorten(caches: Sequence[Cache], seconds: float) -> list[Cache]:
    """The starts of files in an order by hash, at most a twentieth of ``seconds`` of each."""
    order = sorted(
        ((k, item) for k, cache in enumerate(caches) for item in cache.items),
        key=lambda pair: hashlib.sha256(pair[1].path.encode()).digest(),
    )
    rate = caches[0].sample_rate
    left, most = round(seconds * rate), round(seconds / 20 * rate)
    parts: list[list[Item]] = [[] for _ in caches]
    for k, item in order:
        n = min(item.n, most, left)
        if n > 0:
            parts[k].append(replace(item, n=n))
            left -= n
    return [replace(c, items=part) for c, part in zip(caches, parts, strict=True) if part]


class Crops:
    """Draws crops and batches from one or more caches.

    Args:
        caches: decoded audio, all at one rate.
        config: ``[data]``; augment: ``[augment]``, or None for untouched crops.
        rates: ``[train]``, which says what rates the crops of a batch have.
        rank: of the process, which draws crops of its own.
    """

    def __init__(
        self,
        caches: Sequence[Cache],
        config: DataConfig,
        augment: AugmentConfig | None,
        rates: TrainConfig,
        *,
        rank: int = 0,
    ):
        self.config, self.augment, self.rates, self.rank = config, augment, rates, rank
        self.sample_rate = caches[0].sample_rate
        self.n_samples = round(config.crop_seconds * self.sample_rate)
        self.audio = [c.audio for c in caches]
        items = [(number, item) for number, c in enumerate(caches) for item in c.items if item.n]
        self.cache_of = np.array([number for number, _ in items])
        self.start = np.array([item.offset for _, item in items])
        self.length = np.array([item.n for _, item in items])
        self.cumulative = np.cumsum(_item_weights([item for _, item in items], config.alpha))

    def batch(self, step: int) -> Batch:
        """The batch of a step: a function of (seed, rank, step) and nothing else."""
        rng = np.random.default_rng([self.config.seed, self.rank, step])
        size = self.config.batch_size
        audio = np.stack([self._crop(rng) for _ in range(size)])[:, None]
        spread = self.rates.bitrate_spread
        kbps = rng.choice(self.rates.bitrates_kbps, size) * rng.uniform(
            1 - spread, 1 + spread, size
        )
        return Batch(audio, kbps.astype(np.float32))

    def plain(self, count: int, seconds: float, step: int) -> Wave:
        """``count`` crops without augmentation, float32 [count, 1, N]; fixed by the seed."""
        rng = np.random.default_rng([self.config.seed, self.rank, step])
        n = round(seconds * self.sample_rate)
        return np.stack([self._draw(n, 0, rng) for _ in range(count)])[:, None]

    def fitting(self, count: int) -> Wave:
        """``count`` crops to set a model from, every second one augmented."""
        rng = np.random.default_rng([self.config.seed, self.rank, INIT_STEP])
        draws = (self._crop, lambda rng: self._draw(self.n_samples, 0, rng))
        return np.stack([draws[k % 2](rng) for k in range(count)])[:, None]

    def _crop(self, rng: np.random.Generator) -> Wave:
        if self.augment is None:
            return self._draw(self.n_samples, 0, rng)

        def draw(n: int, margin: int) -> Wave:
            return self._draw(n, margin, rng)

        return augment(draw, self.n_samples, self.augment, rng, self.sample_rate)

    def _draw(self, n: int, margin: int, rng: np.random.Generator) -> Wave:
        """``n`` samples of a random file, the outer ``margin`` of them possibly beyond its ends."""
        floor = 10 ** (self.config.silence_db / 20)
        wave = np.zeros(n, dtype=np.float32)
        for _ in range(MAX_DRAWS):
            pick = rng.random() * self.cumulative[-1]
            item = int(np.searchsorted(self.cumulative, pick, side="right"))
            item = min(item, len(self.length) - 1)
            wave = self._read(item, n, margin, rng)
            loud = float(np.sqrt(np.mean(wave**2))) >= floor
            if loud or rng.random() >= self.config.silence_skip:
                break
        return wave

    def _read(self, item: int, n: int, margin: int, rng: np.random.Generator) -> Wave:
        """A random stretch of one file; a file shorter than the crop lands at a random place."""
        core, length = n - 2 * margin, int(self.length[item])
        slack = length - core
        first = int(rng.integers(min(slack, 0), max(slack, 0) + 1)) - margin
        low, high = max(first, 0), min(first + n, length)
        wave = np.zeros(n, dtype=np.float32)
        base = int(self.start[item])
        audio = self.audio[int(self.cache_of[item])]
        wave[low - first : high - first] = audio[base + low : base + high]
        wave *= np.float32(1 / 32768)
        return wave


def _item_weights(items: Sequence[Item], alpha: float) -> NDArray[np.float64]:
    """Weight of each file: its share of its source, times the length of the source ** alpha."""
    length = np.array([i.n for i in items], dtype=np.float64)
    total: dict[str, float] = {}
    for item in items:
        total[item.source] = total.get(item.source, 0.0) + item.n
    return np.array([total[i.source] ** (alpha - 1) for i in items]) * length


def prefetch(crops: Crops, first: int, last: int, workers: int) -> Iterator[tuple[int, Batch]]:
    """(step, batch) for first <= step < last, in order, prepared by ``workers`` threads."""
    with ThreadPoolExecutor(workers, thread_name_prefix="crops") as pool:
        ahead = deque(
            pool.submit(crops.batch, s) for s in range(first, min(first + workers + 2, last))
        )
        upcoming = first + len(ahead)
        try:
            for step in range(first, last):
                batch = ahead.popleft().result()
                if upcoming < last:
                    ahead.append(pool.submit(crops.batch, upcoming))
                    upcoming += 1
                yield step, batch
        finally:
            for future in ahead:
                future.cancel()
