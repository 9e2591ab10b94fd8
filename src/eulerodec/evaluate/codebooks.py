"""How the codes of every quantiser stage are used: does entropy coding pay?

For each stage k with codes c_t, all in bits per code:

- ``entropy``: H = -sum p log2 p of the counts. Counting few codes makes it too small; the
  correction of Miller & Madow (1955), (used codes - 1) / (2 n ln 2), is added.
- ``conditional``: first-order conditional entropy H(c_t | c_{t-1}) of the counts of pairs. With
  2048 codes there are 4 million pairs, so from minutes of audio this is far too small: a code seen
  once looks perfectly predictable. ``conditional_shuffled`` is the same with time shuffled, where
  the true value is the entropy: only what ``conditional`` is *below* it says something about time.
- ``coded_order0`` and ``coded_order1``: what a real coder would need. The counts come from one half
  of the clips, the codes to pay for from the other, and back. Order 0 is add-half smoothing
  (Krichevsky & Trofimov 1981); order 1 mixes counts of pairs with order 0 as Witten & Bell (1991)
  do. An arithmetic coder with a fixed table reaches these; ``bits`` is the price without one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..codec import Codec
from ..errors import AudioError
from ..files import PathLike, write_bytes
from ..tabular import write_csv
from .clips import SAMPLE_RATE, find_clips, read_clip

__all__ = ["StageUse", "analyse", "codes_of", "picture", "run", "stage_use"]

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class StageUse:
    """Use of one stage; ``stage`` counts from 1, see the module for the others."""

    stage: int
    codes: int
    used: int
    dead: int
    usage: float
    perplexity: float
    bits: float
    entropy: float
    conditional: float
    conditional_shuffled: float
    coded_order0: float
    coded_order1: float


def run(
    weights: PathLike,
    data: PathLike,
    out: PathLike,
    *,
    limit_per_set: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[StageUse], list[Path]]:
    """Encode the clips of ``data``, write ``codebooks.csv`` and ``codebooks.png`` to ``out``.

    Returns:
        The statistics, and the files written (no picture without matplotlib).

    Raises:
        WeightsError, AudioError, ConfigError: as for :class:`Codec` and
            :func:`~.clips.find_clips`.
    """
    codec = Codec.from_pretrained(weights)
    clips, _ = find_clips(data, limit_per_set)
    codes = []
    for number, clip in enumerate(clips, 1):
        codes.append(codes_of(codec, read_clip(clip)))
        progress(number, len(clips))
    stats = analyse(codes, codec.model.codebook_size)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "codebooks.csv"]
    write_csv(files[0], map(asdict, stats))
    try:
        write_bytes(out / "codebooks.png", picture(stats))
        files.append(out / "codebooks.png")
    except ImportError:
        pass
    return stats, files


def codes_of(codec: Codec, wav: NDArray[np.float32]) -> Codes:
    """Codes [K, T] of all stages of mono samples [N] at :data:`SAMPLE_RATE`."""
    encoded = codec.encode(wav, SAMPLE_RATE, n_codebooks=codec.model.n_codebooks)
    return encoded.codes[0].numpy()


def analyse(clips: Sequence[Codes], size: int, seed: int = 0) -> list[StageUse]:
    """Statistics of every stage from the codes [K, T] of clips, ``size`` codes in a stage.

    Raises:
        AudioError: fewer than two clips with codes; one half is coded with the counts of the other.
    """
    clips = [clip for clip in clips if clip.shape[1]]
    if len(clips) < 2:
        raise AudioError("at least two clips are needed: one half is coded by counts of the other")
    stages = clips[0].shape[0]
    return [stage_use(k + 1, [clip[k] for clip in clips], size, seed) for k in range(stages)]


def stage_use(stage: int, clips: Sequence[Codes], size: int, seed: int = 0) -> StageUse:
    """Statistics of one stage from its codes [T] in every clip."""
    rng = np.random.default_rng(seed)
    flat = np.concatenate(clips)
    counts = np.bincount(flat, minlength=size)
    used = int((counts > 0).sum())
    plug_in = _entropy(counts)
    entropy = plug_in + (used - 1) / (2 * len(flat) * math.log(2))
    shuffled = rng.permutation(flat)
    cuts = np.cumsum([len(clip) for clip in clips])[:-1]
    halves = clips[0::2], clips[1::2]
    coded = [_coded_bits(a, b, size) for a, b in (halves, halves[::-1])]
    total = len(flat)
    return StageUse(
        stage=stage,
        codes=total,
        used=used,
        dead=size - used,
        usage=used / size,
        perplexity=2**plug_in,
        bits=math.log2(size),
        entropy=min(entropy, math.log2(size)),
        conditional=_conditional(clips, size),
        conditional_shuffled=_conditional(np.split(shuffled, cuts), size),
        coded_order0=sum(c[0] for c in coded) / total,
        coded_order1=sum(c[1] for c in coded) / total,
    )


def picture(stats: Sequence[StageUse]) -> bytes:
    """A PNG: share of codes used and perplexity, and bits per code.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    stage = [s.stage for s in stats]
    size = 2 ** stats[0].bits
    left.bar(stage, [100 * s.usage for s in stats], color="#9ecae1", label="codes used")
    left.plot(stage, [100 * s.perplexity / size for s in stats], "o-", label="perplexity")
    left.set(xlabel="stage", ylabel="% of the codebook", ylim=(0, 105), title="Use of the codes")
    lines: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("bits", "stored", {"color": "0.3", "ls": "--"}),
        ("entropy", "entropy", {"marker": "o"}),
        ("coded_order0", "coded, fixed table", {"marker": "s"}),
        ("coded_order1", "coded, given the code before", {"marker": "^"}),
        ("conditional_shuffled", "conditional, shuffled (bias)", {"color": "0.6", "ls": ":"}),
        ("conditional", "conditional, counted", {"color": "0.4", "ls": ":", "marker": "x"}),
    )
    for name, label, style in lines:
        right.plot(stage, [getattr(s, name) for s in stats], label=label, **style)
    right.set(xlabel="stage", ylabel="bits per code", title="What a code costs", ylim=(0, None))
    for ax in (left, right):
        ax.legend(fontsize=8)
        ax.grid(alpha=0.25)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _entropy(counts: NDArray[np.int64]) -> float:
    p = counts[counts > 0] / max(1, counts.sum())
    return float(-(p * np.log2(p)).sum())


