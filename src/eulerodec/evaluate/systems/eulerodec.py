"""EuleroDec itself, with any weights."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ... import bitstream
from ...bitstream.tables import TABLES_FILE, load_tables
from ...codec.weights import DEFAULT_WEIGHTS, find_weights
from ...errors import ConfigError, WeightsError
from ...settings import whole
from ..clips import SAMPLE_RATE
from .base import Coded, Signal, Spec, System, work_folder

if TYPE_CHECKING:
    from ...codec import Codec

__all__ = ["EuleroDecSystem"]


class EuleroDecSystem(System):
    """``eulerodec:6``, or ``DIR:6`` with a directory of weights or of a training run.

    Options: ``beam=N``, the paths of the code search; ``entropy``, the same codes in smaller files.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        spec.reject_options("beam", "entropy")
        # torch takes seconds to load, and only this system needs it
        from ...quantize import DEFAULT_BEAM, MAX_BEAM
        from ...train.checkpoint import weights_file

        beam = spec.options.get("beam", DEFAULT_BEAM)
        number = int(beam) if str(beam).isdecimal() else beam
        self.beam = whole(f"{spec.text}: beam", number, 1, MAX_BEAM)
        known = "eulerodec" if spec.kind == "eulerodec" else "weights"
        weights = DEFAULT_WEIGHTS if known == "eulerodec" else spec.kind
        self.directory = find_weights(weights)
        self._sha256 = hashlib.sha256(weights_file(self.directory).read_bytes()).hexdigest()
        self._tables = self._hash_of_tables(spec) if "entropy" in spec.options else None
        coding = ", entropy coded" if self._tables else ""
        self.title = f"EuleroDec ({self.directory.name}, beam {self.beam}{coding})"

    def _hash_of_tables(self, spec: Spec) -> str:
        if spec.options["entropy"]:
            raise ConfigError(f"{spec.text}: entropy takes no value")
        tables = load_tables(self.directory)
        if tables is None:
            raise WeightsError(f"{spec.text}: {self.directory} has no {TABLES_FILE}")
        return tables.hash.hex()

    @property
    def identity(self) -> dict[str, str]:
        told = {"weights_sha256": self._sha256, "beam": str(self.beam)}
        return told | ({"entropy_tables": self._tables} if self._tables else {})

    def code(self, wav: Signal) -> Coded:
        from ...codec.encoded import Encoded
        from ...codec.streaming import FILE_BLOCK_FRAMES

        codec = _codec(self.directory, self._sha256)
        with work_folder() as folder:
            file = folder / "clip.eul"
            encoded = codec.encode(
                wav,
                SAMPLE_RATE,
                bitrate_kbps=self.kbps,
                beam=self.beam,
                block_frames=FILE_BLOCK_FRAMES,
                entropy_coding=self._tables is not None,
            )
            file.write_bytes(encoded.to_bytes())
            data = file.read_bytes()
        decoded = codec.decode(Encoded.from_bytes(data), block_frames=FILE_BLOCK_FRAMES)
        header = bitstream.EulReader(io.BytesIO(data)).bytes_read  # it has read no more yet
        return Coded(decoded[0].numpy(), SAMPLE_RATE, len(data) - header, len(data))


@lru_cache(maxsize=4)
def _codec(directory: Path, sha256: str) -> Codec:
    """One codec per process and weights. ``sha256`` only tells changed files apart."""
    from ...codec import Codec
    from ...train.checkpoint import CHECKPOINT, load_average, weights_file

    file = weights_file(directory)
    if file.name != CHECKPOINT:
        return Codec.from_pretrained(directory)
    tables = load_tables(directory)
    return Codec(load_average(file), name=directory.name, entropy_tables=tables)
