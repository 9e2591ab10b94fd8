"""What encoding gives: codes, and what is needed to decode them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from .. import audio, bitstream
from ..bitstream import LOST, Damage, EulReader, Metadata, Packet, StreamInfo, plan_range
from ..errors import BitstreamError, ConfigError
from ..files import Sink, Source, atomic_output, naming, open_input
from ..settings import whole
from .rates import kbps_per_stage, stages_for

__all__ = ["Encoded", "Seconds", "open_range", "read_stages"]

Seconds = float | Fraction


@dataclass(frozen=True, eq=False, repr=False)
class Encoded:
    """Codes of one recording and what is needed to decode them.

    Attributes:
        codes: int64 ``[C, K, T]``, a row per channel, K = ``n_codebooks``, T latent frames; -1
            stands for a code that is lost.
        info: the header of the file that these codes make.
        damage: what was wrong with the file they were read from; empty unless it was read with
            ``recover=True``.

    Raises:
        BitstreamError: codes that are no integers, lie out of range, or do not fit the header.
    """

    codes: Tensor
    info: StreamInfo
    damage: list[Damage] = field(default_factory=list)

    def __post_init__(self) -> None:
        codes, info = torch.as_tensor(self.codes), self.info
        want = [info.n_channels, info.n_codebooks]
        integers = not (
            codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool
        )
        if codes.ndim != 3 or list(codes.shape[:2]) != want or not integers:
            raise BitstreamError(
                f"codes must be integers of shape [{want[0]}, {want[1]}, T],"
                f" not {codes.dtype} {list(codes.shape)}"
            )
        codes = codes.to(torch.int64)
        top = (1 << info.codebook_bits) - 1
        if codes.numel() and not LOST <= int(codes.min()) <= int(codes.max()) <= top:
            raise BitstreamError(f"a code lies outside 0 to {top} (or {LOST}: lost)")
        object.__setattr__(self, "codes", codes)

    def __repr__(self) -> str:
        channels = "1 channel" if self.n_channels == 1 else f"{self.n_channels} channels"
        return (
            f"Encoded({self.duration_s:.2f} s at {self.sample_rate} Hz, {channels},"
            f" {self.bitrate_kbps:g} kbps each, codes {list(self.codes.shape)})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Encoded):
            return NotImplemented
        same = self.info == other.info and self.damage == other.damage
        return same and torch.equal(self.codes.cpu(), other.codes.cpu())

    __hash__ = None  # type: ignore[assignment]

    @property
    def sample_rate(self) -> int:
        """Sample rate of the input in Hz."""
        return self.info.input_sample_rate

    @property
    def n_samples(self) -> int:
        """Samples per channel of the input, at its own rate."""
        return self._counts[1]

    @property
    def n_samples_model(self) -> int:
        """Samples per channel at the model's rate."""
        return self._counts[0]

    @property
    def _counts(self) -> tuple[int, int]:
        return self.info.capped_counts(self.codes.shape[-1])

    @property
    def n_channels(self) -> int:
        return self.info.n_channels

    @property
    def n_codebooks(self) -> int:
        """Stages K of the codes."""
        return self.info.n_codebooks

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.info.frame_rate

    @property
    def bitrate_kbps(self) -> float:
        """Bitrate of the codes of one channel, without the container."""
        return self.info.nominal_kbps / self.info.n_channels

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return self.n_samples / self.sample_rate

    @property
    def metadata(self) -> Metadata:
        """Title, comment and gain of the file."""
        return self.info.metadata

    def truncate(self, n_codebooks: int) -> Encoded:
        """The same recording with only the first stages: a lower rate without encoding again.

        Raises:
            ConfigError: for more stages than there are.
        """
        n = whole("n_codebooks", n_codebooks, 1, self.n_codebooks)
        return Encoded(self.codes[:, :n], self.info.replace(n_codebooks=n), self.damage)

    def to_bytes(self) -> bytes:
        """These codes as the bytes of an ``.eul`` file.

        Raises:
            BitstreamError: some codes are lost.
        """
        if bool((self.codes < 0).any()):
            lost = int((self.codes[:, 0] < 0).any(0).sum())
            raise BitstreamError(
                f"codes of {lost} frames are lost, which a file cannot say: decode them instead"
            )
        return bitstream.dumps(self.info, self.codes.cpu().numpy())

    def save(self, target: Sink) -> None:
        """Write an ``.eul`` file.

        Args:
            target: a path, ``-`` for standard output, or a binary file object.

        Raises:
            BitstreamError: as for :meth:`to_bytes`.
            ConfigError: a target whose name says audio.
            OSError: the file cannot be written; there is then none, or the one from before.
        """
        audio.check_eul_name(target)
        data = self.to_bytes()
        with atomic_output(target) as sink:
            sink.write(data)

    @classmethod
    def open(
        cls,
        source: Source,
        *,
        bitrate_kbps: float | None = None,
        n_codebooks: int | None = None,
        start_s: Seconds | None = None,
        stop_s: Seconds | None = None,
        recover: bool = False,
    ) -> Encoded:
        """Read an ``.eul`` file, or a part of it.

        Args:
            source: a path, ``-`` for standard input, or a binary file object.
            bitrate_kbps: read only the stages of this rate, or
            n_codebooks: so many stages; all by default.
            start_s, stop_s: only the samples nearest to these seconds; start and end by default.
                Only what they need of the file is read.
            recover: read what is sound of a damaged file; see ``codes`` and ``damage``.

        Raises:
            BitstreamError: no such file, not an ``.eul`` file, a damaged one, an empty range.
            ConfigError: a rate that the file does not have.
            OSError: the file cannot be read.
        """
        part = start_s is not None or stop_s is not None
        with open_input(source, "an .eul file", BitstreamError, seek=part) as file, naming(source):
            return cls._read(file, bitrate_kbps, n_codebooks, start_s, stop_s, recover)

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        *,
        bitrate_kbps: float | None = None,
        n_codebooks: int | None = None,
        start_s: Seconds | None = None,
        stop_s: Seconds | None = None,
        recover: bool = False,
    ) -> Encoded:
        """Read the bytes of an ``.eul`` file; arguments and errors as for :meth:`open`."""
        file = io.BytesIO(data)
        return cls._read(file, bitrate_kbps, n_codebooks, start_s, stop_s, recover)

    @classmethod
    def _read(
        cls,
        file: BinaryIO,
        bitrate_kbps: float | None,
        n_codebooks: int | None,
        start_s: Seconds | None,
        stop_s: Seconds | None,
        recover: bool,
    ) -> Encoded:
        reader = EulReader(file, recover=recover)
        reader.n_codebooks = read_stages(reader.info, bitrate_kbps, n_codebooks)
        info, packets = open_range(reader, start_s, stop_s)
        none = np.zeros((info.n_channels, reader.n_codebooks, 0), np.int64)
        codes = np.concatenate([none, *(packet.codes for packet in packets)], axis=2)
        if start_s is None and stop_s is None:
            info = reader.info  # its counts are known now
        info = info.replace(n_codebooks=reader.n_codebooks)
        return cls(torch.from_numpy(codes), info, reader.damage)


def read_stages(info: StreamInfo, bitrate_kbps: float | None, n_codebooks: int | None) -> int:
    """Stages to read of a file, given by a bitrate, a number, or neither: then all.

    Raises:
        ConfigError: both are given, or the file does not have so many.
    """
    if bitrate_kbps is None:
        most = info.n_codebooks
        return most if n_codebooks is None else whole("n_codebooks", n_codebooks, 1, most)
    if n_codebooks is not None:
        raise ConfigError("bitrate_kbps and n_codebooks say the same: give one of them")
    step = kbps_per_stage(info.sample_rate, info.hop_length, info.codebook_bits)
    return stages_for(bitrate_kbps, step, info.n_codebooks, owner="the file")


def open_range(
    reader: EulReader, start_s: Seconds | None, stop_s: Seconds | None
) -> tuple[StreamInfo, Iterator[Packet]]:
    """The header of a part of a file and its packets; of all of it without a start and a stop."""
    if start_s is None and stop_s is None:
        return reader.info, reader.packets()
    rate = reader.info.input_sample_rate
    info, ranges = plan_range(reader, *audio.sample_range(start_s or 0, stop_s, rate))
    return info, (packet for first, last in ranges for packet in reader.iter_range(first, last))
