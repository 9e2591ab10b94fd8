"""The demo: one clip encoded once, heard at four rates; numbers, audio files and a picture."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import audio
from ..codec import Codec
from ..codec.encoded import Encoded
from ..codec.streaming import file_block_frames
from ..codec.weights import DEFAULT_WEIGHTS
from ..errors import AudioError
from ..files import PathLike, write_bytes
from ..metrics import phase_error, si_sdr, spectrogram
from ..samples import SAMPLE

__all__ = ["BITRATES_KBPS", "MAX_SECONDS", "run", "table"]

BITRATES_KBPS = (12, 6, 3, 1.5)  # encoded at the first, cut to the others
MAX_SECONDS = 30


def run(
    source: PathLike | None,
    out: PathLike,
    weights: PathLike | None = None,
    *,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Code ``source`` (by default the bundled clip), write everything to the folder ``out``.

    Returns what :func:`table` prints. SI-SDR and phase error are against the original at the
    model's rate; times are of one thread, resampling and file format included. ``note`` gets a line
    about anything left out. Errors: as for
    :func:`audio.read` and :class:`Codec`.
    """
    source = SAMPLE if source is None else source
    with audio.open_reader(source, recover=True) as reader:
        rate = reader.sample_rate
        wav = _first_seconds(reader, MAX_SECONDS)
        if reader.n_samples is None or reader.n_samples > wav.shape[1]:
            note(f"{source}: only the first {MAX_SECONDS} s are used")
    if wav.shape[1] == 0:
        raise AudioError(f"{source}: it has no samples, so there is nothing to hear")
    codec = Codec.from_pretrained(weights or DEFAULT_WEIGHTS)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    original = audio.resample(wav, rate, codec.sample_rate)
    audio.write(out / "original.wav", wav, rate)
    files = ["original.wav"]
    rows, decoded = [], {}
    seconds = wav.shape[1] / rate
    block = file_block_frames(len(wav))  # as the command line decodes files
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        codec.decompress(codec.compress(wav[:, :rate], rate, BITRATES_KBPS[0]))  # warm up
        whole = b""
        for kbps in BITRATES_KBPS:
            start = time.perf_counter()
            if whole:
                data = Encoded.from_bytes(whole).at_rate(kbps).to_bytes()
            else:
                whole = data = codec.compress(wav, rate, kbps)
            middle = time.perf_counter()
            coded = codec.decode(Encoded.from_bytes(data), block_frames=block)
            end = time.perf_counter()
            write_bytes(out / f"{kbps}kbps.eul", data)
            audio.write(out / f"{kbps}kbps.wav", coded, rate)
            files += [f"{kbps}kbps.eul", f"{kbps}kbps.wav"]
            decoded[kbps] = audio.resample(coded.numpy(), rate, codec.sample_rate)
            rows.append(
                {
                    "kbps": kbps,
                    "bytes": len(data),
                    "measured_kbps": len(data) * 8e-3 / seconds / len(wav),
                    "si_sdr_db": si_sdr(original, decoded[kbps]),
                    "phase_error_rad": _phase_error(original, decoded[kbps]),
                    "made_in_s": middle - start,
                    "decoded_in_s": end - middle,
                }
            )
    finally:
        torch.set_num_threads(threads)
    try:
        write_bytes(out / "comparison.png", picture(original[0], decoded, codec.sample_rate))
        files.append("comparison.png")
    except ImportError:
        note("no picture: matplotlib is not installed (pip install matplotlib)")
    return {
        "source": str(source),
        "sample_rate": rate,
        "channels": wav.shape[0],
        "seconds": seconds,
        "pcm_bytes": wav.size * 2,
        "weights": codec.name,
        "weights_sha256": codec.weights_sha256,
        "rates": rows,
        "files": [str(out / name) for name in files],
    }


def _first_seconds(reader: audio.AudioReader, seconds: int) -> NDArray[np.float32]:
    """The beginning of a recording [C, N], at most so many seconds."""
    left = seconds * reader.sample_rate
    parts = [np.zeros((reader.n_channels, 0), np.float32)]
    for block in reader.blocks():
        parts.append(block[:, :left])
        left -= parts[-1].shape[1]
        if left == 0:
            break
    return np.concatenate(parts, 1)


