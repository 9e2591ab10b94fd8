"""Does this installation compute what it should?

Codes and audio of the bundled clip are compared with golden ones that lie beside the weights, and
with themselves: through a file, in a stream, in a batch, with other threads and block sizes. What
may differ and by how much: docs/determinism.md.

Golden files of a directory of weights, made by :func:`write_golden`:

- ``golden.eul``: the clip with all stages; its comment says what made it
- ``golden.f32``: every 37th sample of the audio it decodes to, float32, little-endian
"""

from __future__ import annotations

import platform
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import audio
from ..bitstream import Metadata
from ..errors import BitstreamError
from ..files import PathLike, write_bytes
from ..samples import SAMPLE
from .api import Codec
from .encoded import Encoded
from .streaming import BLOCK_FRAMES, FILE_BLOCK_FRAMES
from .weights import DEFAULT_WEIGHTS, find_weights

__all__ = [
    "AUDIO_TOLERANCE",
    "CODE_TOLERANCE",
    "FAILED",
    "NOT_CHECKED",
    "OK",
    "WITHIN",
    "Check",
    "examine",
    "table",
    "write_golden",
]

OK, WITHIN, FAILED, NOT_CHECKED = "ok", "within tolerance", "failed", "not checked"

AUDIO_TOLERANCE = 1e-5  # of full scale
CODE_TOLERANCE = 0.01  # share of codes: where two are equally near, rounding decides

_STRIDE = 37  # of the golden samples; shares no factor with the hop
_CODES, _SAMPLES = "golden.eul", "golden.f32"
_PACKAGES = ("eulerodec", "torch", "numpy", "safetensors", "soundfile", "soxr", "click")
_CHUNKS = (1, 263, 997, 24_000)  # samples, of the streaming check


@dataclass(frozen=True)
class Check:
    """One row: what was checked, the outcome (:data:`OK`, ...), and numbers where there are any.

    ``codes_differ`` of ``codes``; ``max_error`` of the audio, full scale 1.
    """

    name: str
    status: str
    detail: str
    codes_differ: int | None = None
    codes: int | None = None
    max_error: float | None = None


def examine(
    weights: PathLike = DEFAULT_WEIGHTS, *, device: str = "cpu", threads: int | None = None
) -> dict[str, Any]:
    """Check this installation with some weights; returns what :func:`table` prints.

    ``ok`` is False if a check failed. Errors: as :meth:`Codec.from_pretrained`.
    """
    before = torch.get_num_threads()
    directory = find_weights(weights)
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        codec = Codec.from_pretrained(directory, device)
        checks = _checks(codec, directory)
    finally:
        torch.set_num_threads(before)
    return {
        "ok": all(check.status != FAILED for check in checks),
        "versions": _versions(),
        "machine": _machine(device, threads or before),
        "weights": {
            "directory": str(directory),
            "name": codec.name,
            "sha256": codec.weights_sha256,
        },
        "tolerance": {"codes": CODE_TOLERANCE, "audio": AUDIO_TOLERANCE},
        "checks": [asdict(check) for check in checks],
    }


def table(report: dict[str, Any]) -> str:
    """The report as lines of text."""
    machine, weights, tolerance = (report[key] for key in ("machine", "weights", "tolerance"))
    lines = [
        "versions   " + ", ".join(f"{k} {v}" for k, v in report["versions"].items()),
        "machine    " + ", ".join(f"{k} {v}" for k, v in machine.items()),
        f"weights    {weights['name']} {weights['sha256'][:16]} in {weights['directory']}",
        f"tolerance  {tolerance['codes']:.0%} of codes, {tolerance['audio']:.0e} of full scale",
        "",
    ]
    width = max(len(check["name"]) for check in report["checks"])
    lines += [
        f"{check['name']:<{width}}  {check['status']:<{len(WITHIN)}}  {check['detail']}"
        for check in report["checks"]
    ]
    return "\n".join(lines)


def write_golden(weights: PathLike) -> list[Path]:
    """Make the golden files of a directory of weights, on the CPU; returns their names.

    Errors: as :meth:`Codec.from_pretrained`, ``OSError``.
    """
    directory = find_weights(weights)
    codec = Codec.from_pretrained(directory)
    made = codec.encode(*audio.read(SAMPLE), n_codebooks=codec.model.n_codebooks)
    cpu = torch.backends.cpu.get_cpu_capability()
    version = metadata.version("eulerodec")
    note = f"made by eulerodec {version}, torch {torch.__version__}, {cpu}"
    info = made.info.with_metadata(Metadata(title="golden codes", comment=note))
    samples = codec.decode(made)[0, ::_STRIDE].numpy().astype("<f4")
    write_bytes(directory / _CODES, Encoded(made.codes, info).to_bytes())
    write_bytes(directory / _SAMPLES, samples.tobytes())
    return [directory / _CODES, directory / _SAMPLES]


def _checks(codec: Codec, directory: Path) -> list[Check]:
    wav, rate = audio.read(SAMPLE)
    stages = codec.model.n_codebooks
    encoded = codec.encode(wav, rate, n_codebooks=stages)
    decoded = codec.decode(encoded)
    return [
        *_golden(codec, directory, encoded),
        _file(encoded),
        _streaming(codec, wav, encoded, decoded),
        _blocks(codec, wav, encoded, decoded),
        _batch(codec, wav, encoded, decoded),
        _threads(codec, wav, encoded, decoded),
    ]


