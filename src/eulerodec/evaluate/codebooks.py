"""How the codes of every stage are used, and what they cost.

The clips are coded as planes, and the codes that their payloads hold are counted, stage by stage of
the energies and of the latents. In bits per code:

- ``bits``: of a code of the constant coding, log2 of the codes there are.
- ``entropy``: H = -sum p log2 p of the counts. Counting few codes makes it too small; the
  correction of Miller & Madow (1955), (used codes - 1) / (2 n ln 2), is added.
- ``coded``: what the range coder spends, -log2 of the frequency in the table of the code's class.
  Below the entropy, because classes know more than the stage; far above it where the tables were
  counted on other audio.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..bitstream import ABSENT, PacketCodes, PayloadCoder
from ..bitstream.code_tables import TOTAL
from ..codec import Codec
from ..errors import AudioError
from ..files import PathLike, write_bytes
from ..tabular import write_csv
from .clips import SAMPLE_RATE, find_clips, read_clip

__all__ = ["StageUse", "analyse", "codes_of", "costs", "picture", "run", "stage_use"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StageUse:
    """Use of one stage; ``kind`` is energy or latent, ``stage`` counts from 1; see the module."""

    kind: str
    stage: int
    codes: int
    used: int
    dead: int
    usage: float
    perplexity: float
    bits: float
    entropy: float
    coded: float


def run(
    weights: PathLike,
    data: PathLike,
    out: PathLike,
    *,
    bitrate_kbps: float | None = None,
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
    packets = []
    for number, clip in enumerate(clips, 1):
        packets += codes_of(codec, read_clip(clip), bitrate_kbps)
        progress(number, len(clips))
    stats = analyse(codec.model.coder.payload, packets)
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


def codes_of(
    codec: Codec, wav: NDArray[np.float32], bitrate_kbps: float | None = None
) -> list[PacketCodes]:
    """The codes in the packets of mono samples [N] at :data:`SAMPLE_RATE`; 6 kbps by default."""
    encoded = codec.encode(wav, SAMPLE_RATE, bitrate_kbps=bitrate_kbps)
    payload = codec.model.coder.payload
    return [payload.decode(p.payload or b"", 1, p.n_frames) for p in encoded.packets]


def analyse(payload: PayloadCoder, packets: Sequence[PacketCodes]) -> list[StageUse]:
    """Statistics of every stage that has codes, energies first.

    Raises:
        AudioError: there are no codes at all.
    """
    size = payload.tables.energy_class.size
    found: dict[tuple[str, int], list[tuple[Ints, Floats]]] = {}
    for codes in packets:
        for kind, stage, values, bits in costs(payload, codes):
            found.setdefault((kind, stage), []).append((values, bits))
    if not found:
        raise AudioError("no codes: the clips are silent, or the bitrate leaves no room")
    stats = []
    for (kind, stage), pairs in sorted(found.items()):
        values, bits = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        stats.append(stage_use(kind, stage, values, bits, size))
    return stats


def costs(payload: PayloadCoder, codes: PacketCodes) -> Iterator[tuple[str, int, Ints, Floats]]:
    """Codes of a packet, and the bits that its tables take for each.

    Yields:
        Kind, stage (from 1), the codes that are there [n], their bits [n].
    """
    tables = payload.tables
    classes = payload.layout(codes).classes  # [C, T]
    for k, counts in enumerate(tables.latent_counts):
        at = codes.latents[:, k]
        there = at != ABSENT
        if there.any():
            yield "latent", k + 1, at[there], _bits(counts[classes[there], at[there]])
    first = codes.energies[:, 0]  # [C, blocks]
    own = np.where(first == ABSENT, 0, tables.energy_class[first])
    before = np.pad(own, ((0, 0), (1, 0)))[:, :-1]
    for k, counts in enumerate(tables.energy_counts):
        at, context = codes.energies[:, k], own if k else before
        there = at != ABSENT
        if there.any():
            yield "energy", k + 1, at[there], _bits(counts[context[there], at[there]])


def _bits(counts: NDArray[np.uint16]) -> Floats:
    return math.log2(TOTAL) - np.log2(counts.astype(np.float64) + 1)


def stage_use(kind: str, stage: int, codes: Ints, bits: Floats, size: int) -> StageUse:
    """Statistics of one stage from its codes [n], of ``size`` there are, and their costs [n]."""
    counts = np.bincount(codes, minlength=size)
    used = int((counts > 0).sum())
    p = counts[counts > 0] / len(codes)
    plug_in = float(-(p * np.log2(p)).sum())
    entropy = plug_in + (used - 1) / (2 * len(codes) * math.log(2))
    return StageUse(
        kind=kind,
        stage=stage,
        codes=len(codes),
        used=used,
        dead=size - used,
        usage=used / size,
        perplexity=2**plug_in,
        bits=math.log2(size),
        entropy=min(entropy, math.log2(size)),
        coded=float(bits.mean()),
    )


def picture(stats: Sequence[StageUse]) -> bytes:
    """A PNG: share of codes used and perplexity, and bits per code.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = [f"{'e' if s.kind == 'energy' else ''}{s.stage}" for s in stats]
    size = 2 ** stats[0].bits
    left.bar(names, [100 * s.usage for s in stats], color="#9ecae1", label="codes used")
    left.plot(names, [100 * s.perplexity / size for s in stats], "o", label="perplexity")
    left.set(ylabel="% of the codebook", ylim=(0, 105), title="Use of the codes")
    right.plot(names, [s.bits for s in stats], color="0.3", ls="--", label="constant coding")
    right.plot(names, [s.entropy for s in stats], "o", label="entropy")
    right.plot(names, [s.coded for s in stats], "s", label="coded")
    right.set(ylabel="bits per code", title="What a code costs", ylim=(0, None))
    for ax in (left, right):
        ax.set_xlabel("stage (e: energies)")
        ax.tick_params(axis="x", labelsize=7)
        ax.legend(fontsize=8)
        ax.grid(alpha=0.25)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
