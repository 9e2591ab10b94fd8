"""Audio to packets."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from ..codec import Codec
from ..errors import ConfigError
from ..quantize import DEFAULT_BEAM
from .wire import MAX_FRAMES, Packet, pack_packet

__all__ = ["PacketEncoder"]


class PacketEncoder:
    """Audio chunks in, packets out.

    - ``bitrate_kbps`` or ``n_codebooks``, ``n_channels``, ``sample_rate``, ``beam``: as for
      ``Codec.streaming_encoder``
    - ``packet_frames``: frames in a packet, 1 to 64. A frame of the 24 kHz model is 11 ms.
    - ``redundancy``: first stages of the packet before that a packet repeats, 0 to all. A receiver
      that lost one packet then has these stages of it.
    - ``block_frames``: frames computed together, ``packet_frames`` by default: each packet leaves
      as soon as it can. More are faster and leave in bursts.
    - ``first_sequence``: number of the first packet, 0 to 65535

    Errors: :class:`ConfigError`, and those of ``Codec.streaming_encoder``.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        bitrate_kbps: float | None = None,
        n_codebooks: int | None = None,
        packet_frames: int = 2,
        redundancy: int = 0,
        n_channels: int = 1,
        sample_rate: int | None = None,
        beam: int = DEFAULT_BEAM,
        block_frames: int | None = None,
        first_sequence: int = 0,
    ) -> None:
        self.packet_frames = _whole("packet_frames", packet_frames, 1, MAX_FRAMES)
        self.first_sequence = _whole("first_sequence", first_sequence, 0, 0xFFFF)
        self._encoder = codec.streaming_encoder(
            bitrate_kbps=bitrate_kbps,
            n_codebooks=n_codebooks,
            n_channels=n_channels,
            sample_rate=sample_rate,
            beam=beam,
            block_frames=block_frames or self.packet_frames,
        )
        self.n_codebooks = self._encoder.n_codebooks
        self.redundancy = _whole("redundancy", redundancy, 0, self.n_codebooks)
        self._weights = bytes.fromhex(codec.weights_sha256)[:2]
        self._bits = (codec.model.codebook_size - 1).bit_length()
        self._none = np.zeros((n_channels, self.n_codebooks, 0), np.int64)
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next chunk starts a new one."""
        self._encoder.reset()
        self._pending = self._before = self._none  # codes to send, and those sent last
        self._n_sent = 0

    def push(self, wav: ArrayLike | Tensor) -> list[bytes]:
        """The next samples, float [n] or [n_channels, n], any n -> packets, maybe none.

        Errors: :class:`AudioError`; the stream is then as before.
        """
        return self._full(self._encoder.push(wav))

    def flush(self) -> list[bytes]:
        """End the stream: the packets that are left, the last with the flag for it."""
        packets = self._full(self._encoder.flush())
        return [*packets, self._packet(self._pending, end=True)]

    def _full(self, codes: Tensor) -> list[bytes]:
        size = self.packet_frames
        self._pending = np.concatenate([self._pending, codes.numpy()], 2)
        packets = []
        while self._pending.shape[2] > size:  # the end always has something left to send
            packets.append(self._packet(self._pending[..., :size]))
            self._pending = self._pending[..., size:]
        return packets

    def _packet(self, codes: np.ndarray, end: bool = False) -> bytes:
        number, self._n_sent = self._n_sent, self._n_sent + 1
        repeated = self._before[:, : self.redundancy] if number else self._none[:, :0]
        packet = Packet(
            sequence=(self.first_sequence + number) & 0xFFFF,
            frame=number * self.packet_frames & 0xFFFFFFFF,
            packet_frames=self.packet_frames,
            codes=codes,
            redundant=repeated,
            weights=self._weights,
            start=number == 0,
            end=end,
        )
        self._before = codes
        return pack_packet(packet, self._bits)


def _whole(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or value not in range(low, high + 1):
        raise ConfigError(f"{name} {value!r}: allowed are {low} to {high}")
    return int(value)
