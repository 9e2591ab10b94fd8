"""Audio to packets, one after the other, as the codec's own encoder makes them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..bitstream import ConstantCoder, Packet, RateControl, StreamInfo
from ..quantize import MAX_BEAM, Coding
from ..settings import whole
from .folder import Facts
from .graphs import Graphs

__all__ = ["PacketEncoder"]

Floats = NDArray[np.float32]

_OFFSET_S = 2.0  # in which the mean that is taken off follows the signal


class PacketEncoder:
    """Samples in, packets out: :meth:`push`, then :meth:`flush`.

    Args:
        graphs, coding, facts: of one folder.
        info: the header for the packets.
        beam: paths of the code search, 1 to 64.

    Raises:
        ConfigError: a beam that is out of range.
    """

    def __init__(
        self, graphs: Graphs, coding: Coding, facts: Facts, info: StreamInfo, beam: int
    ) -> None:
        self.info = info
        self._graphs, self._coding, self._facts = graphs, coding, facts
        self._beam = whole("beam", beam, 1, MAX_BEAM)
        self._constant = None if info.n_codebooks is None else ConstantCoder(info)
        self._rate = RateControl(info) if self._constant is None else None
        self._resampler = audio.Resampler(info.input_sample_rate, info.sample_rate, info.n_channels)
        self._size = info.frames_per_packet * facts.hop_length
        self._pending = np.zeros((info.n_channels, 0), np.float32)
        self._past = np.zeros((info.n_channels, facts.hop_length), np.float32)
        self._offset: Floats | None = None  # slow mean, at the end of the last packet
        self._n_frames = self._n_packets = 0  # given out
        self._end: int | None = None  # frames of all, once that is known
        self.n_input_samples = 0

    @property
    def n_samples(self) -> int:
        """Samples per channel that came in, at the model's rate."""
        info = self.info
        return audio.resampled_length(
            self.n_input_samples, info.input_sample_rate, info.sample_rate
        )

    def push(self, x: Floats) -> list[Packet]:
        """The next samples ``[C, n]`` -> the packets that are complete with them."""
        self.n_input_samples += x.shape[1]
        return self._run(self._resampler.push(x))

    def flush(self) -> list[Packet]:
        """The packets that are left."""
        self._end = self._facts.n_frames(self.n_samples)
        packets = self._run(self._resampler.flush(self.n_samples))
        while self._n_frames < self._end:
            short = self._size - self._pending.shape[1]
            packets += self._run(np.zeros((self.info.n_channels, short), np.float32))
        return packets

    def _run(self, x: Floats) -> list[Packet]:
        x = np.concatenate([self._pending, x], 1)
        n_whole = x.shape[1] // self._size
        self._pending = x[:, n_whole * self._size :]
        blocks = (x[:, k * self._size : (k + 1) * self._size] for k in range(n_whole))
        packets = [self._packet(block) for block in blocks]
        return [packet for packet in packets if packet is not None]

    def _packet(self, block: Floats) -> Packet | None:
        """Samples of a packet -> the packet; the last one may have fewer frames."""
        wav = np.concatenate([self._past, self._without_offset(block)], 1)
        self._past = wav[:, -self._facts.hop_length :]
        n_frames = self.info.frames_per_packet
        if self._end is not None:
            n_frames = min(n_frames, self._end - self._n_frames)
            if n_frames <= 0:
                return None
        z, bands = (x[..., :n_frames] for x in self._graphs.analysis(wav))
        packet = Packet(self._n_packets, self._n_frames, n_frames, self._payload(z, bands))
        self._n_frames += n_frames
        self._n_packets += 1
        return packet

    def _without_offset(self, block: Floats) -> Floats:
        """Samples less their slow mean, which nobody hears and codes would have to say."""
        size = block.shape[1]
        if self._end is not None:  # what follows the last sample is no signal
            left = self.n_samples - self._n_frames * self._facts.hop_length
            size = max(0, min(size, left))
        if size == 0:
            return block
        mean = block[:, :size].mean(1, keepdims=True)
        before = mean if self._offset is None else self._offset
        pace = np.float32(1.0 - math.exp(-size / (_OFFSET_S * self._facts.sample_rate)))
        after = self._offset = before + pace * (mean - before)
        slope = np.linspace(0.0, 1.0, size, dtype=np.float32)
        slow = (before + (after - before) * slope).astype(np.float32, copy=False)
        return np.concatenate([block[:, :size] - slow, block[:, size:]], 1)

    def _payload(self, z: Floats, bands: Floats) -> bytes:
        coding, n_frames = self._coding, z.shape[2]
        if self._constant is not None:
            n_codebooks = self._constant.n_codebooks
            codes = coding.encode_constant(z, bands, n_codebooks, self._beam)
            return self._constant.encode(codes)
        assert self._rate is not None
        # the last frames may hold less audio than their time, known or not when the stream began
        n_samples = None if self._end is None else self.n_samples
        room = self._rate.budget(n_frames, n_samples)
        payload = coding.search(z, bands, room, self._beam)[1]
        self._rate.spend(n_frames, len(payload), n_samples)
        return payload
