"""Packets, in any order and not all of them, to audio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..bitstream import LOST
from ..codec import Codec
from ..codec.streaming import LIVE_BLOCK_FRAMES
from ..errors import ConfigError, PacketError
from .jitter import JitterBuffer, ReceiverStats
from .wire import Packet, parse_packet, signed

__all__ = ["PacketDecoder"]


class PacketDecoder:
    """Packets in, audio chunks out; what is missing is concealed, so that time is kept.

    - ``bitrate_kbps`` or ``n_codebooks``: of the sender. Packets with other numbers of stages
      are decoded as well: with those that they have, up to this many.
    - ``n_channels``, ``sample_rate``, ``block_frames``: as for ``Codec.streaming_decoder``
    - ``depth``: packets to wait for a missing one, see :class:`JitterBuffer`. A player needs as
      much audio in hand as ``depth`` packets last.

    Without loss the audio is that of ``Codec.streaming_decoder`` for the codes, bit for bit, in any
    order that ``depth`` allows. Errors: :class:`PacketError` for a packet that is malformed or not
    of this stream; the stream is then as before.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        bitrate_kbps: float | None = None,
        n_codebooks: int | None = None,
        n_channels: int = 1,
        sample_rate: int | None = None,
        depth: int = 2,
        block_frames: int = LIVE_BLOCK_FRAMES,
    ) -> None:
        self._decoder = codec.streaming_decoder(
            bitrate_kbps=bitrate_kbps,
            n_codebooks=n_codebooks,
            n_channels=n_channels,
            sample_rate=sample_rate,
            block_frames=block_frames,
        )
        self._weights = bytes.fromhex(codec.weights_sha256)[:2]
        self._size = codec.model.codebook_size
        self._bits = (self._size - 1).bit_length()
        self._buffer = JitterBuffer(depth)
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next packet starts a new one."""
        self._decoder.reset()
        self._buffer.reset()
        # frame that is decoded next, modulo 2^32; None: that of the next packet, whichever it is
        self._due: int | None = None
        self.first_frame: int | None = None  #: of the first packet that was decoded; sent from 0 on
        self.n_frames = 0  #: frames decoded, concealed ones included
        self.ended = False  #: the last packet was decoded: :meth:`flush` is next

    @property
    def stats(self) -> ReceiverStats:
        """Counts so far, a copy."""
        return replace(self._buffer.stats)

    def push(self, data: bytes) -> Tensor:
        """A packet as it arrives -> the audio that is complete with it, float32 [C, n], n >= 0."""
        stats = self._buffer.stats
        restarts = stats.restarts
        try:
            packet = parse_packet(data, self._decoder.n_channels, self._bits)
            if packet.weights != self._weights:
                raise PacketError(
                    f"packet {packet.sequence} was made with the weights {packet.weights.hex()}...,"
                    f" {self._weights.hex()}... are loaded"
                )
            if max(c.max(initial=0) for c in (packet.codes, packet.redundant)) >= self._size:
                raise PacketError(f"packet {packet.sequence}: a code is not below {self._size}")
            packets = self._buffer.push(packet)
        except PacketError:
            stats.rejected += 1
            raise
        if stats.restarts > restarts:
            self._due = None
        return self._decode(packets)

    def conceal(self, n_frames: int) -> Tensor:
        """Audio for the next frames, which a player needs now: they count as lost.

        For a player with a clock, when nothing arrives. Gives nothing before the first packet.
        Errors: :class:`ConfigError` for a negative number.
        """
        if n_frames < 0:
            raise ConfigError(f"{n_frames} frames cannot be concealed")
        if self.first_frame is None:
            return self._decode([])
        if self._due is not None:
            self._due += n_frames
        return self._decoder.push(self._lost(n_frames))

    def flush(self, n_frames: int | None = None) -> Tensor:
        """End the stream: the audio that is left. Then only :meth:`reset` goes on.

        ``n_frames``: of the whole stream, as :attr:`n_frames` counts them, if the receiver knows:
        what is missing at the end is concealed.
        """
        wav = self._decode(self._buffer.flush())
        if n_frames is not None:
            wav = torch.cat([wav, self.conceal(max(n_frames - self.n_frames, 0))], 1)
        return torch.cat([wav, self._decoder.flush()], 1)

    def _decode(self, packets: list[Packet]) -> Tensor:
        codes = [self._lost(0), *(part for packet in packets for part in self._codes(packet))]
        return self._decoder.push(np.concatenate(codes, 2))

    def _codes(self, packet: Packet) -> list[np.ndarray]:
        """The codes of a packet, after those of the gap before it."""
        if self.first_frame is None:
            self.first_frame = packet.frame
        gap = 0 if self._due is None else signed(packet.frame - self._due, 32)
        before = self._lost(max(gap, 0))
        repeated = min(before.shape[2], packet.redundant.shape[2])
        if packet.redundant.shape[1] and repeated:
            _fill(before[..., -repeated:], packet.redundant[..., -repeated:])
            self._buffer.stats.concealed -= repeated
            self._buffer.stats.repaired += repeated
        kept = packet.codes[..., max(-gap, 0) :]  # the others were concealed already
        codes = np.full((*before.shape[:2], kept.shape[2]), LOST)
        _fill(codes, kept)
        self.n_frames += kept.shape[2]
        # a packet that is late as a whole does not turn time back
        self._due = (packet.frame if gap >= 0 else self._due or 0) + kept.shape[2]
        self.ended = packet.end
        return [before, codes]

    def _lost(self, n_frames: int) -> np.ndarray:
        self._buffer.stats.concealed += n_frames
        self.n_frames += n_frames
        return np.full((self._decoder.n_channels, self._decoder.n_codebooks, n_frames), LOST)


def _fill(target: np.ndarray, codes: np.ndarray) -> None:
    """As many of the stages [C, K, n] as both have."""
    stages = min(target.shape[1], codes.shape[1])
    target[:, :stages] = codes[:, :stages]