def _golden(codec: Codec, directory: Path, encoded: Encoded) -> list[Check]:
    """Codes and audio against what was computed when the weights were shipped."""
    names = "golden codes", "golden audio"
    try:
        golden = Encoded.from_bytes((directory / _CODES).read_bytes())
        samples = np.frombuffer((directory / _SAMPLES).read_bytes(), "<f4")
    except FileNotFoundError as error:
        text = f"no {Path(str(error.filename)).name} beside these weights"
        return [Check(name, NOT_CHECKED, text) for name in names]
    except (BitstreamError, ValueError) as error:
        return [Check(name, FAILED, f"damaged golden file: {error}") for name in names]
    own, other = codec.weights_sha256[:16], golden.info.weights_hash.hex()
    if own != other:
        text = f"the golden files were made with other weights, {other}, and cannot be used"
        return [Check(name, FAILED, text) for name in names]
    if golden.codes.shape != encoded.codes.shape:
        text = f"shape {list(encoded.codes.shape)}, golden {list(golden.codes.shape)}"
        return [Check(name, FAILED, text) for name in names]
    decoded = codec.decode(golden)[0, ::_STRIDE]
    if len(samples) != len(decoded):
        text = f"{len(decoded)} samples, golden {len(samples)}"
        return [_compared(names[0], (encoded.codes, golden.codes)), Check(names[1], FAILED, text)]
    return [
        _compared(names[0], (encoded.codes, golden.codes), note=golden.info.metadata.comment),
        _compared(names[1], None, (decoded, torch.from_numpy(samples.copy()))),
    ]


def _file(encoded: Encoded) -> Check:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.eul"
        write_bytes(path, encoded.to_bytes())
        back = Encoded.from_bytes(path.read_bytes())
    same = torch.equal(back.codes, encoded.codes) and back.info == encoded.info
    text = f"{encoded.codes.numel()} codes written and read"
    return Check("file", OK if same else FAILED, text if same else text + ", not the same")


def _streaming(codec: Codec, wav: np.ndarray, encoded: Encoded, decoded: Tensor) -> Check:
    """Chunks from one sample to a second, against the whole; must be exact."""
    stages = encoded.n_codebooks
    encoder = codec.streaming_encoder(n_codebooks=stages, sample_rate=encoded.sample_rate)
    decoder = codec.streaming_decoder(n_codebooks=stages, sample_rate=encoded.sample_rate)
    codes, parts, at, k = [], [], 0, 0
    while at < wav.shape[1]:
        size = _CHUNKS[k % len(_CHUNKS)]
        codes.append(encoder.push(wav[:, at : at + size]))
        parts.append(decoder.push(codes[-1]))
        at, k = at + size, k + 1
    codes.append(encoder.flush())
    parts += [decoder.push(codes[-1]), decoder.flush(encoder.n_samples, wav.shape[1])]
    got = torch.cat(codes, -1), torch.cat(parts, -1)
    return _compared(
        "streaming", (got[0], encoded.codes), (got[1], decoded), "chunks against the whole", True
    )


def _blocks(codec: Codec, wav: np.ndarray, encoded: Encoded, decoded: Tensor) -> Check:
    other = codec.encode(
        wav, encoded.sample_rate, n_codebooks=encoded.n_codebooks, block_frames=FILE_BLOCK_FRAMES
    )
    return _compared(
        "block size",
        (other.codes, encoded.codes),
        (codec.decode(encoded, block_frames=FILE_BLOCK_FRAMES), decoded),
        f"{FILE_BLOCK_FRAMES} frames against {BLOCK_FRAMES}",
    )


def _batch(codec: Codec, wav: np.ndarray, encoded: Encoded, decoded: Tensor) -> Check:
    """The clip as one of three channels, which are a batch for the network."""
    three = np.concatenate([wav[:, ::-1], wav, 0 * wav])
    batch = codec.encode(three, encoded.sample_rate, n_codebooks=encoded.n_codebooks)
    codes = torch.cat([batch.codes[:1], encoded.codes, batch.codes[2:]])
    audio_of_batch = codec.decode(Encoded(codes, batch.info))[1:2]
    return _compared(
        "batch", (batch.codes[1:2], encoded.codes), (audio_of_batch, decoded), "one of 3 against 1"
    )


def _threads(codec: Codec, wav: np.ndarray, encoded: Encoded, decoded: Tensor) -> Check:
    """Other numbers of threads; the caller restores it."""
    now = torch.get_num_threads()
    other = 1 if now > 1 else 2
    torch.set_num_threads(other)
    again = codec.encode(wav, encoded.sample_rate, n_codebooks=encoded.n_codebooks)
    sound = codec.decode(encoded)
    torch.set_num_threads(now)
    return _compared(
        "threads", (again.codes, encoded.codes), (sound, decoded), f"{other} against {now}"
    )


def _compared(
    name: str,
    codes: tuple[Tensor, Tensor] | None = None,
    sound: tuple[Tensor, Tensor] | None = None,
    note: str = "",
    exact: bool = False,
) -> Check:
    """Codes and audio against what they should be; ``exact``: without any tolerance."""
    words, share, differ, total, error = [], 0.0, None, None, None
    if codes is not None:
        differ, total = int((codes[0] != codes[1]).sum()), codes[0].numel()
        share = differ / max(total, 1)
        words.append(f"{differ} of {total} codes differ" if differ else f"{total} codes the same")
    if sound is not None:
        error = float((sound[0] - sound[1]).abs().max())
        words.append(f"audio differs by {error:.1e}" if error else "audio the same")
    if not differ and not error:
        status = OK
    elif exact or share > CODE_TOLERANCE or not (error or 0.0) <= AUDIO_TOLERANCE:
        status = FAILED  # NaN too
    else:
        status = WITHIN
    detail = ", ".join(words) + (f" ({note})" if note else "")
    return Check(name, status, detail, differ, total, error)


def _versions() -> dict[str, str]:
    versions = {name: metadata.version(name) for name in _PACKAGES}
    return versions | {"python": platform.python_version()}


def _machine(device: str, threads: int) -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "device": device,
    }
