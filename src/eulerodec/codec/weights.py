"""Weights on disk: a directory with ``config.json``, ``model.safetensors``, ``codes.safetensors``.

``config.json`` holds the fields of :class:`~eulerodec.model.ModelConfig` and

- ``format``: 2, the version of this layout;
- ``name``: the name of the weights;
- ``weights_sha256`` (optional): checked against the file when present;
- ``codes`` (optional): a name of bundled weights, whose ``codes.safetensors`` is meant;
- ``model_type`` (optional): ``eulerodec``, by which ``transformers`` knows it;
- ``about`` (optional): free JSON about training, data and licence, shown by ``eulerodec info``.

Nothing here can run code: JSON and safetensors only, and nothing is allocated by what a file
claims: a network is built only as far as the file has the parameters for it (:mod:`.building`).
``model.safetensors`` is the network, its sha256 the identity of the weights.
``codes.safetensors`` is what the bits of a file mean (:class:`~eulerodec.quantize.CodeBook`);
``.eul`` files carry its hash alone, so a decoder that was trained on still reads them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, WeightsError
from ..files import PathLike, write_bytes

if TYPE_CHECKING:
    import torch

    from ..model import EuleroDec
    from ..quantize import CodeBook

__all__ = [
    "DEFAULT_WEIGHTS",
    "MODEL_TYPE",
    "WEIGHTS_FORMAT",
    "Pretrained",
    "build_network",
    "bundled_names",
    "find_weights",
    "load_codes",
    "load_tensors",
    "load_weights",
    "save_weights",
    "weights_hash",
]

DEFAULT_WEIGHTS = "eulerodec-24khz"
WEIGHTS_FORMAT = 2
MODEL_TYPE = "eulerodec"
CONFIG_FILE = "config.json"
TENSOR_FILE = "model.safetensors"
CODES_FILE = "codes.safetensors"
CARD_FILE = "README.md"

_BUNDLED = Path(__file__).parents[1] / "weights"
_MAX_CONFIG_BYTES = 1 << 20
_MAX_TENSOR_BYTES = 1 << 32
_MAX_CODES_BYTES = 1 << 28
_DTYPES = {  # names in safetensors files
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
}  # fmt: skip


Build = Callable[[dict[str, Any]], "EuleroDec"]


@dataclass(frozen=True)
class Pretrained:
    """A model in eval mode and what is known of its weights.

    Attributes:
        model: computes in float32, however the weights are stored.
        name: of the weights.
        sha256: 64 hex digits, of model.safetensors.
        about: training, data, licence.
        card: text of README.md, empty if there is none.
        dtypes: how each tensor is stored.
    """

    model: EuleroDec
    name: str
    sha256: str
    about: dict[str, Any] = field(default_factory=dict)
    card: str = ""
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)


def bundled_names() -> list[str]:
    """Names of the weights that come with the package."""
    if not _BUNDLED.is_dir():
        return []
    return sorted(p.name for p in _BUNDLED.iterdir() if (p / CONFIG_FILE).is_file())


def find_weights(name_or_dir: PathLike) -> Path:
    """The directory of weights given by a path or by a bundled name.

    Raises:
        WeightsError: saying what was looked for.
    """
    path = Path(name_or_dir)
    if path.is_dir():
        return path
    name = str(name_or_dir)
    if name in bundled_names():
        return _BUNDLED / name
    known = ", ".join(bundled_names()) or "none"
    raise WeightsError(f"no weights {name!r}: neither a directory nor bundled (bundled: {known})")


def load_weights(name_or_dir: PathLike = DEFAULT_WEIGHTS, build: Build | None = None) -> Pretrained:
    """Load weights strictly, on the CPU, in eval mode.

    Args:
        name_or_dir: the name of bundled weights, or a directory.
        build: makes the network from the settings in config.json; the codec's own by default.

    Returns:
        The network and what is known of it.

    Raises:
        WeightsError: naming the file, for one that is missing or damaged, for an unknown setting,
            and for any tensor that is missing, left over, of another shape or kind, or not finite.
    """
    import torch

    from .building import built_of

    directory = find_weights(name_or_dir)
    config_file = directory / CONFIG_FILE
    fields = _read_config(config_file)
    name = fields.pop("name", directory.name)
    if not isinstance(name, str):
        raise WeightsError(f"{config_file}: the name must be text, not {name!r:.40}")
    stated = fields.pop("weights_sha256", None)
    about = fields.pop("about", {})
    if build is None:
        build = partial(_build, book=_codes_of(directory, fields.pop("codes", None)))
    tensor_file = directory / TENSOR_FILE
    data = _read(tensor_file, _MAX_TENSOR_BYTES)
    sha256 = hashlib.sha256(data).hexdigest()
    if stated is not None and stated != sha256:
        raise WeightsError(
            f"{tensor_file}: damaged, or not the file {CONFIG_FILE} is about:"
            f" sha256 is {sha256}, should be {stated}"
        )
    shapes = _stored_shapes(data, tensor_file)
    model = built_of(partial(build, fields), (shape for _, shape in shapes.values()))
    try:
        if model is None:  # say why: of shapes only, without memory; it takes a second
            with torch.device("meta"):
                expected = build(fields).state_dict()
            _check_shapes(shapes, expected, tensor_file)
            model = build(fields)
    except ConfigError as error:
        raise WeightsError(f"{config_file}: {error}") from error
    _check_shapes(shapes, model.state_dict(), tensor_file)
    _load_tensors(model, data, tensor_file)
    card_file = directory / CARD_FILE
    card = ""
    if card_file.is_file():
        card = _read(card_file, _MAX_CONFIG_BYTES).decode("utf-8", "replace")
    about = about if isinstance(about, dict) else {}
    dtypes = {key: getattr(torch, dtype) for key, (dtype, _) in shapes.items()}
    return Pretrained(model.eval(), name, sha256, about, card, dtypes)


def load_codes(name_or_dir: PathLike) -> CodeBook:
    """What the codes of weights stand for.

    Raises:
        WeightsError: naming the file, for one that is missing or damaged.
    """
    directory = find_weights(name_or_dir)
    if (directory / CODES_FILE).exists():
        return _read_codes(directory / CODES_FILE)
    return _codes_of(directory, _read_config(directory / CONFIG_FILE).get("codes"))


def _codes_of(directory: Path, name: object) -> CodeBook:
    """The codes in a directory, or if it says so those of bundled weights."""
    if name is None:
        return _read_codes(directory / CODES_FILE)
    if name not in bundled_names():
        known = ", ".join(bundled_names())
        raise WeightsError(f"{directory / CONFIG_FILE}: codes = {name!r:.40} is not one of {known}")
    return _read_codes(_BUNDLED / str(name) / CODES_FILE)


def _read_codes(path: Path) -> CodeBook:
    from ..quantize import CodeBook

    data = _read(path, _MAX_CODES_BYTES)
    try:
        return CodeBook.from_bytes(data)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def build_network(settings: dict[str, Any]) -> EuleroDec:
    """The codec's network from the fields of a :class:`~eulerodec.model.ModelConfig`, and
    ``codes``: the name or directory of the weights whose codes it works with.

    Raises:
        ConfigError: an unknown setting, a wrong type or value, or settings that are possible one
            by one and make no network together.
        WeightsError: no such codes.
    """
    settings = dict(settings)
    codes = settings.pop("codes", DEFAULT_WEIGHTS)
    if not isinstance(codes, str):
        raise ConfigError(f"codes = {codes!r:.40} must be a name or a directory of weights")
    return _build(settings, load_codes(codes))


def _build(settings: dict[str, Any], book: CodeBook) -> EuleroDec:
    from ..model import EuleroDec, ModelConfig

    config = ModelConfig.from_dict(settings)
    try:
        return EuleroDec(config, book)
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = " ".join(str(error).split())
        raise ConfigError(f"no network has these settings: {reason:.300}") from error


def load_tensors(model: torch.nn.Module, file: PathLike) -> None:
    """Copy the tensors of a ``.safetensors`` file into a model, which must have just these.

    Raises:
        WeightsError: as for :func:`load_weights`.
    """
    path = Path(file)
    data = _read(path, _MAX_TENSOR_BYTES)
    _check_shapes(_stored_shapes(data, path), model.state_dict(), path)
    _load_tensors(model, data, path)


def save_weights(
    directory: PathLike,
    model: EuleroDec,
    *,
    name: str,
    about: dict[str, Any] | None = None,
    card: str = "",
    half: bool = False,
    dtypes: Mapping[str, torch.dtype] | None = None,
) -> str:
    """Write weights to ``directory`` (made if missing); equal tensors give an equal file.

    Args:
        directory: of the files.
        model: whose weights are written.
        name, about, card: see :class:`Pretrained`.
        half: store float16: half the size, rounded once and for all (the file *is* the weights).
        dtypes: how tensors were stored, see :class:`Pretrained`: those that lose nothing by it are
            stored so again, so weights that did not change keep their hash.

    Returns:
        The sha256 of the tensors' file.

    Raises:
        OSError: the files cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    data = _to_bytes(model, half, dtypes or {})
    sha256 = hashlib.sha256(data).hexdigest()
    head: dict[str, Any] = {"format": WEIGHTS_FORMAT, "model_type": MODEL_TYPE}
    head |= {"name": name, "weights_sha256": sha256}
    fields = head | model.config.to_dict() | ({"about": about} if about else {})
    write_bytes(directory / TENSOR_FILE, data)
    if (book := getattr(model, "book", None)) is not None:
        write_bytes(directory / CODES_FILE, book.to_bytes())
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    write_bytes(directory / CONFIG_FILE, text.encode())
    if card:
        write_bytes(directory / CARD_FILE, card.encode())
    return sha256


