"""Encoder and decoder for streams: chunks of any size in, what is complete comes out.

The network runs on blocks of a fixed number of frames, counted from the start of the stream,
whatever the chunks: so not even a rounding depends on them. Every layer keeps the few frames of the
past it needs (:mod:`eulerodec.nn.history`) and nothing is computed twice. Whole recordings take the
same way, block after block in constant memory, so they have the same codes as a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .. import audio
from ..bitstream import LOST
from ..errors import AudioError, BitstreamError, ConfigError
from ..model import DecoderState, EncoderState, EnergyState, EuleroDec
from ..nn import Clock, History, delay, prepared
from ..quantize import DEFAULT_BEAM, MAX_BEAM
from ..settings import whole
from .concealment import Concealer, ConcealmentState

__all__ = [
    "BLOCK_FRAMES",
    "FILE_BLOCK_FRAMES",
    "LIVE_BLOCK_FRAMES",
    "StreamDecoder",
    "StreamEncoder",
    "buffering_s",
    "checked_samples",
    "file_block_frames",
]

# See docs/streaming.md for what they cost.
BLOCK_FRAMES = 64  # 0.7 s of the 24 kHz model
LIVE_BLOCK_FRAMES = 32  # where somebody waits
FILE_BLOCK_FRAMES = 128  # where nobody does; more gains little
MAX_BLOCK_FRAMES = 4096
MAX_CHANNELS = 255  # of one .eul file


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

    clock: Clock
    network: EncoderState
    energies: EnergyState | None
    pending: _Pending
    resampler: audio.Resampler
    bands: History = field(default_factory=History)
    samples: History = field(default_factory=History)
    n_input_samples: int = 0
    n_frames: int = 0  # given out
    ended: bool = False


@dataclass
class _DecoderStreams:
    """Everything a decoder knows of its stream. A new one is a reset."""

    clock: Clock
    network: DecoderState
    energies: EnergyState | None
    pending: _Pending
    resampler: audio.Resampler
    spectrum: History = field(default_factory=History)
    concealment: ConcealmentState = field(default_factory=ConcealmentState)
    n_frames: int = 0  # taken in
    n_samples: int = 0  # decoded, at the model's rate
    ended: bool = False


class StreamEncoder:
    """Audio chunks in, codes out.

    >>> encoder = codec.streaming_encoder(bitrate_kbps=6)  # doctest: +SKIP
    >>> codes = [encoder.push(chunk) for chunk in microphone] + [encoder.flush()]  # doctest: +SKIP

    The codes, joined along the last axis, are those of ``Codec.encode`` on the joined chunks, bit
    for bit if ``block_frames`` is the same, and up to near ties of two codes if not.

    Args:
        model: in eval mode.
        n_codebooks: stages K of the codes.
        n_channels: C, of the chunks.
        sample_rate: of the chunks, Hz; they are resampled to the model's.
        beam: paths of the code search, 1 to 64.
        block_frames: frames that are computed together, 1 to 4096. Fewer give less delay
            (:func:`buffering_s`), more are faster.

    Raises:
        ConfigError: an argument that is out of range, or weights in half precision.
        AudioError: a sample rate that cannot be had.

    Weights are prepared on construction: if the model is trained on, make a new stream. Not for
    several threads at a time.
    """

    def __init__(
        self,
        model: EuleroDec,
        n_codebooks: int,
        *,
        n_channels: int = 1,
        sample_rate: int | None = None,
        beam: int = DEFAULT_BEAM,
        block_frames: int = BLOCK_FRAMES,
    ) -> None:
        _check_precision(model)
        self.model = model
        self.n_codebooks = whole("n_codebooks", n_codebooks, 1, model.n_codebooks)
        self.n_channels = whole("n_channels", n_channels, 1, MAX_CHANNELS)
        self.block_frames = whole("block_frames", block_frames, 1, MAX_BLOCK_FRAMES)
        self.sample_rate = audio.check_sample_rate(sample_rate or model.sample_rate)
        self.beam = whole("beam", beam, 1, MAX_BEAM)
        with torch.inference_mode():
            # energies are predicted from what the decoder will have
            self._network = prepared(model, model.encoder, model.decoder.expand)
            self._tables = model.quantizer.tables()
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next chunk starts a new one."""
        resampler = audio.Resampler(self.sample_rate, self.model.sample_rate, self.n_channels)
        pending = _Pending(self.block_frames * self.model.hop_length)
        clock = Clock()
        encoder, energies = self.model.encoder, self.model.energies
        network = encoder.start(clock)
        loops = energies.start(clock, encoder.look_ahead) if energies else None
        self._state = _EncoderStreams(clock, network, loops, pending, resampler)

    @property
    def n_input_samples(self) -> int:
        """Samples per channel that came in, at their own rate."""
        return self._state.n_input_samples

    @property
    def n_samples(self) -> int:
        """The same duration at the model's rate, as the file format counts it."""
        n, rate = self.n_input_samples, self.sample_rate
        return audio.resampled_length(n, rate, self.model.sample_rate)

    def push(self, wav: ArrayLike | Tensor) -> Tensor:
        """The next samples.

        Args:
            wav: float ``[n]`` or ``[n_channels, n]``, any n.

        Returns:
            Codes int64 ``[C, K, t]``, t >= 0.

        Raises:
            AudioError: samples that cannot be coded; the stream is then as before.
        """
        _check_open(self._state.ended)
        x = checked_samples(wav)
        if len(x) != self.n_channels:
            raise AudioError(f"the stream has {self.n_channels} channels, the chunk has {len(x)}")
        return self.push_checked(x)

    def push_checked(self, x: NDArray[np.float32]) -> Tensor:
        """:meth:`push` for samples ``[n_channels, n]`` that were checked already."""
        state = self._state
        state.n_input_samples += x.shape[1]
        return self._run(state.resampler.push(x))

    def flush(self) -> Tensor:
        """End the stream: the codes that are left, ``[C, K, t]``. Only :meth:`reset` goes on."""
        state = self._state
        _check_open(state.ended)
        end = self.model.n_frames(self.n_samples)
        return self._end(state.resampler.flush(self.n_samples), end, end)

    def encode_batch(self, recordings: Sequence[NDArray[np.float32]]) -> list[Tensor]:
        """Recordings of any lengths, one per channel, at the model's rate, as a stream of its own.

        Args:
            recordings: ``n_channels`` arrays ``[N_i]`` that were checked already.

        Returns:
            The codes of each, int64 ``[K, T_i]``.
        """
        self.reset()
        wav = np.zeros((self.n_channels, max(len(x) for x in recordings)), np.float32)
        for row, x in zip(wav, recordings, strict=True):
            row[: len(x)] = x
        ends = tuple(self.model.n_frames(len(x)) for x in recordings)
        codes = self._end(wav, max(ends), ends)
        return [row[:, :end] for row, end in zip(codes, ends, strict=True)]

    def _end(self, x: NDArray[np.float32], n_frames: int, end: int | tuple[int, ...]) -> Tensor:
        """The codes of the last samples, and of what was left, up to ``n_frames``."""
        state = self._state
        state.ended, state.clock.end = True, end
        codes = [self._run(x)]
        zeros = np.zeros((self.n_channels, state.pending.size), np.float32)
        while state.n_frames < n_frames:
            codes.append(self._run(zeros[:, state.pending.held :]))
        return torch.cat(codes, -1)

    def _run(self, x: NDArray[np.float32]) -> Tensor:
        codes = [torch.zeros(self.n_channels, self.n_codebooks, 0, dtype=torch.int64)]
        with torch.inference_mode():
            codes += [self._block(block) for block in self._state.pending.push(torch.from_numpy(x))]
        return torch.cat(codes, -1)

    def _block(self, block: Tensor) -> Tensor:
        """Samples [C, block_frames * hop] -> the codes of so many frames, less at both ends."""
        state, model = self._state, self._network
        stft, clock = model.stft, state.clock
        wav = state.samples.extend(block.to(stft.window.device), stft.n_fft - stft.hop_length)
        spec = stft.transform(wav)
        bands = model.band_energies(spec)
        if bands is not None:
            bands = delay(bands, model.encoder.look_ahead, state.bands)
        z = model.encoder(spec, state.network)
        codes = model.search(z, bands, self.n_codebooks, self.beam, self._tables, state.energies)
        first = clock.start - model.encoder.look_ahead
        clock.start += self.block_frames
        end = max(clock.end) if isinstance(clock.end, tuple) else clock.end
        codes = _cut(codes, first, end).cpu()
        state.n_frames += codes.shape[-1]
        return codes


