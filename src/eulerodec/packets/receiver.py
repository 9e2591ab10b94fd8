"""Packets, in any order and not all of them, to audio."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..bitstream import Packet as Coded
from ..codec import Codec
from ..codec.streaming import LIVE_BLOCK_FRAMES
from ..errors import ConfigError, PacketError
from .jitter import JitterBuffer, ReceiverStats
from .wire import Packet, parse_packet, signed

__all__ = ["PacketDecoder"]


class PacketDecoder:
    """Packets in, audio chunks out; what is missing is concealed, so that time is kept.

    It need not know the bitrate or the packets' frames: a payload of any size decodes.
    Without loss the audio is that of ``Codec.streaming_decoder`` for the payloads, bit for bit, in
    any order that ``depth`` allows.

    Args:
        codec: one with the sender's codes.
        n_channels: of the stream.
        sample_rate: of the audio, Hz; the model's by default.
        depth: packets to wait for a missing one, see :class:`JitterBuffer`. A player needs as much
            audio in hand as ``depth`` packets last.
        block_frames: frames that are computed together, as for ``Codec.streaming_decoder``.

    Raises:
        ConfigError: an argument that is out of range.
        AudioError: a sample rate that cannot be had.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        n_channels: int = 1,
        sample_rate: int | None = None,
        depth: int = 2,
        block_frames: int = LIVE_BLOCK_FRAMES,
    ) -> None:
        info = codec.stream_info(n_channels=n_channels, sample_rate=sample_rate)
        self._decoder = codec.streaming_decoder(info, block_frames=block_frames)
        self._book = codec.model.book.hash[:2]
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
        """A packet as it arrives.

        Returns:
            The audio that is complete with it, float32 ``[C, n]``, n >= 0.

        Raises:
            PacketError: malformed, or not of this stream, which is then as before.
        """
        stats = self._buffer.stats
        restarts = stats.restarts
        try:
            packet = parse_packet(data)
            if packet.book != self._book:
                raise PacketError(
                    f"packet {packet.sequence} was made with the codes {packet.book.hex()}...,"
                    f" {self._book.hex()}... are loaded"
                )
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

        Raises:
            ConfigError: a negative number.
        """
        if n_frames < 0:
            raise ConfigError(f"{n_frames} frames cannot be concealed")
        if self.first_frame is None:
            return self._decode([])
        if self._due is not None:
            self._due += n_frames
        return self._decoder.push_frames(self._lost(n_frames))

    def flush(self, n_frames: int | None = None) -> Tensor:
        """End the stream: the audio that is left. Then only :meth:`reset` goes on.

        Args:
            n_frames: of the whole stream, as :attr:`n_frames` counts them, if the receiver knows:
                what is missing at the end is concealed.
        """
        wav = self._decode(self._buffer.flush())
        if n_frames is not None:
            wav = torch.cat([wav, self.conceal(max(n_frames - self.n_frames, 0))], 1)
        return torch.cat([wav, self._decoder.flush()], 1)

    def _decode(self, packets: list[Packet]) -> Tensor:
        parts = [part for packet in packets for part in self._frames(packet)]
        return self._decoder.push_frames(torch.cat([self._lost(0), *parts], -1))

    def _frames(self, packet: Packet) -> list[Tensor]:
        """Frames [C, M, t] of a packet, after those of the gap before it."""
        if self.first_frame is None:
            self.first_frame = packet.frame
        gap = 0 if self._due is None else signed(packet.frame - self._due, 32)
        parts = [self._lost(max(gap, 0))]
        repeated = min(max(gap, 0), packet.packet_frames)
        if packet.redundant and repeated:
            frames = self._coded(packet.redundant, packet.packet_frames)
            parts[0][..., -repeated:] = frames[..., -repeated:]
            self._buffer.stats.concealed -= repeated
            self._buffer.stats.repaired += repeated
        n_frames = max(packet.n_frames - max(-gap, 0), 0)  # the others were concealed already
        if not packet.payload:  # on the way, it was cut to its header
            parts.append(self._lost(n_frames))
        elif n_frames:
            parts.append(self._coded(packet.payload, packet.n_frames)[..., -n_frames:])
            self.n_frames += n_frames
        # a packet that is late as a whole does not turn time back
        self._due = (packet.frame if gap >= 0 else self._due or 0) + n_frames
        self.ended = packet.end
        return parts

    def _coded(self, payload: bytes, n_frames: int) -> Tensor:
        return self._decoder.frames(Coded(0, 0, n_frames, payload))

    def _lost(self, n_frames: int) -> Tensor:
        self._buffer.stats.concealed += n_frames
        self.n_frames += n_frames
        return self._decoder.frames.lost(n_frames)
