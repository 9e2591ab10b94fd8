"""A folder with all that coding without torch needs; ``eulerodec export`` makes it.

- ``analysis.onnx``, ``decoder.onnx``: the two halves of the network
- ``codes.safetensors``: what the bits of a file mean, as beside the weights
- ``onnx.json``, written last: name and sha256 of the weights, numbers that fix the framing, and the
  sha256 of the other files
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import ConfigError, WeightsError
from ..files import PathLike, write_bytes
from ..settings import build

__all__ = ["ANALYSIS_FILE", "CODES_FILE", "DECODER_FILE", "Facts", "Folder", "write_folder"]

FORMAT = 1
ANALYSIS_FILE, DECODER_FILE = "analysis.onnx", "decoder.onnx"
CODES_FILE, FACTS_FILE = "codes.safetensors", "onnx.json"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a folder says of itself.

    Attributes:
        name, weights_sha256: of the weights.
        sample_rate: Hz.
        hop_length: samples of a frame.
        look_back, look_ahead: frames of latents that a frame of the decoded spectrum depends on.
        sha256: of each other file.
    """

    name: str
    weights_sha256: str
    sample_rate: int
    hop_length: int
    look_back: int
    look_ahead: int
    sha256: dict[str, str]

    def n_frames(self, n_samples: int) -> int:
        """Frames of so many samples: ceil(N / hop_length) + 1, 0 for 0."""
        return -(-n_samples // self.hop_length) + 1 if n_samples else 0


class Folder:
    """An exported folder to read from.

    Raises:
        WeightsError: there is none.
    """

    def __init__(self, directory: PathLike) -> None:
        self._path = Path(directory)
        file = self._path / FACTS_FILE
        try:
            fields = json.loads(file.read_bytes())
            if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
                raise WeightsError(f"{file}: not of format {FORMAT}: export the weights again")
            self.facts = build(Facts, fields)
        except FileNotFoundError as error:
            raise WeightsError(
                f"{file}: no such file: `eulerodec export -o {self._path}` makes it"
            ) from error
        except (ConfigError, TypeError, ValueError) as error:
            raise WeightsError(f"{file}: damaged: {error}") from error

    def read(self, name: str) -> bytes:
        """All of a file.

        Raises:
            WeightsError: it is missing, or not the one that the folder was made with.
        """
        path = self._path / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != self.facts.sha256.get(name):
            raise WeightsError(f"{path}: damaged, or of another export")
        return data


def write_folder(directory: PathLike, facts: Facts, files: dict[str, bytes]) -> list[Path]:
    """Write a folder, made if missing; ``facts.sha256`` is filled in.

    Raises:
        OSError: the files cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    fields = {"format": FORMAT} | asdict(facts) | {"sha256": hashes}
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    files = files | {FACTS_FILE: text.encode()}
    for name, data in files.items():
        write_bytes(directory / name, data)
    return [directory / name for name in files]