class StreamDecoder:
    """Codes in, audio chunks out.

    What :meth:`push` and :meth:`flush` give, joined, is the audio that ``Codec.decode`` gives for
    the joined codes: bit for bit if ``block_frames`` is the same, within 1e-5 if not. Arguments as
    for :class:`StreamEncoder`; ``sample_rate`` is that of the audio that comes out.

    A code of -1 did not arrive. A frame whose later stages are -1 is decoded from its first ones;
    one without its first stage, in any channel, is lost and concealed
    (:mod:`.concealment`).
    """

    def __init__(
        self,
        model: EuleroDec,
        n_codebooks: int,
        *,
        n_channels: int = 1,
        sample_rate: int | None = None,
        block_frames: int = BLOCK_FRAMES,
    ) -> None:
        _check_precision(model)
        self.model = model
        self.n_codebooks = whole("n_codebooks", n_codebooks, 1, model.n_codebooks)
        self.n_channels = whole("n_channels", n_channels, 1, MAX_CHANNELS)
        self.block_frames = whole("block_frames", block_frames, 1, MAX_BLOCK_FRAMES)
        self.sample_rate = audio.check_sample_rate(sample_rate or model.sample_rate)
        with torch.inference_mode():
            self._network = prepared(model, model.decoder)
            self._conceal = Concealer(self._network)
        device = model.stft.window.device
        self._stages = torch.full((n_channels,), n_codebooks, device=device)
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next codes start a new one."""
        resampler = audio.Resampler(self.model.sample_rate, self.sample_rate, self.n_channels)
        pending = _Pending(self.block_frames)
        clock = Clock()
        network, energies = self.model.decoder.start(clock), self.model.energies
        loops = energies.start(clock, 0) if energies else None
        self._state = _DecoderStreams(clock, network, loops, pending, resampler)

    def push(self, codes: ArrayLike | Tensor) -> Tensor:
        """The next codes.

        Args:
            codes: integers ``[n_channels, n_codebooks, t]``, any t; -1: lost.

        Returns:
            Audio float32 ``[C, n]``, n >= 0.

        Raises:
            BitstreamError: codes that do not fit; the stream is then as before.
        """
        state = self._state
        _check_open(state.ended)
        x = self._checked(codes)
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
            n_samples = max(state.n_frames - 1, 0) * hop
        if n_samples > state.n_frames * hop:
            raise BitstreamError(f"{state.n_frames} frames do not hold {n_samples} samples")
        rest = state.resampler.push(self._end(n_samples, state.n_frames))
        last = state.resampler.flush(
            audio.resampled_length(n_samples, self.model.sample_rate, self.sample_rate)
            if n_output is None
            else n_output
        )
        return torch.from_numpy(np.concatenate([rest, last], 1))

    def decode_batch(
        self, codes: Sequence[Tensor], n_samples: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Recordings of any lengths, one per channel, as a stream of its own.

        Args:
            codes: ``n_channels`` times int64 ``[K, T_i]``, none of them lost.
            n_samples: of each recording at the model's rate, no more than its frames hold.

        Returns:
            The audio of each at the model's rate, ``[N_i]``.
        """
        self.reset()
        ends = tuple(x.shape[-1] for x in codes)
        padded = torch.zeros(self.n_channels, self.n_codebooks, max(ends), dtype=torch.int64)
        for row, x in zip(padded, codes, strict=True):
            row[:, : x.shape[-1]] = x
        self._state.clock.end = ends
        wav = np.concatenate([self._run(self._checked(padded)), self._end(max(n_samples), ends)], 1)
        return [row[:n] for row, n in zip(wav, n_samples, strict=True)]

    def _end(self, n_samples: int, end: int | tuple[int, ...]) -> NDArray[np.float32]:
        """The rest of ``n_samples`` at the model's rate; ``end``: frames of the recordings."""
        state = self._state
        state.ended, state.clock.end = True, end
        parts = [np.zeros((self.n_channels, 0), np.float32)]
        shape = (self.n_channels, self.n_codebooks, self.block_frames)
        zeros = torch.zeros(shape, dtype=torch.int64)
        while state.n_samples < n_samples:
            before = state.n_samples
            part = self._run(zeros[..., state.pending.held :])
            parts.append(part[:, : n_samples - before])
        return np.concatenate(parts, 1)

    def _checked(self, codes: ArrayLike | Tensor) -> Tensor:
        x = torch.as_tensor(codes)
        want = [self.n_channels, self.n_codebooks]
        if x.ndim != 3 or list(x.shape[:2]) != want or x.is_floating_point():
            raise BitstreamError(
                f"codes must be integers of shape [{want[0]}, {want[1]}, t], not {list(x.shape)}"
            )
        size = self.model.codebook_size
        if x.numel() and not LOST <= int(x.min()) <= int(x.max()) < size:
            raise BitstreamError(f"a code lies outside 0 to {size - 1} (or {LOST}: lost)")
        return x.cpu().to(torch.int64)

    def _run(self, codes: Tensor) -> NDArray[np.float32]:
        parts = [torch.zeros(self.n_channels, 0)]
        with torch.inference_mode():
            parts += [self._block(block) for block in self._state.pending.push(codes)]
        return torch.cat(parts, -1).numpy()

    def _block(self, codes: Tensor) -> Tensor:
        """Codes of ``block_frames`` frames -> the samples of so many, less at the start."""
        state, model = self._state, self._network
        clock = state.clock
        lost = (codes[:, 0] == LOST).any(0).tolist()
        latents = model.dequantize(codes.to(self._stages.device))
        latents = self._conceal(latents, lost, state.concealment)
        bands = model.decode_bands(latents, state.energies)
        spec = model.decoder(latents.z, bands, self._stages, state.network)
        wav = model.stft.stream_synthesis(spec, state.spectrum)
        # overlap-add makes a hop of a frame and the one after it, and starts one hop before zero
        first = (clock.start - model.decoder.look_ahead - 1) * model.hop_length
        clock.start += self.block_frames
        wav = _cut(wav, first, None).cpu()
        state.n_samples += wav.shape[-1]
        return wav


