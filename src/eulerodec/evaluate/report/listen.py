"""What a report lets one hear and see of single clips."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import audio
from ...metrics import phase_error, spectrogram

__all__ = ["MAX_SECONDS", "picture", "player", "read_start"]

MAX_SECONDS = 6.0
RANGE_DB = 50.0  # as in the phase measures


def read_start(path: Path) -> tuple[NDArray[np.float32], int]:
    """The first :data:`MAX_SECONDS` of a file, mono [N], and its rate."""
    x, rate = audio.read(path)
    return x[0, : int(MAX_SECONDS * rate)], rate


def player(x: NDArray[np.float32], sample_rate: int, title: str) -> str:
    """An ``<audio>`` element that holds the samples as 16-bit FLAC."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, x, sample_rate, format="FLAC", subtype="PCM_16")
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<audio controls preload="metadata" aria-label="{title}"'
        f' src="data:audio/flac;base64,{data}"></audio>'
    )


def picture(
    reference: NDArray[np.float32], x: NDArray[np.float32] | None, sample_rate: int, title: str
) -> str:
    """An ``<img>``: magnitude spectrogram, and the phase error against the reference beside it.

    ``x``: the decoded signal, or ``None`` to draw the reference alone.
    """
    from matplotlib.figure import Figure

    r = spectrogram(reference)
    level = np.abs(r).max() or 1.0
    e = r if x is None else spectrogram(x)
    extent = (0.0, len(reference) / sample_rate, 0.0, sample_rate / 2000)
    options: dict[str, Any] = {"origin": "lower", "aspect": "auto", "extent": extent}
    options |= {"interpolation": "nearest"}
    figure = Figure(figsize=(5.2, 1.75), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    power = 20 * np.log10(np.maximum(np.abs(e) / level, 1e-6))
    left.imshow(power, vmin=-80, vmax=0, cmap="magma", **options)
    left.set_title("magnitude, 80 dB", fontsize=7)
    left.set_ylabel("kHz", fontsize=7)
    if x is None:
        right.set_visible(False)
    else:
        angle, mean = phase_error(r, e)
        quiet = np.abs(r) < level * 10 ** (-RANGE_DB / 20)
        masked = np.ma.array(np.degrees(np.abs(angle)), mask=quiet)
        right.imshow(masked, vmin=0, vmax=180, cmap="viridis", **options)
        right.set_title(
            f"phase error 0\u2013180\u00b0, mean {np.degrees(mean):.0f}\u00b0", fontsize=7
        )
    for ax in (left, right):
        ax.tick_params(labelsize=6)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{title}" src="data:image/png;base64,{data}">'
