"""Encoder and decoder for streams: chunks of any size in, what is complete comes out.

An encoder's unit is the packet, a decoder's network runs on blocks of a fixed number of frames,
both counted from the start of the stream, whatever the chunks: so not even a rounding depends on
them. Every layer keeps the few frames of the past it needs (:mod:`eulerodec.nn.history`) and
nothing is computed twice. Whole recordings take the same way, packet after packet in constant
memory, so they have the same codes as a stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .. import audio
from ..bitstream import ConstantCoder, Packet, RateControl, StreamInfo
from ..errors import AudioError, BitstreamError, ConfigError
from ..model import DecoderState, EuleroDec
from ..nn import Clock, History, prepared
from ..quantize import DEFAULT_BEAM, MAX_BEAM
from ..settings import whole
from .checks import checked_array
from .concealment import Concealer, ConcealmentState
from .frames import PacketFrames, unstacked

__all__ = [
    "BLOCK_FRAMES",
    "FILE_BLOCK_FRAMES",
    "LIVE_BLOCK_FRAMES",
    "LIVE_PACKET_FRAMES",
    "StreamDecoder",
    "StreamEncoder",
    "checked_samples",
    "file_block_frames",
]

# See docs/streaming.md for what they cost.
LIVE_PACKET_FRAMES = 24  # 0.26 s of the 24 kHz model
BLOCK_FRAMES = 64  # of the decoder: 0.7 s
LIVE_BLOCK_FRAMES = 24  # where somebody waits
FILE_BLOCK_FRAMES = 128  # where nobody does; more gains little
MAX_BLOCK_FRAMES = 4096
_OFFSET_S = 2.0  # in which the mean that is taken off follows the signal


@dataclass
class _Pending:
    """Pieces of any length along the last axis, until they make a block."""

    size: int
    pieces: list[Tensor] = field(default_factory=list)
    held: int = 0

    def push(self, x: Tensor) -> list[Tensor]:
        """The blocks that are complete with ``x``."""
        self.held += x.shape[-1]
        if self.held < self.size:
            self.pieces.append(x.clone())  # the caller may use its memory again
            return []
        x = torch.cat([*self.pieces, x], -1)
        self.held %= self.size
        whole = x.shape[-1] - self.held
        self.pieces = [x[..., whole:].clone()]
        return list(x[..., :whole].split(self.size, -1))


@dataclass
class _EncoderStreams:
    """Everything an encoder knows of its stream. A new one is a reset."""

    pending: _Pending
    resampler: audio.Resampler
    rate: RateControl | None
    samples: History = field(default_factory=History)
    offset: Tensor | None = None  # slow mean of the signal [C, 1], at the end of the last packet
    n_input_samples: int = 0
    n_frames: int = 0  # given out
    n_packets: int = 0
    end: int | None = None  # frames of the stream, once that is known


@dataclass
class _DecoderStreams:
    """Everything a decoder knows of its stream. A new one is a reset."""

    clock: Clock
    network: DecoderState
    pending: _Pending
    resampler: audio.Resampler
    first_sample: int  # of the decoded ones, at the model's rate, that is given out
    spectrum: History = field(default_factory=History)
    concealment: ConcealmentState = field(default_factory=ConcealmentState)
    n_frames: int = 0  # taken in
    n_samples: int = 0  # given out, at the model's rate
    ended: bool = False


class StreamEncoder:
    """Audio chunks in, packets out.

    >>> encoder = codec.streaming_encoder(bitrate_kbps=6)  # doctest: +SKIP
    >>> packets = []  # doctest: +SKIP
    >>> for chunk in microphone:  # doctest: +SKIP
    ...     packets += encoder.push(chunk)
    >>> packets += encoder.flush()  # doctest: +SKIP

    The packets are those of ``Codec.encode`` on the joined chunks, to the byte, if they have as
    many frames, and their number is known or open in both headers.

    Args:
        model: in eval mode.
        info: the header for the packets: rates, channels, frames in a packet.
        beam: paths of the code search, 1 to 64.
        carry: what a packet leaves of the bitrate goes to those after it.
        in_file: the bitrate is that of a file; if not, of payloads alone, see ``RateControl``.

    Raises:
        ConfigError: an argument that is out of range, or weights in half precision.
        AudioError: a sample rate that cannot be had.

    Attributes:
        info: as given.

    Not for several threads at a time.
    """

    def __init__(
        self,
        model: EuleroDec,
        info: StreamInfo,
        *,
        beam: int = DEFAULT_BEAM,
        carry: bool = True,
        in_file: bool = True,
    ) -> None:
        _check_precision(model)
        self.model = model
        self.info = info
        self.n_channels = info.n_channels
        self.sample_rate = audio.check_sample_rate(info.input_sample_rate)
        self.beam = whole("beam", beam, 1, MAX_BEAM)
        self._carry, self._in_file = carry, in_file
        self._constant = None if info.n_codebooks is None else ConstantCoder(info)
        with torch.inference_mode():
            self._network = prepared(model, model.encoder)
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next chunk starts a new one."""
        resampler = audio.Resampler(self.sample_rate, self.model.sample_rate, self.n_channels)
        pending = _Pending(self.info.frames_per_packet * self.model.hop_length)
        rate = None
        if self._constant is None:
            rate = RateControl(self.info, carry=self._carry, in_file=self._in_file)
        self._state = _EncoderStreams(pending, resampler, rate)

    @property
    def n_input_samples(self) -> int:
        """Samples per channel that came in, at their own rate."""
        return self._state.n_input_samples

    @property
    def n_samples(self) -> int:
        """The same duration at the model's rate, as the file format counts it."""
        n, rate = self.n_input_samples, self.sample_rate
        return audio.resampled_length(n, rate, self.model.sample_rate)

    def push(self, wav: ArrayLike | Tensor) -> list[Packet]:
        """The next samples.

        Args:
            wav: float ``[n]`` or ``[n_channels, n]``, any n.

        Returns:
            The packets that are complete with them, maybe none.

        Raises:
            AudioError: samples that cannot be coded; the stream is then as before.
        """
        _check_open(self._state.end is not None)
        x = checked_samples(wav)
        if len(x) != self.n_channels:
            raise AudioError(f"the stream has {self.n_channels} channels, the chunk has {len(x)}")
        return self.push_checked(x)

    def push_checked(self, x: NDArray[np.float32]) -> list[Packet]:
        """:meth:`push` for samples ``[n_channels, n]`` that were checked already."""
        state = self._state
        state.n_input_samples += x.shape[1]
        return self._run(state.resampler.push(x))

    def flush(self) -> list[Packet]:
        """End the stream: the packets that are left. Only :meth:`reset` goes on."""
        state = self._state
        _check_open(state.end is not None)
        state.end = self.model.n_frames(self.n_samples)
        packets = self._run(state.resampler.flush(self.n_samples))
        zeros = np.zeros((self.n_channels, state.pending.size), np.float32)
        while state.n_frames < state.end:
            packets += self._run(zeros[:, state.pending.held :])
        return packets

    def _run(self, x: NDArray[np.float32]) -> list[Packet]:
        with torch.inference_mode():
            blocks = self._state.pending.push(torch.from_numpy(x))
            packets = [self._packet(block) for block in blocks]
        return [packet for packet in packets if packet is not None]

    def _packet(self, block: Tensor) -> Packet | None:
        """Samples [C, frames_per_packet * hop] -> their packet; the last may have fewer frames."""
        state, model = self._state, self._network
        stft, n_frames = model.stft, self.info.frames_per_packet
        block = self._without_offset(block)
        wav = state.samples.extend(block.to(stft.window.device), stft.n_fft - stft.hop_length)
        if state.end is not None:
            n_frames = min(n_frames, state.end - state.n_frames)
            if n_frames <= 0:
                return None
        z, bands = (x[..., :n_frames].cpu() for x in model.describe(stft.transform(wav)))
        packet = Packet(state.n_packets, state.n_frames, n_frames, self._payload(z, bands))
        state.n_frames += n_frames
        state.n_packets += 1
        return packet

    def _without_offset(self, block: Tensor) -> Tensor:
        """Samples less their slow mean, which nobody hears and codes would have to say."""
        state, size = self._state, block.shape[-1]
        if state.end is not None:  # what follows the last sample is no signal
            size = max(0, min(size, self.n_samples - state.n_frames * self.model.hop_length))
        if size == 0:
            return block
        mean = block[..., :size].mean(-1, keepdim=True)
        before = mean if state.offset is None else state.offset
        pace = 1.0 - math.exp(-size / (_OFFSET_S * self.model.sample_rate))
        state.offset = before + pace * (mean - before)
        slope = torch.linspace(0.0, 1.0, size)
        slow = before + (state.offset - before) * slope
        return torch.cat([block[..., :size] - slow, block[..., size:]], -1)

    def _payload(self, z: Tensor, bands: Tensor) -> bytes:
        state, coder, n_frames = self._state, self.model.coder, z.shape[-1]
        if self._constant is not None:
            n_codebooks = self._constant.n_codebooks
            return self._constant.encode(coder.encode_constant(z, bands, n_codebooks, self.beam))
        assert state.rate is not None
        # the last frames may hold less audio than their time, known or not when the stream began
        n_samples = None if state.end is None else self.n_samples
        room = state.rate.budget(n_frames, n_samples)
        payload = coder.encode(z, bands, room, self.beam)
        state.rate.spend(n_frames, len(payload), n_samples)
        return payload