def table(result: dict[str, Any]) -> str:
    """The result of :func:`run` as lines of text."""
    name = Path(result["source"]).name
    pcm_kbps = result["pcm_bytes"] * 8e-3 / result["seconds"] / result["channels"]
    top = result["rates"][0]["kbps"]
    lines = [
        f"{name}: {result['seconds']:.2f} s, {result['sample_rate']} Hz,"
        f" {result['channels']} channel(s). Encoded once, at {top} kbps a channel; the other files"
        " are cut out of it. Times are of one thread.",
        f"{'':>9}  {'bytes':>9}  {'kbps':>7}  {'SI-SDR':>8}  {'phase error':>11}"
        f"  {'made in':>9}  {'decoded in':>10}",
        f"{'16-bit':>9}  {result['pcm_bytes']:>9}  {pcm_kbps:>7.2f}",
    ]
    lines += [
        f"{row['kbps']:>4} kbps  {row['bytes']:>9}  {row['measured_kbps']:>7.2f}"
        f"  {row['si_sdr_db']:>5.2f} dB  {np.degrees(row['phase_error_rad']):>7.1f} deg"
        f"  {row['made_in_s']:>7.3f} s  {row['decoded_in_s']:>8.3f} s"
        for row in result["rates"]
    ]
    return "\n".join(lines)


def _phase_error(reference: NDArray[Any], estimate: NDArray[Any]) -> float:
    """Mean over channels of the magnitude-weighted phase error, in radians."""
    pairs = zip(reference, estimate, strict=True)
    return float(np.mean([phase_error(spectrogram(r), spectrogram(e))[1] for r, e in pairs]))


def picture(
    original: NDArray[np.float32], decoded: dict[float, NDArray[np.float32]], sample_rate: int
) -> bytes:
    """A PNG: spectrograms of one channel above, phase errors below, original and rates in columns.

    ``original`` [N]; ``decoded``: kbps to [C, N], of which the first channel is drawn. Errors:
    ``ImportError`` without matplotlib.
    """
    from matplotlib.figure import Figure

    reference = spectrogram(original)
    level = np.abs(reference).max() or 1.0
    nyquist = sample_rate / 2000
    extent = (0.0, len(original) / sample_rate, 0.0, nyquist)
    heard = np.abs(reference) > 1e-3 * level  # 60 dB below the peak; the rest has no phase to keep
    figure = Figure(figsize=(4.4 * (1 + len(decoded)), 6.4), layout="constrained")
    axes = figure.subplots(2, 1 + len(decoded), squeeze=False)

    columns = {"original": reference}
    columns |= {f"{kbps} kbps": spectrogram(wav[0]) for kbps, wav in decoded.items()}
    by_frequency = axes[1, 0]
    image = phase = None
    for column, (title, spec) in enumerate(columns.items()):
        power = 20 * np.log10(np.maximum(np.abs(spec) / level, 1e-6))
        options: dict[str, Any] = {"origin": "lower", "aspect": "auto", "extent": extent}
        image = axes[0, column].imshow(power, vmin=-80, vmax=0, cmap="magma", **options)
        axes[0, column].set_title(title)
        if column == 0:
            continue
        angle, mean = phase_error(reference, spec)
        masked = np.ma.array(np.degrees(np.abs(angle)), mask=~heard)
        ax = axes[1, column]
        phase = ax.imshow(masked, vmin=0, vmax=180, cmap="viridis", **options)
        ax.set_title(f"phase error at {title}: mean {np.degrees(mean):.1f} deg", fontsize=10)
        weight = np.abs(reference)
        profile = (weight * np.abs(angle)).sum(1) / np.maximum(weight.sum(1), 1e-12)
        frequency = np.linspace(0, nyquist, len(profile))
        by_frequency.plot(np.degrees(profile), frequency, label=title)
    by_frequency.axvline(90, color="0.5", linestyle=":", label="random phase")
    by_frequency.set(xlim=(0, 120), ylim=(0, nyquist), xlabel="mean phase error (deg)")
    by_frequency.set_title("original has none; error by frequency", fontsize=10)
    by_frequency.legend(fontsize=8)
    for ax in axes[:, 0]:
        ax.set_ylabel("kHz")
    for ax in (axes[0, 0], *axes[1, 1:]):
        ax.set_xlabel("s")
    if image is not None:
        figure.colorbar(image, ax=axes[0, :], label="dB")
    if phase is not None:
        label = "phase error (deg); white: below -60 dB"
        figure.colorbar(phase, ax=axes[1, :], label=label)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
