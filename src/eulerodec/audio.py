"""Audio files and sample rates: read, write, resample.

Samples are float32 arrays [C, N] (channels, samples), full scale is -1 to 1, nothing is
normalised. Reading uses libsndfile (package ``soundfile``: WAV, FLAC, Ogg, MP3, AIFF and more),
resampling uses ``soxr`` at its very-high-quality setting. Both load on first use.
"""

from __future__ import annotations

import io
import operator
import os
import stat
import sys
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import AudioError
from .files import PathLike, atomic_output, is_pipe

__all__ = [
    "AUDIO_SUFFIXES",
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "check_finite",
    "check_sample_rate",
    "read",
    "resample",
    "resampled_length",
    "write",
]

# A header may claim any rate; outside this range resampling it to the model's rate would only
# turn a damaged header into a huge array.
MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 768_000

#: File name endings taken as audio when a folder is searched.
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")
)

_BLOCK_VALUES = 1 << 22  # values per read: 16 MiB, whatever length the header claims
_WAV_LIMIT = 0xFFFFFFFF - 4096  # bytes of samples a WAV can hold
# Lengths a program writes when it cannot seek back to put in the true one (SoX: 0x7ffff000).
_UNKNOWN_LENGTH = 0x7FFF0000
_UNKNOWN_FRAMES = 1 << 36  # FLAC's own limit; libsndfile says 2^63 - 1 where none is stated


def read(path: PathLike) -> tuple[NDArray[np.float32], int]:
    """Read an audio file, or standard input for ``-``.

    Returns the samples [C, N], float32, and the sample rate in Hz. Errors: :class:`AudioError`
    for a file that is missing, empty, no audio, cut short, or holds NaN or infinite samples;
    ``OSError`` for one that may not be read.
    """
    import soundfile

    name = "standard input" if is_pipe(path) else os.fspath(path)
    source = _open(path, name)
    try:
        _check_wav_complete(source, name)
        with soundfile.SoundFile(source) as sound:
            sample_rate = check_sample_rate(sound.samplerate, name)
            claimed = sound.frames
            if claimed >= _UNKNOWN_FRAMES:
                raise AudioError(f"{name}: the file states no length; convert it to WAV")
            x = _read_blocks(sound)
    except soundfile.LibsndfileError as error:
        reason = str(error.error_string).strip().removeprefix("Error : ").rstrip(".")
        raise AudioError(
            f"{name}: cannot be read as audio: {reason} (WAV, FLAC, Ogg, MP3 and AIFF can)"
        ) from error
    finally:
        source.close()
    # MP3 and Ogg lengths are estimates; FLAC and WAV state theirs.
    if sound.format in ("WAV", "WAVEX", "FLAC", "AIFF", "W64") and x.shape[1] < claimed:
        raise AudioError(
            f"{name}: cut short: the header promises {claimed} samples, the file has {x.shape[1]}"
        )
    check_finite(x, name)
    return x, sample_rate