class StreamDecoder:
    """Packets in, audio chunks out.

    What :meth:`push` and :meth:`flush` give, joined, is the audio that ``Codec.decode`` gives for
    the packets: bit for bit if ``block_frames`` is the same, within 1e-5 if not. A packet without
    payload is lost, and concealed (:mod:`.concealment`).

    Args:
        model: in eval mode.
        info: the header that belongs to the packets.
        sample_rate: of the audio, Hz; that of the input by default.
        block_frames: frames that are computed together, 1 to 4096. Fewer give less delay, more are
            faster.

    Raises:
        ConfigError: an argument that is out of range, or weights in half precision.
        AudioError: a sample rate that cannot be had.
        BitstreamError: a header that does not fit the model.

    Weights are prepared on construction: if the model is trained on, make a new stream. Not for
    several threads at a time.
    """

    def __init__(
        self,
        model: EuleroDec,
        info: StreamInfo,
        *,
        sample_rate: int | None = None,
        block_frames: int = BLOCK_FRAMES,
    ) -> None:
        _check_precision(model)
        self.model = model
        self.info = info
        self.n_channels = info.n_channels
        self.block_frames = whole("block_frames", block_frames, 1, MAX_BLOCK_FRAMES)
        self.sample_rate = audio.check_sample_rate(sample_rate or info.input_sample_rate)
        self.frames = PacketFrames(model, info)
        with torch.inference_mode():
            self._network = prepared(model, model.decoder, model.encoder)
            self._conceal = Concealer(self._network)
        self.reset()

    def reset(self, first_sample: int = 0) -> None:
        """Forget the stream; the next packet starts a new one.

        Args:
            first_sample: so many samples at the model's rate are not given out.
        """
        resampler = audio.Resampler(self.model.sample_rate, self.sample_rate, self.n_channels)
        pending = _Pending(self.block_frames)
        clock = Clock()
        network = self.model.decoder.start(clock)
        self._state = _DecoderStreams(clock, network, pending, resampler, first_sample)

    def push(self, packets: Packet | Iterable[Packet]) -> Tensor:
        """The next packets.

        Args:
            packets: in order; their numbers are not looked at.

        Returns:
            Audio float32 ``[C, n]``, n >= 0.

        Raises:
            BitstreamError: a payload that does not fit; the stream is then as before.
        """
        packets = [packets] if isinstance(packets, Packet) else packets
        parts = [self.frames(packet) for packet in packets]
        return self.push_frames(torch.cat([self.frames.lost(0), *parts], -1))

    def push_frames(self, x: Tensor) -> Tensor:
        """:meth:`push` for frames ``[C, M, t]`` of :mod:`.frames`."""
        state = self._state
        _check_open(state.ended)
        state.n_frames += x.shape[-1]
        return torch.from_numpy(state.resampler.push(self._run(x)))

    def flush(self, n_samples: int | None = None, n_output: int | None = None) -> Tensor:
        """End the stream. Then only :meth:`reset` goes on.

        Args:
            n_samples: length of the whole stream at the model's rate, by default (T - 1) * hop for
                T frames: the second half of the last one lacks its partner, though it can be had.
            n_output: the same at the rate of the output, by default rounded up.

        Returns:
            The samples that are left, float32 ``[C, n]``.

        Raises:
            BitstreamError: more samples than the frames hold.
        """
        state, hop = self._state, self.model.hop_length
        _check_open(state.ended)
        if n_samples is None:
            n_samples = max(max(state.n_frames - 1, 0) * hop - state.first_sample, 0)
        if n_samples + state.first_sample > state.n_frames * hop:
            raise BitstreamError(f"{state.n_frames} frames do not hold {n_samples} samples")
        rest = state.resampler.push(self._end(n_samples, state.n_frames))
        last = state.resampler.flush(
            audio.resampled_length(n_samples, self.model.sample_rate, self.sample_rate)
            if n_output is None
            else n_output
        )
        return torch.from_numpy(np.concatenate([rest, last], 1))

    def decode_batch(
        self, frames: Sequence[Tensor], n_samples: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Recordings of any lengths, one per channel, as a stream of its own.

        Args:
            frames: ``n_channels`` times ``[M, T_i]``, none of them lost.
            n_samples: of each recording at the model's rate, no more than its frames hold.

        Returns:
            The audio of each at the model's rate, ``[N_i]``.
        """
        self.reset()
        ends = tuple(x.shape[-1] for x in frames)
        padded = frames[0].new_zeros(self.n_channels, frames[0].shape[0], max(ends))
        for row, x in zip(padded, frames, strict=True):
            row[:, : x.shape[-1]] = x
        self._state.clock.end = ends
        wav = np.concatenate([self._run(padded), self._end(max(n_samples), ends)], 1)
        return [row[:n] for row, n in zip(wav, n_samples, strict=True)]

    def _end(self, n_samples: int, end: int | tuple[int, ...]) -> NDArray[np.float32]:
        """The rest of ``n_samples`` at the model's rate; ``end``: frames of the recordings."""
        state = self._state
        state.ended, state.clock.end = True, end
        parts = [np.zeros((self.n_channels, 0), np.float32)]
        nothing = self.frames.lost(self.block_frames)
        nothing[:, -1] = 0.0
        while state.n_samples < n_samples:
            before = state.n_samples
            part = self._run(nothing[..., state.pending.held :])
            parts.append(part[:, : n_samples - before])
        return np.concatenate(parts, 1)

    def _run(self, x: Tensor) -> NDArray[np.float32]:
        parts = [torch.zeros(self.n_channels, 0)]
        with torch.inference_mode():
            parts += [self._block(block) for block in self._state.pending.push(x)]
        return torch.cat(parts, -1).numpy()

    def _block(self, x: Tensor) -> Tensor:
        """``block_frames`` frames -> the samples of so many, less at the start."""
        state, model = self._state, self._network
        clock = state.clock
        x = self._conceal(x.to(model.stft.window.device), state.concealment)
        coded, _ = unstacked(x, model.bands.count)
        wav = model.stft.stream_synthesis(model.decoder(coded, state.network), state.spectrum)
        # overlap-add makes a hop of a frame and the one after it, and starts one hop before zero
        first = (clock.start - model.decoder.look_ahead - 1) * model.hop_length
        clock.start += self.block_frames
        wav = wav[..., max(0, state.first_sample - first) :].cpu()
        state.n_samples += wav.shape[-1]
        return wav


def file_block_frames(n_channels: int) -> int:
    """Frames of a block where delay does not matter; fewer for many channels, to bound memory."""
    return max(BLOCK_FRAMES, FILE_BLOCK_FRAMES // n_channels)


def checked_samples(wav: ArrayLike | Tensor) -> NDArray[np.float32]:
    """The one check of samples that come from outside.

    Args:
        wav: ``[N]`` or ``[C, N]``, floats with full scale 1.

    Returns:
        The same as float32 ``[C, N]``.

    Raises:
        AudioError: another shape or type, samples that are NaN, infinite, or far too loud.
    """
    if isinstance(wav, Tensor):
        wav = wav.float() if wav.is_floating_point() else wav
        wav = wav.detach().cpu().numpy()
    return checked_array(wav)


def _check_open(ended: bool) -> None:
    if ended:
        raise ConfigError("the stream has ended: reset() starts a new one")


def _check_precision(model: EuleroDec) -> None:
    """Refuse weights of another precision: torch has no spectrum of this length in half."""
    dtype = next(model.parameters()).dtype
    if dtype != torch.float32:
        raise ConfigError(
            f"the weights are {dtype}, but the codec computes in torch.float32: call model.float()"
            " (files of weights in half precision load as they are)"
        )