def weights_hash(model: EuleroDec) -> str:
    """The sha256 that :func:`save_weights` would give, 64 hex digits."""
    return hashlib.sha256(_to_bytes(model, False, {})).hexdigest()


def _to_bytes(model: EuleroDec, half: bool, dtypes: Mapping[str, torch.dtype]) -> bytes:
    from safetensors.torch import save as to_bytes

    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    for key in tensors.keys() & dtypes.keys():
        stored = tensors[key].to(dtypes[key])
        if stored.to(tensors[key].dtype).equal(tensors[key]):
            tensors[key] = stored
    return to_bytes(tensors)


def _read(path: Path, limit: int) -> bytes:
    """All of a file, whose size is looked at first; a pipe or device could be endless."""
    try:
        if path.exists() and not path.is_file():
            raise WeightsError(f"{path}: not a regular file")
        size = path.stat().st_size
        if size > limit:
            raise WeightsError(f"{path}: {size} bytes are too many, the limit is {limit}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file, so this is no directory of weights") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error


def _read_config(path: Path) -> dict[str, Any]:
    data = _read(path, _MAX_CONFIG_BYTES)
    try:
        fields = json.loads(data)
    except ValueError as error:  # bad JSON, bad UTF-8
        raise WeightsError(f"{path}: not valid JSON: {error}") from error
    except RecursionError as error:
        raise WeightsError(f"{path}: not valid JSON: nested too deeply") from error
    if not isinstance(fields, dict):
        raise WeightsError(f"{path}: a JSON object is needed")
    fields.pop("model_type", None)  # of other libraries
    version = fields.pop("format", None)
    if version != WEIGHTS_FORMAT:
        raise WeightsError(
            f"{path}: weights format {version!r}, this version of eulerodec reads {WEIGHTS_FORMAT}"
        )
    return fields