def write(path: PathLike, x: Any, sample_rate: int, *, subtype: str = "PCM_16") -> None:
    """Write a WAV file, or WAV bytes to standard output for ``-``.

    ``x``: [C, N] or [N], full scale -1 to 1. ``subtype``: ``"PCM_16"`` (values beyond full scale
    are clipped; what :func:`read` gave for a 16-bit file is written back unchanged) or
    ``"FLOAT"`` (32 bit, nothing is changed). The file appears when it is complete. Errors:
    :class:`AudioError` for samples or a name that cannot be written, ``OSError`` for the disk.
    """
    import soundfile

    if subtype not in ("PCM_16", "FLOAT"):
        raise AudioError(f"sample format {subtype!r} is not supported: PCM_16 or FLOAT")
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix in AUDIO_SUFFIXES - {".wav"}:
        raise AudioError(f"{name}: only WAV is written, so the name must end in .wav, not {suffix}")
    x = np.atleast_2d(np.asarray(x, dtype=np.float32))
    check_finite(x, name)
    if x.size * (2 if subtype == "PCM_16" else 4) > _WAV_LIMIT:
        raise AudioError(f"{name}: {x.size} samples are more than a WAV file can hold")
    if subtype == "PCM_16":
        x = np.clip(np.rint(x * np.float32(32768)), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()  # the size fields need seeking, which a pipe does not allow
    try:
        soundfile.write(buffer, x.T, sample_rate, format="WAV", subtype=subtype)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: cannot be written: {error.error_string}") from error
    with atomic_output(path) as sink:
        sink.write(buffer.getbuffer())


def resampled_length(n_samples: int, sr_in: int, sr_out: int) -> int:
    """Samples at ``sr_out`` that cover ``n_samples`` at ``sr_in``: ceil(n * sr_out / sr_in).

    Rounded up, so that going to another rate and back never has fewer samples than at first.
    """
    return -(-n_samples * sr_out // sr_in)


def resample(
    x: NDArray[np.float32], sr_in: int, sr_out: int, n_out: int | None = None
) -> NDArray[np.float32]:
    """Resample [C, N] from ``sr_in`` to ``sr_out`` (Hz), without delay.

    The result has ``n_out`` samples, by default :func:`resampled_length`; the signal is taken as
    zero beyond its end. Channels do not influence each other.
    """
    n_in = x.shape[-1]
    n_out = resampled_length(n_in, sr_in, sr_out) if n_out is None else n_out
    if sr_in == sr_out:
        return np.ascontiguousarray(_fit(x, n_out), dtype=np.float32)
    if n_in == 0 or n_out == 0:
        return np.zeros((x.shape[0], n_out), np.float32)
    import soxr

    # soxr rounds its output length; a little silence at the end makes it long enough to cut.
    tail = 2 * -(-sr_in // sr_out) + 2
    padded = np.pad(np.asarray(x, dtype=np.float32), ((0, 0), (0, tail)))
    rows = [soxr.resample(row, sr_in, sr_out, quality="VHQ") for row in padded]
    return np.stack([_fit(row, n_out) for row in rows]).astype(np.float32, copy=False)


def check_finite(x: NDArray[Any], name: str) -> None:
    """Raise :class:`AudioError` that names the first sample of ``x`` [C, N] that is NaN or inf."""
    finite = np.isfinite(x)
    if not finite.all():
        # The first in time, whichever channel.
        sample, channel = (int(i) for i in np.argwhere(~finite.T)[0])
        raise AudioError(
            f"{name}: {int((~finite).sum())} samples are NaN or infinite,"
            f" the first is sample {sample} of channel {channel}"
        )


def check_sample_rate(sample_rate: object, name: str = "audio") -> int:
    """``sample_rate`` as an int in Hz, or :class:`AudioError`."""
    try:
        rate = operator.index(sample_rate)  # type: ignore[arg-type]
    except TypeError:
        if not (isinstance(sample_rate, float) and sample_rate.is_integer()):
            raise AudioError(f"{name}: sample rate {sample_rate!r} is no whole number") from None
        rate = int(sample_rate)
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {rate} Hz is outside {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        )
    return rate


def _open(path: PathLike, name: str) -> BinaryIO:
    """A seekable binary file; pipes are read into memory."""
    if is_pipe(path):
        source: BinaryIO = io.BytesIO(sys.stdin.buffer.read())
    else:
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError as error:
            raise AudioError(f"{name}: no such file") from error
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name}: it is a directory, an audio file is needed")
        source = open(path, "rb")  # noqa: SIM115  (the caller closes it)
        if not stat.S_ISREG(mode):
            with source:
                source = io.BytesIO(source.read())
    if source.seek(0, io.SEEK_END) == 0:
        source.close()
        raise AudioError(f"{name}: the file is empty")
    source.seek(0)
    return source


def _read_blocks(sound: Any) -> NDArray[np.float32]:
    """All samples [C, N] of an open SoundFile, by blocks: the header's length is only a claim."""
    block = max(1, _BLOCK_VALUES // sound.channels)
    parts = []
    while True:
        part = sound.read(min(block, max(sound.frames, 1)), dtype="float32", always_2d=True)
        if len(part) == 0:
            break
        parts.append(part)
    if not parts:
        return np.zeros((sound.channels, 0), np.float32)
    return np.ascontiguousarray(np.concatenate(parts).T)


def _check_wav_complete(source: BinaryIO, name: str) -> None:
    """Raise :class:`AudioError` for a WAV whose data chunk claims more bytes than there are.

    libsndfile reads such a file without a word, as if the shorter length had been meant.
    """
    size = source.seek(0, io.SEEK_END)
    source.seek(0)
    head = source.read(12)
    try:
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return
        position = 12
        while position + 8 <= size:
            source.seek(position)
            chunk = source.read(8)
            length = int.from_bytes(chunk[4:8], "little")
            position += 8
            if chunk[:4] == b"data":
                if position + length > size and length < _UNKNOWN_LENGTH:
                    raise AudioError(
                        f"{name}: cut short: its samples take {length} bytes,"
                        f" {size - position} of them are there"
                    )
                return
            position += length + (length & 1)
        raise AudioError(f"{name}: cut short: a WAV header without samples")
    finally:
        source.seek(0)


def _fit(x: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Cut or zero-pad the last axis to ``n``."""
    missing = n - x.shape[-1]
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)]) if missing > 0 else x[..., :n]
