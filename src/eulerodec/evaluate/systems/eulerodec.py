"""EuleroDec itself, with any weights."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ... import bitstream
from ...codec.weights import DEFAULT_WEIGHTS, find_weights
from ...errors import ConfigError
from ...settings import whole
from ..clips import SAMPLE_RATE
from .base import Coded, Signal, Spec, System, work_folder

if TYPE_CHECKING:
    from ...codec import Codec

__all__ = ["EuleroDecSystem"]


class EuleroDecSystem(System):
    """``eulerodec:6``, or ``DIR:6`` with a directory of weights or of a training run.

    Options: ``beam=N``, the paths of the code search; ``cut=R``, the file is cut to R kbps before
    it is decoded; ``constant``, every frame has the same number of codes, as many as the bitrate
    holds.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        spec.reject_options("beam", "cut", "constant")
        # torch takes seconds to load, and only this system needs it
        from ...quantize import DEFAULT_BEAM, MAX_BEAM
        from ...train.checkpoint import weights_file

        beam = spec.options.get("beam", DEFAULT_BEAM)
        number = int(beam) if str(beam).isdecimal() else beam
        self.beam = whole(f"{spec.text}: beam", number, 1, MAX_BEAM)
        if spec.options.get("constant"):
            raise ConfigError(f"{spec.text}: constant takes no value")
        self.cut_kbps = _number(spec, "cut") if "cut" in spec.options else None
        known = "eulerodec" if spec.kind == "eulerodec" else "weights"
        weights = DEFAULT_WEIGHTS if known == "eulerodec" else spec.kind
        self.directory = find_weights(weights)
        self._sha256 = hashlib.sha256(weights_file(self.directory).read_bytes()).hexdigest()
        codec = _codec(self.directory, self._sha256)
        self._codes_sha256 = codec.codes_sha256
        self.bitrate_kbps, self.n_codebooks = self.kbps, None
        if "constant" in spec.options:
            self.bitrate_kbps = None
            self.n_codebooks = int(self.kbps / codec.info.kbps_per_codebook + 1e-6)
        self._check_rates(codec)
        coding = f", {self.n_codebooks} codes a frame" if self.n_codebooks else ""
        cut = f", cut from {self.kbps:g} kbps" if self.cut_kbps else ""
        self.title = f"EuleroDec ({self.directory.name}, beam {self.beam}{coding}{cut})"

    def _check_rates(self, codec: Codec) -> None:
        try:
            codec.stream_info(bitrate_kbps=self.bitrate_kbps, n_codebooks=self.n_codebooks)
            if self.cut_kbps is not None:
                codec.stream_info(bitrate_kbps=self.cut_kbps)
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from error

    @property
    def identity(self) -> dict[str, str]:
        return {
            "weights_sha256": self._sha256,
            "codes_sha256": self._codes_sha256,
            "beam": str(self.beam),
        }

    def code(self, wav: Signal) -> Coded:
        from ...codec.encoded import Encoded
        from ...codec.streaming import FILE_BLOCK_FRAMES

        codec = _codec(self.directory, self._sha256)
        with work_folder() as folder:
            file = folder / "clip.eul"
            encoded = codec.encode(
                wav,
                SAMPLE_RATE,
                bitrate_kbps=self.bitrate_kbps,
                n_codebooks=self.n_codebooks,
                beam=self.beam,
            )
            encoded.at_rate(self.cut_kbps).save(file)
            data = file.read_bytes()
        decoded = codec.decode(Encoded.from_bytes(data), block_frames=FILE_BLOCK_FRAMES)
        header = bitstream.EulReader(io.BytesIO(data)).bytes_read  # it has read no more yet
        return Coded(decoded[0].numpy(), SAMPLE_RATE, len(data) - header, len(data))


def _number(spec: Spec, name: str) -> float:
    try:
        return float(spec.options[name])
    except ValueError as error:
        raise ConfigError(f"{spec.text}: {name} must be a bitrate, such as {name}=3") from error


@lru_cache(maxsize=4)
def _codec(directory: Path, sha256: str) -> Codec:
    """One codec per process and weights. ``sha256`` only tells changed files apart."""
    from ...codec import Codec
    from ...train.checkpoint import CHECKPOINT, load_average, weights_file

    file = weights_file(directory)
    if file.name != CHECKPOINT:
        return Codec.from_pretrained(directory)
    return Codec(load_average(file), name=directory.name)