def _stored_shapes(data: bytes, path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every tensor in safetensors bytes, from their header alone.

    The header is JSON behind its size in 8 bytes, little-endian.
    """
    size = int.from_bytes(data[:8], "little")
    try:
        if len(data) < 8 or size > len(data) - 8:
            raise ValueError(f"a header of {size} bytes in a file of {len(data)}")
        head = json.loads(data[8 : 8 + size])
        shapes = {}
        for name, entry in head.items():
            if name == "__metadata__":
                continue
            dtype, shape = entry["dtype"], tuple(entry["shape"])
            if dtype not in _DTYPES or not all(type(n) is int and n >= 0 for n in shape):
                raise ValueError(f"tensor {name} of kind {dtype!r:.20} and shape {shape!r:.40}")
            shapes[name] = (_DTYPES[dtype], shape)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        reason = " ".join(f"{error}".split())
        raise WeightsError(f"{path}: damaged or no safetensors file: {reason:.200}") from error
    return shapes


def _check_shapes(
    shapes: dict[str, tuple[str, tuple[int, ...]]], expected: dict[str, torch.Tensor], path: Path
) -> None:
    """Every name, shape and kind (float, int) must agree with the network's."""
    for problem, names in (
        ("misses", expected.keys() - shapes.keys()),
        ("has unknown", shapes.keys() - expected.keys()),
    ):
        if names:
            raise WeightsError(f"{path}: {problem} tensor {_some(names)}")
    for key, want in expected.items():
        dtype, shape = shapes[key]
        if shape != tuple(want.shape):
            raise WeightsError(
                f"{path}: tensor {key} has shape {list(shape)}, needed {list(want.shape)}"
            )
        if ("float" in dtype) != want.is_floating_point():
            raise WeightsError(f"{path}: tensor {key} is {dtype}, needed {want.dtype}")


def _load_tensors(model: torch.nn.Module, data: bytes, path: Path) -> None:
    """Copy tensors, whose shapes were checked, into the model."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    try:
        tensors: dict[str, torch.Tensor] = from_bytes(data)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path}: damaged or no safetensors file: {error}") from error
    for key, have in tensors.items():
        if have.is_floating_point() and not bool(have.isfinite().all()):
            raise WeightsError(f"{path}: tensor {key} holds NaN or infinite values")
    model.load_state_dict(tensors)


def _some(names: set[str]) -> str:
    """The first name, and how many more there are."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first
