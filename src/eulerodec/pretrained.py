"""Weights on disk: a directory with ``config.json`` and ``model.safetensors``.

``config.json`` holds the fields of :class:`~eulerodec.model.ModelConfig` and

- ``format``: 1, the version of this layout;
- ``name``: the name of the weights;
- ``weights_sha256`` (optional): checked against the file when present;
- ``about`` (optional): free JSON about training, data and licence, shown by ``eulerodec info``.

Nothing here can run code: JSON and safetensors only. The identity of weights is the sha256 of
``model.safetensors``; compressed files carry its first 8 bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, WeightsError
from .files import PathLike, write_bytes

if TYPE_CHECKING:
    import torch

    from .model import EuleroDec, ModelConfig

__all__ = [
    "DEFAULT_WEIGHTS",
    "WEIGHTS_FORMAT",
    "Pretrained",
    "bundled_names",
    "find_weights",
    "load",
    "save",
    "weights_hash",
]

DEFAULT_WEIGHTS = "eulerodec-24khz"
WEIGHTS_FORMAT = 1
CONFIG_FILE = "config.json"
TENSOR_FILE = "model.safetensors"
CARD_FILE = "README.md"

_BUNDLED = Path(__file__).parent / "weights"
_MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True)
class Pretrained:
    """A model in eval mode and what is known of its weights."""

    model: EuleroDec
    name: str
    sha256: str  # 64 hex digits, of model.safetensors
    about: dict[str, Any] = field(default_factory=dict)
    card: str = ""  # text of README.md, empty if there is none


def bundled_names() -> list[str]:
    """Names of the weights that come with the package."""
    if not _BUNDLED.is_dir():
        return []
    return sorted(p.name for p in _BUNDLED.iterdir() if (p / CONFIG_FILE).is_file())


def find_weights(name_or_dir: PathLike) -> Path:
    """The directory of weights given by a path or by a bundled name.

    Errors: :class:`WeightsError` that says what was looked for.
    """
    path = Path(name_or_dir)
    if path.is_dir():
        return path
    name = str(name_or_dir)
    if name in bundled_names():
        return _BUNDLED / name
    known = ", ".join(bundled_names()) or "none"
    raise WeightsError(f"no weights {name!r}: neither a directory nor bundled (bundled: {known})")


def load(name_or_dir: PathLike = DEFAULT_WEIGHTS) -> Pretrained:
    """Load weights strictly, on the CPU, in eval mode.

    Errors: :class:`WeightsError`, naming the file, for one that is missing or damaged, for an
    unknown setting, and for any tensor that is missing, left over, of another shape or kind, or
    not finite.
    """
    from .model import EuleroDec, ModelConfig

    directory = find_weights(name_or_dir)
    fields = _read_config(directory / CONFIG_FILE)
    name = str(fields.pop("name", directory.name))
    stated = fields.pop("weights_sha256", None)
    about = fields.pop("about", {})
    tensor_file = directory / TENSOR_FILE
    data = _read(tensor_file)
    sha256 = hashlib.sha256(data).hexdigest()
    if stated is not None and stated != sha256:
        raise WeightsError(
            f"{tensor_file}: damaged, or not the file {CONFIG_FILE} is about:"
            f" sha256 is {sha256}, should be {stated}"
        )
    try:
        config: ModelConfig = ModelConfig.from_dict(fields)
        model = EuleroDec(config)
    except (ConfigError, TypeError) as error:
        raise WeightsError(f"{directory / CONFIG_FILE}: {error}") from error
    _load_tensors(model, data, tensor_file)
    card_file = directory / CARD_FILE
    card = card_file.read_text(encoding="utf-8", errors="replace") if card_file.is_file() else ""
    about = about if isinstance(about, dict) else {}
    return Pretrained(model.eval(), name, sha256, about, card)


def save(
    directory: PathLike,
    model: EuleroDec,
    *,
    name: str,
    about: dict[str, Any] | None = None,
    card: str = "",
    half: bool = False,
) -> str:
    """Write weights to ``directory`` (made if missing); returns the sha256 of the tensors.

    ``half`` stores float16: half the size, rounded once and for all (the file *is* the weights).
    Equal tensors give an equal file. Errors: ``OSError``.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    data = _to_bytes(model, half)
    sha256 = hashlib.sha256(data).hexdigest()
    head: dict[str, Any] = {"format": WEIGHTS_FORMAT, "name": name, "weights_sha256": sha256}
    fields = head | model.config.to_dict() | ({"about": about} if about else {})
    write_bytes(directory / TENSOR_FILE, data)
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    write_bytes(directory / CONFIG_FILE, text.encode())
    if card:
        write_bytes(directory / CARD_FILE, card.encode())
    return sha256


def weights_hash(model: EuleroDec) -> str:
    """The sha256 that :func:`save` would give, 64 hex digits."""
    return hashlib.sha256(_to_bytes(model)).hexdigest()


def _to_bytes(model: EuleroDec, half: bool = False) -> bytes:
    from safetensors.torch import save as to_bytes

    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    return to_bytes(tensors)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file, so this is no directory of weights") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error


def _read_config(path: Path) -> dict[str, Any]:
    data = _read(path)
    if len(data) > _MAX_CONFIG_BYTES:
        raise WeightsError(f"{path}: {len(data)} bytes, too long for a configuration")
    try:
        fields = json.loads(data)
    except ValueError as error:  # bad JSON, bad UTF-8
        raise WeightsError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(fields, dict):
        raise WeightsError(f"{path}: a JSON object is needed")
    version = fields.pop("format", None)
    if version != WEIGHTS_FORMAT:
        raise WeightsError(
            f"{path}: weights format {version!r}, this version of eulerodec reads {WEIGHTS_FORMAT}"
        )
    return fields


def _load_tensors(model: EuleroDec, data: bytes, path: Path) -> None:
    """Copy tensors into the model; every name, shape and kind (float, int) must agree."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    try:
        tensors: dict[str, torch.Tensor] = from_bytes(data)
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: damaged or no safetensors file: {error}") from error
    expected = model.state_dict()
    for problem, names in (
        ("misses", expected.keys() - tensors.keys()),
        ("has unknown", tensors.keys() - expected.keys()),
    ):
        if names:
            raise WeightsError(f"{path}: {problem} tensor {_some(names)}")
    for key, want in expected.items():
        have = tensors[key]
        if have.shape != want.shape:
            raise WeightsError(
                f"{path}: tensor {key} has shape {list(have.shape)}, needed {list(want.shape)}"
            )
        if have.is_floating_point() != want.is_floating_point():
            raise WeightsError(f"{path}: tensor {key} is {have.dtype}, needed {want.dtype}")
        if have.is_floating_point() and not bool(have.isfinite().all()):
            raise WeightsError(f"{path}: tensor {key} holds NaN or infinite values")
    model.load_state_dict(tensors)


def _some(names: set[str]) -> str:
    """The first name, and how many more there are."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first
