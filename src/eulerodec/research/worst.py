"""A picture of the clips that a codec serves worst, from the folder of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eulerodec.errors import ConfigError
from eulerodec.evaluate.clips import SAMPLE_RATE, Clip, find_clips, read_clip
from eulerodec.evaluate.systems import build, parse
from eulerodec.files import write_bytes
from eulerodec.research.run import read_csv
from eulerodec.research.score import NOT_SPEECH

__all__ = ["draw_worst", "worst_clips"]

_SECONDS = 4.0  # of each clip
_WINDOW, _HOP = 768, 192


def worst_clips(results: Path, system: str) -> list[str]:
    """Names of the clips of lowest PESQ, of two sets of speech, and of the largest mel distance
    among the rest.

    Errors: :class:`ConfigError` if the evaluation has no such system.
    """
    rows = [r for r in read_csv(results / "results.csv") if r["system"] == system]
    if not rows:
        raise ConfigError(f"{results / 'results.csv'} has no rows of {system}")
    speech = [r for r in rows if r["set"] not in NOT_SPEECH and r["pesq_wb"]]
    speech.sort(key=lambda r: float(r["pesq_wb"]))
    first_of_set = {r["set"]: r["clip"] for r in reversed(speech)}
    order = [r["clip"] for r in speech if r["clip"] in first_of_set.values()]
    other = [r for r in rows if r["set"] in NOT_SPEECH and r["dac_mel"]]
    other.sort(key=lambda r: -float(r["dac_mel"]))
    return order[:2] + [r["clip"] for r in other[:1]]


def draw_worst(results: Path, clips: str, figure: Path, systems: Sequence[str]) -> list[str]:
    """Spectrograms of :func:`worst_clips` of the first system: original, then coded by each.

    Errors: :class:`ConfigError` for a clip that is not there, and those of the systems.
    """
    import io

    from matplotlib.figure import Figure

    names = worst_clips(results, systems[0])
    found = {clip.name: clip for clip in find_clips(clips)[0]}
    for name in names:
        if name not in found:
            raise ConfigError(f"{name} is not in {clips}")
    columns = [_versions(found[name], systems) for name in names]
    drawing = Figure(figsize=(5.2 * len(names), 2.6 * (1 + len(systems))), layout="constrained")
    grid = drawing.subplots(1 + len(systems), len(names), squeeze=False)
    for column, (name, signals) in enumerate(zip(names, columns, strict=True)):
        for row, (label, wav) in enumerate(zip(("original", *systems), signals, strict=True)):
            axes = grid[row][column]
            axes.imshow(
                _decibels(wav), origin="lower", aspect="auto", vmin=-60, vmax=30, cmap="magma",
                extent=(0, len(wav) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000),
            )  # fmt: skip
            axes.set_title(f"{Path(name).name}: {label}", fontsize=8)
            axes.tick_params(labelsize=7)
    picture = io.BytesIO()
    drawing.savefig(picture, dpi=70)
    write_bytes(figure, picture.getvalue())
    return names


def _versions(clip: Clip, systems: Sequence[str]) -> list[NDArray[np.float32]]:
    wav = read_clip(clip)[: round(_SECONDS * SAMPLE_RATE)]
    return [wav, *(build(parse(system)).code(wav).audio[: len(wav)] for system in systems)]


def _decibels(wav: NDArray[np.float32]) -> NDArray[np.float32]:
    """Spectrogram in dB, [bins, frames]."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wav, _WINDOW // 2), _WINDOW)[::_HOP]
    spectrum = np.fft.rfft(frames * np.hanning(_WINDOW), axis=-1)
    return (20 * np.log10(np.abs(spectrum) + 1e-4)).T.astype(np.float32)
