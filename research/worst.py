"""A picture of the clips that a codec serves worst, from the folder of an evaluation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eulerodec.errors import ConfigError
from eulerodec.evaluate.clips import SAMPLE_RATE, find_clips, read_clip
from eulerodec.evaluate.systems import build, parse
from eulerodec.files import write_bytes
from eulerodec.metrics import spectrogram
from eulerodec.tabular import read_csv
from research.score import NOT_SPEECH

__all__ = ["draw_worst", "worst_clips"]

_SECONDS = 4.0  # of each clip


def worst_clips(results: Path, system: str) -> list[str]:
    """Names of the clips of lowest PESQ, of two sets of speech, and of the largest mel distance
    among the rest.

    Raises:
        ConfigError: the evaluation has no such system.
    """
    rows = [r for r in read_csv(results / "results.csv") if r["system"] == system]
    if not rows:
        raise ConfigError(f"{results / 'results.csv'} has no rows of {system}")
    speech = [r for r in rows if r["set"] not in NOT_SPEECH and r["pesq_wb"]]
    of_set: dict[str, str] = {}
    for row in sorted(speech, key=lambda r: float(r["pesq_wb"])):
        of_set.setdefault(row["set"], row["clip"])
    other = [r for r in rows if r["set"] in NOT_SPEECH and r["dac_mel"]]
    other.sort(key=lambda r: -float(r["dac_mel"]))
    return [*of_set.values()][:2] + [r["clip"] for r in other[:1]]


def draw_worst(results: Path, clips: str, figure: Path, systems: Sequence[str]) -> list[str]:
    """Spectrograms of :func:`worst_clips` of the first system: original, then coded by each.

    Raises:
        ConfigError: a clip or a system that is not there.
    """
    from matplotlib.figure import Figure

    names = worst_clips(results, systems[0])
    found = {clip.name: clip for clip in find_clips(clips)[0]}
    for name in names:
        if name not in found:
            raise ConfigError(f"{name} is not in {clips}")
    coders = [build(parse(system)) for system in systems]
    labels = ["original", *systems]
    drawing = Figure(figsize=(5.2 * len(names), 2.6 * len(labels)), layout="constrained")
    grid = drawing.subplots(len(labels), len(names), squeeze=False)
    for column, name in enumerate(names):
        wav = read_clip(found[name])[: round(_SECONDS * SAMPLE_RATE)]
        spectra = [spectrogram(x) for x in (wav, *(coder.code(wav).audio for coder in coders))]
        level = np.abs(spectra[0]).max() or 1.0
        for axes, label, spectrum in zip(grid[:, column], labels, spectra, strict=True):
            axes.imshow(
                20 * np.log10(np.maximum(np.abs(spectrum) / level, 1e-6)),
                vmin=-80, vmax=0, cmap="magma", origin="lower", aspect="auto",
                extent=(0, len(wav) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000),
            )  # fmt: skip
            axes.set_title(f"{Path(name).name}: {label}", fontsize=8)
            axes.tick_params(labelsize=7)
    picture = io.BytesIO()
    drawing.savefig(picture, dpi=70)
    write_bytes(figure, picture.getvalue())
    return names