def buffering_s(model: EuleroDec, block_frames: int = BLOCK_FRAMES) -> float:
    """Seconds of delay that blocks add to ``model.latency_s``, encoder to decoder, at most.

    An output sample waits for the decoder's block it is in, and that for the encoder's block that
    holds the codes' last look-ahead. 0 for blocks of one frame. Files or packets between the two
    may add more.
    """
    ahead = model.encoder.look_ahead
    blocks = 1 + -(-ahead // block_frames)
    return (blocks * block_frames - 1 - ahead) / model.frame_rate


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
        wav = (wav.float() if wav.is_floating_point() else wav).detach().cpu().numpy()
    x = np.asarray(wav)
    if x.size and x.dtype.kind != "f":
        raise AudioError(
            f"samples must be floats with full scale 1, not {x.dtype} (divide int16 by 32768)"
        )
    if x.ndim not in (1, 2):
        raise AudioError(f"audio must have shape [N] or [C, N], not {list(x.shape)}")
    x = np.atleast_2d(x)
    if not 1 <= x.shape[0] <= MAX_CHANNELS:
        raise AudioError(
            f"audio [C, N] must have 1 to {MAX_CHANNELS} channels, not {x.shape[0]}"
            + (": is it transposed?" if 1 <= x.shape[1] <= MAX_CHANNELS else "")
        )
    audio.check_samples(x, "audio")
    return np.ascontiguousarray(x, dtype=np.float32)


def _cut(x: Tensor, first: int, end: int | None) -> Tensor:
    """``x`` without what is before 0 and from ``end`` on; it starts at ``first``."""
    stop = x.shape[-1] if end is None else min(x.shape[-1], end - first)
    return x[..., max(0, -first) : max(0, stop)]


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