def _pairs(clips: Sequence[Codes], size: int) -> NDArray[np.int64]:
    """Previous code * size + code, of all neighbours within a clip."""
    return np.concatenate([clip[:-1] * size + clip[1:] for clip in clips])


def _conditional(clips: Sequence[Codes], size: int) -> float:
    """H(c_t | c_{t-1}) = H(c_{t-1}, c_t) - H(c_{t-1}) of the counts."""
    pairs = _pairs(clips, size)
    if len(pairs) == 0:
        return math.nan
    joint = np.unique(pairs, return_counts=True)[1]
    return _entropy(joint) - _entropy(np.bincount(pairs // size, minlength=size))


def _coded_bits(known: Sequence[Codes], new: Sequence[Codes], size: int) -> tuple[float, float]:
    """Bits that all codes of ``new`` cost with tables counted on ``known``: order 0, order 1."""
    counts = np.bincount(np.concatenate(known), minlength=size)
    p0 = (counts + 0.5) / (counts.sum() + 0.5 * size)
    flat = np.concatenate(new)
    order0 = float(-np.log2(p0[flat]).sum())

    values, number = np.unique(_pairs(known, size), return_counts=True)
    before = values // size
    seen = np.bincount(before, weights=number, minlength=size)  # pairs that start with a code
    kinds = np.bincount(before, minlength=size)  # different ones among them
    pairs = _pairs(new, size)
    first, second = pairs // size, pairs % size
    place = np.minimum(np.searchsorted(values, pairs), max(0, len(values) - 1))
    hit = values[place] == pairs if len(values) else np.zeros(len(pairs), bool)
    count = np.where(hit, number[place] if len(values) else 0, 0)
    # a code that was never followed by anything leaves order 0 alone
    total = np.maximum(seen[first] + kinds[first], 1e-300)
    p1 = np.where(kinds[first] > 0, (count + kinds[first] * p0[second]) / total, p0[second])
    starts = np.array([clip[0] for clip in new])
    order1 = float(-np.log2(p1).sum() - np.log2(p0[starts]).sum())
    return order0, order1
