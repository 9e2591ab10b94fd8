"""What encoding gives: packets, and what is needed to decode them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .. import audio, bitstream
from ..bitstream import (
    ConstantCoder,
    ConstantCodes,
    Damage,
    EulReader,
    Metadata,
    Packet,
    StreamInfo,
    lower_packets,
    plan_range,
)
from ..errors import BitstreamError, ConfigError
from ..files import Sink, Source, atomic_output, naming, open_input

__all__ = ["Encoded", "Seconds", "lowered", "open_range"]

Seconds = float | Fraction

USUAL_LEVEL = 171  # of speech at -20 dBFS, measured; see Encoded.from_codes
LOST = -1


@dataclass(frozen=True, eq=False, repr=False)
class Encoded:
    """The packets of one recording and what is needed to decode them.

    Attributes:
        packets: in order; one without payload is lost.
        info: the header of the file that these packets make, its counts known.
        damage: what was wrong with the file they were read from; empty unless it was read with
            ``recover=True``.
    """

    packets: tuple[Packet, ...]
    info: StreamInfo
    damage: list[Damage] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "packets", tuple(self.packets))

    def __repr__(self) -> str:
        channels = "1 channel" if self.n_channels == 1 else f"{self.n_channels} channels"
        coding = f"{self.bitrate_kbps:g} kbps each"
        if self.info.n_codebooks is not None:
            coding = f"{self.info.n_codebooks} codes a frame"
        return (
            f"Encoded({self.duration_s:.2f} s at {self.sample_rate} Hz, {channels}, {coding},"
            f" {len(self.packets)} packets)"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Encoded):
            return NotImplemented
        return (self.info, self.packets, self.damage) == (other.info, other.packets, other.damage)

    __hash__ = None  # type: ignore[assignment]

    @property
    def sample_rate(self) -> int:
        """Sample rate of the input, Hz."""
        return self.info.input_sample_rate

    @property
    def n_samples(self) -> int:
        """Samples per channel of the input."""
        return self.info.n_input_samples or 0

    @property
    def n_samples_model(self) -> int:
        """Samples per channel at the model's rate."""
        return self.info.n_samples or 0

    @property
    def n_channels(self) -> int:
        """Channels."""
        return self.info.n_channels

    @property
    def n_frames(self) -> int:
        """Frames of each channel."""
        return sum(packet.n_frames for packet in self.packets)

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.info.frame_rate

    @property
    def bitrate_kbps(self) -> float:
        """Bitrate of one channel that was asked for; of the constant coding, that of its codes."""
        return self.info.nominal_kbps / self.info.n_channels

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return self.n_samples / self.sample_rate

    @property
    def metadata(self) -> Metadata:
        """Title, comment and gain of the file."""
        return self.info.metadata

    # ---- tokens -------------------------------------------------------------------------------

    @property
    def codes(self) -> Tensor:
        """Codes int64 ``[C, K, T]`` of the constant coding; -1 where a packet is lost.

        Raises:
            ConfigError: frames have different numbers of codes: encode with ``n_codebooks``.
        """
        codes, _ = self._constant()
        return codes

    @property
    def levels(self) -> Tensor:
        """The constant coding's level of each packet, 0 to 255, int64 ``[C, packets]``."""
        _, levels = self._constant()
        return levels

    def _constant(self) -> tuple[Tensor, Tensor]:
        info = self.info
        if info.n_codebooks is None:
            raise ConfigError(
                "these frames have different numbers of codes; for a tensor of codes encode with"
                " n_codebooks in place of a bitrate"
            )
        coder, codes, levels = ConstantCoder(info), [], []
        for packet in self.packets:
            if packet.payload is None:
                shape = info.n_channels, info.n_codebooks, packet.n_frames
                codes.append(np.full(shape, LOST, np.int64))
                levels.append(np.zeros(info.n_channels, np.int64))
            else:
                found = coder.decode(packet.payload, packet.n_frames)
                codes.append(found.codes)
                levels.append(found.levels)
        none = np.zeros((info.n_channels, info.n_codebooks, 0), np.int64)
        return (
            torch.from_numpy(np.concatenate([none, *codes], 2)),
            torch.from_numpy(np.stack(levels, 1) if levels else none[:, 0]),
        )

    @classmethod
    def from_codes(
        cls, codes: ArrayLike | Tensor, info: StreamInfo, levels: ArrayLike | Tensor | None = None
    ) -> Encoded:
        """A recording from codes of the constant coding, as a language model may have made them.

        Args:
            codes: integers ``[C, K, T]``.
            info: ``codec.stream_info(n_codebooks=K, ...)``; if its counts are open, the audio has
                (T - 1) * hop_length samples at the model's rate, all that T frames hold whole.
            levels: of each packet ``[C, packets]``; by default that of speech at -20 dBFS.

        Raises:
            BitstreamError: codes or levels that do not fit the header.
        """
        if info.n_codebooks is None:
            raise BitstreamError(
                "the header has a bitrate, codes need codec.stream_info(n_codebooks=K)"
            )
        x = np.asarray(codes.cpu() if isinstance(codes, Tensor) else codes)
        if x.ndim != 3 or x.shape[:2] != (info.n_channels, info.n_codebooks):
            want = f"[{info.n_channels}, {info.n_codebooks}, T]"
            raise BitstreamError(f"codes must have the shape {want}, not {list(x.shape)}")
        size = info.frames_per_packet
        n_packets = -(-x.shape[2] // size)
        level = np.full((len(x), n_packets), USUAL_LEVEL)
        if levels is not None:
            level = np.asarray(levels.cpu() if isinstance(levels, Tensor) else levels)
        if level.shape != (len(x), n_packets):
            raise BitstreamError(
                f"levels must have the shape {[len(x), n_packets]}, not {list(level.shape)}"
            )
        coder, packets = ConstantCoder(info), []
        for k in range(n_packets):
            part = x[..., k * size : (k + 1) * size]
            payload = coder.encode(ConstantCodes(level[:, k], part))
            packets.append(Packet(k, k * size, part.shape[2], payload))
        if info.n_samples is None:
            info = info.capped(max(x.shape[2] - 1, 0))
        return cls(tuple(packets), info)

    # ---- rates --------------------------------------------------------------------------------

    def at_rate(
        self, bitrate_kbps: float | None = None, *, n_codebooks: int | None = None
    ) -> Encoded:
        """The same recording at a lower rate, without encoding again.

        Args:
            bitrate_kbps: of each channel; what has a lower rate already stays.
            n_codebooks: of the constant coding: keep so many codes of each frame.

        Raises:
            ConfigError: a rate that cannot be had.
        """
        info, packets = lowered(self.info, self.packets, bitrate_kbps, n_codebooks)
        return Encoded(tuple(packets), info, self.damage)

    # ---- files --------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """These packets as the bytes of an ``.eul`` file.

        Raises:
            BitstreamError: some packets are lost.
        """
        if lost := sum(packet.lost for packet in self.packets):
            raise BitstreamError(
                f"{lost} packets are lost, which a file cannot say: decode them instead"
            )
        return bitstream.dumps(self.info, self.packets)

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
            bitrate_kbps, n_codebooks: as for :meth:`at_rate`.
            start_s, stop_s: only the samples nearest to these seconds; start and end by default.
                Only what they need of the file is read.
            recover: read what is sound of a damaged file; see ``packets`` and ``damage``.

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
        info, stream = open_range(reader, start_s, stop_s)
        packets, n_frames = [], 0
        for packet in stream:
            packets.append(Packet(len(packets), n_frames, packet.n_frames, packet.payload))
            n_frames += packet.n_frames
        if start_s is None and stop_s is None:
            info = reader.info  # its counts are known now
        whole_file = cls(tuple(packets), info, reader.damage)
        return whole_file.at_rate(bitrate_kbps, n_codebooks=n_codebooks)


def lowered(
    info: StreamInfo,
    packets: Iterable[Packet],
    bitrate_kbps: float | None,
    n_codebooks: int | None,
) -> tuple[StreamInfo, Iterable[Packet]]:
    """Header and packets at a lower rate; as they are if neither rate is given.

    Raises:
        ConfigError: both are given, or a rate that cannot be had.
    """
    if bitrate_kbps is None and n_codebooks is None:
        return info, packets
    return lower_packets(info, packets, bitrate_kbps, n_codebooks=n_codebooks)


def open_range(
    reader: EulReader, start_s: Seconds | None, stop_s: Seconds | None
) -> tuple[StreamInfo, Iterator[Packet]]:
    """The header of a part of a file and its packets; of all of it without a start and a stop."""
    if start_s is None and stop_s is None:
        return reader.info, reader.packets()
    rate = reader.info.input_sample_rate
    info, ranges = plan_range(reader, *audio.sample_range(start_s or 0, stop_s, rate))
    return info, (
        packet for first, last in ranges for packet in reader.packets_between(first, last)
    )
