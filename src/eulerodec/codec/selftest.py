"""Does this installation compute what it should?

Codes and audio of the bundled clip are compared with golden ones that lie beside the weights, and
with themselves: through a file, in a stream, in a batch, with other threads and block sizes. What
may differ and by how much: docs/determinism.md.

Golden files of a directory of weights, made by :func:`write_golden`:

- ``golden.eul``: the clip as codes of the constant coding; which ones, a search in floats decides
- ``golden_planes.eul``: the clip as planes, whose codes must come back the same on every machine
- ``golden.f32``: every 37th sample of the audio of both, one after the other, float32,
  little-endian
- ``golden.json``: what made them, and the sha256 of the weights and of the planes' codes
"""

from __future__ import annotations

import hashlib
import json
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
from ..errors import EuleroDecError
from ..files import PathLike, write_bytes
from ..samples import SAMPLE
from .api import Codec
from .encoded import Encoded
from .streaming import BLOCK_FRAMES, FILE_BLOCK_FRAMES, StreamEncoder
from .threads import set_threads
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
_CODEBOOKS, _KBPS = 12, 12
_CODES, _PLANES, _SAMPLES, _FACTS = (
    "golden.eul", "golden_planes.eul", "golden.f32", "golden.json",
)  # fmt: skip
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
        used = set_threads(threads)
        codec = Codec.from_pretrained(directory, device)
        checks = _checks(codec, directory)
    finally:
        torch.set_num_threads(before)
    return {
        "ok": all(check.status != FAILED for check in checks),
        "versions": _versions(),
        "machine": _machine(device, used),
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
    tokens, planes = _encoded(codec, *audio.read(SAMPLE))
    cpu = torch.backends.cpu.get_cpu_capability()
    version = metadata.version("eulerodec")
    facts = {
        "made_by": f"eulerodec {version}, torch {torch.__version__}, {cpu}",
        "weights_sha256": codec.weights_sha256,
        "planes_sha256": _planes_sha256(codec, planes),
    }
    samples = np.concatenate([codec.decode(x)[0, ::_STRIDE].numpy() for x in (tokens, planes)])
    contents = {
        _CODES: tokens.to_bytes(),
        _PLANES: planes.to_bytes(),
        _SAMPLES: samples.astype("<f4").tobytes(),
        _FACTS: (json.dumps(facts, indent=2) + "\n").encode(),
    }
    for name, data in contents.items():
        write_bytes(directory / name, data)
    return [directory / name for name in contents]


def _encoded(codec: Codec, wav: np.ndarray, rate: int) -> tuple[Encoded, Encoded]:
    """The clip in the constant coding, and as planes."""
    n_codebooks = min(_CODEBOOKS, codec.info.n_codebooks)
    return (
        codec.encode(wav, rate, n_codebooks=n_codebooks),
        codec.encode(wav, rate, bitrate_kbps=_KBPS),
    )


def _planes_sha256(codec: Codec, planes: Encoded) -> str:
    """Of all codes in the payloads: whole numbers, so there is one right answer."""
    digest = hashlib.sha256()
    for packet in planes.packets:
        found = codec.model.coder.payload.decode(
            packet.payload or b"", planes.n_channels, packet.n_frames
        )
        for array in (found.levels, found.energies, found.latents):
            digest.update(array.astype("<i8").tobytes())
    return digest.hexdigest()


def _checks(codec: Codec, directory: Path) -> list[Check]:
    wav, rate = audio.read(SAMPLE)
    tokens, planes = _encoded(codec, wav, rate)
    decoded = codec.decode(tokens)
    return [
        *_golden(codec, directory, tokens),
        _file(planes),
        _streaming(codec, wav, planes),
        _blocks(codec, tokens, decoded),
        _batch(codec, wav, tokens, decoded),
        _threads(codec, wav, tokens, decoded),
    ]


def _golden(codec: Codec, directory: Path, tokens: Encoded) -> list[Check]:
    """Codes and audio against what was computed when the weights were shipped."""
    names = "golden codes", "golden planes", "golden audio"
    try:
        facts = json.loads((directory / _FACTS).read_bytes())
        own, other = codec.weights_sha256, str(facts["weights_sha256"])
        if own != other:
            text = f"the golden files were made with other weights, {other[:16]}"
            return [Check(name, FAILED, text) for name in names]
        files = [Encoded.from_bytes((directory / name).read_bytes()) for name in (_CODES, _PLANES)]
        golden, planes = files
        codes = golden.codes
        sound = torch.cat([codec.decode(file)[0, ::_STRIDE] for file in files])
        samples = np.frombuffer((directory / _SAMPLES).read_bytes(), "<f4")
        want, made_by = str(facts["planes_sha256"]), str(facts["made_by"])
        for found, expected in ((codes.shape, tokens.codes.shape), (samples.shape, sound.shape)):
            if found != expected:
                raise ValueError(f"shape {list(found)}, not {list(expected)}")
    except FileNotFoundError as error:
        text = f"no {Path(str(error.filename)).name} beside these weights"
        return [Check(name, NOT_CHECKED, text) for name in names]
    except (EuleroDecError, LookupError, TypeError, ValueError) as error:
        return [Check(name, FAILED, f"damaged golden file: {error}") for name in names]
    same = _planes_sha256(codec, planes) == want
    text = f"codes of {len(planes.packets)} packets " + ("the same" if same else "differ")
    return [
        _compared(names[0], (tokens.codes, codes), note=f"made by {made_by}"),
        Check(names[1], OK if same else FAILED, text),
        _compared(names[2], None, (sound, torch.from_numpy(samples.copy()))),
    ]


def _file(planes: Encoded) -> Check:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.eul"
        planes.save(path)
        same = Encoded.open(path) == planes
    text = f"{len(planes.packets)} packets written and read"
    return Check("file", OK if same else FAILED, text if same else text + ", not the same")


def _streaming(codec: Codec, wav: np.ndarray, planes: Encoded) -> Check:
    """Chunks from one sample to a second, against the whole; must be exact."""
    encoder = StreamEncoder(codec.model, planes.info)
    decoder = codec.streaming_decoder(planes.info, block_frames=BLOCK_FRAMES)
    packets, parts, at, k = [], [], 0, 0
    while at < wav.shape[1]:
        size = _CHUNKS[k % len(_CHUNKS)]
        packets += encoder.push(wav[:, at : at + size])
        at, k = at + size, k + 1
    packets += encoder.flush()
    parts += [decoder.push(packet) for packet in packets]
    parts.append(decoder.flush(encoder.n_samples, wav.shape[1]))
    same = tuple(packets) == planes.packets
    error = float((torch.cat(parts, -1) - codec.decode(planes)).abs().max())
    detail = ", ".join(
        [
            f"{len(packets)} packets the same" if same else "packets differ",
            f"audio differs by {error:.1e}" if error else "audio the same",
        ]
    )
    status = OK if same and not error else FAILED
    return Check("streaming", status, f"{detail} (chunks against the whole)", max_error=error)


def _blocks(codec: Codec, tokens: Encoded, decoded: Tensor) -> Check:
    other = codec.decode(tokens, block_frames=FILE_BLOCK_FRAMES)
    note = f"{FILE_BLOCK_FRAMES} frames against {BLOCK_FRAMES}"
    return _compared("block size", None, (other, decoded), note)


def _batch(codec: Codec, wav: np.ndarray, tokens: Encoded, decoded: Tensor) -> Check:
    """The clip as one of three channels, which are a batch for the network."""
    three = np.concatenate([wav[:, ::-1], wav, 0 * wav])
    batch = codec.encode(three, tokens.sample_rate, n_codebooks=tokens.info.n_codebooks)
    codes, levels = batch.codes.clone(), batch.levels.clone()
    codes[1], levels[1] = tokens.codes[0], tokens.levels[0]  # so that the audio can be compared
    sound = codec.decode(Encoded.from_codes(codes, batch.info, levels))[1:2]
    return _compared(
        "batch", (batch.codes[1:2], tokens.codes), (sound, decoded), "one of 3 against 1"
    )


def _threads(codec: Codec, wav: np.ndarray, tokens: Encoded, decoded: Tensor) -> Check:
    """Other numbers of threads; the caller restores it."""
    now = torch.get_num_threads()
    other = 1 if now > 1 else 2
    torch.set_num_threads(other)
    again = codec.encode(wav, tokens.sample_rate, n_codebooks=tokens.info.n_codebooks)
    sound = codec.decode(tokens)
    torch.set_num_threads(now)
    return _compared(
        "threads", (again.codes, tokens.codes), (sound, decoded), f"{other} against {now}"
    )


def _compared(
    name: str,
    codes: tuple[Tensor, Tensor] | None = None,
    sound: tuple[Tensor, Tensor] | None = None,
    note: str = "",
) -> Check:
    """Codes and audio against what they should be."""
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
    elif share > CODE_TOLERANCE or not (error or 0.0) <= AUDIO_TOLERANCE:
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
