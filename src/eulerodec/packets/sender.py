"""Audio to packets."""

from __future__ import annotations

from numpy.typing import ArrayLike
from torch import Tensor

from ..bitstream import Packet as Coded
from ..codec import Codec
from ..codec.streaming import StreamEncoder
from ..quantize import DEFAULT_BEAM
from ..settings import whole
from .wire import MAX_FRAMES, MAX_REDUNDANCY, Packet, pack_packet

__all__ = ["DEFAULT_PACKET_FRAMES", "PacketEncoder"]

DEFAULT_PACKET_FRAMES = 4  # one block of energies: 44 ms of the 24 kHz model


class PacketEncoder:
    """Audio chunks in, packets out. A packet leaves as soon as its samples are there.

    Args:
        codec: whose codes are sent.
        bitrate_kbps: of each channel, 1 to 16, by default 6. Payloads count, and nothing else of a
            packet.
        packet_frames: frames in a packet, 1 to 64; multiples of 4 are best. A frame of the 24 kHz
            model is 11 ms.
        redundancy: bytes of the payload before that a packet repeats, from its beginning. A
            receiver that lost one packet then has these bytes of it.
        carry: what a packet leaves of the bitrate goes to those after it; if not (the default), no
            packet is larger than its own frames allow.
        n_channels: of the chunks; they share a payload.
        sample_rate: of the chunks, Hz; the model's by default.
        beam: paths of the code search, 1 to 64.
        first_sequence: number of the first packet, 0 to 65535.

    Raises:
        ConfigError: an argument that is out of range.
        AudioError: a sample rate that cannot be had.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        bitrate_kbps: float | None = None,
        packet_frames: int = DEFAULT_PACKET_FRAMES,
        redundancy: int = 0,
        carry: bool = False,
        n_channels: int = 1,
        sample_rate: int | None = None,
        beam: int = DEFAULT_BEAM,
        first_sequence: int = 0,
    ) -> None:
        self.packet_frames = whole("packet_frames", packet_frames, 1, MAX_FRAMES)
        self.redundancy = whole("redundancy", redundancy, 0, MAX_REDUNDANCY)
        self.first_sequence = whole("first_sequence", first_sequence, 0, 0xFFFF)
        info = codec.stream_info(
            bitrate_kbps=bitrate_kbps,
            n_channels=n_channels,
            sample_rate=sample_rate,
            frames_per_packet=self.packet_frames,
        )
        self._encoder = StreamEncoder(codec.model, info, beam=beam, carry=carry, in_file=False)
        self._book = codec.model.book.hash[:2]
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next chunk starts a new one."""
        self._encoder.reset()
        self._before = b""  # the payload that was sent last

    def push(self, wav: ArrayLike | Tensor) -> list[bytes]:
        """The next samples.

        Args:
            wav: float ``[n]`` or ``[n_channels, n]``, any n.

        Returns:
            The packets that are complete with them, maybe none.

        Raises:
            AudioError: samples that cannot be coded; the stream is then as before.
        """
        return [self._packed(coded) for coded in self._encoder.push(wav)]

    def flush(self) -> list[bytes]:
        """End the stream: the packets that are left, the last with the flag for it."""
        # there always is one, since the last frame lies beyond the audio, but for an empty stream
        *others, last = self._encoder.flush() or [Coded(0, 0, 0, b"")]
        return [*(self._packed(coded) for coded in others), self._packed(last, end=True)]

    def _packed(self, coded: Coded, end: bool = False) -> bytes:
        payload = coded.payload or b""
        packet = Packet(
            sequence=self.first_sequence + coded.index,
            frame=coded.start_frame,
            packet_frames=self.packet_frames,
            n_frames=coded.n_frames,
            payload=payload,
            redundant=self._before[: self.redundancy],
            book=self._book,
            start=coded.index == 0,
            end=end,
        )
        self._before = payload
        return pack_packet(packet)
