"""The codec as a user meets it: audio at any rate to codes or bytes, and back.

:class:`Codec` adds to the network (``codec.model``) what files need: weights, resampling,
channels, exact lengths and the ``.eul`` container. There is no state: every call says its bitrate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .. import audio
from ..bitstream import EntropyTables, Metadata, StreamInfo, add_tables, load_tables
from ..bitstream.tables import TABLES_FILE
from ..errors import BitstreamError, ConfigError, WeightsError
from ..files import PathLike, write_bytes
from ..quantize import DEFAULT_BEAM
from .encoded import Encoded
from .segments import FileDecoder
from .streaming import BLOCK_FRAMES, StreamDecoder, StreamEncoder, buffering_s, checked_samples
from .weights import DEFAULT_WEIGHTS, find_weights, load_weights, save_weights, weights_hash

if TYPE_CHECKING:
    from ..model import EuleroDec

__all__ = ["DEFAULT_BITRATE_KBPS", "Codec", "CodecInfo"]

DEFAULT_BITRATE_KBPS = 6

_FRAMES_AT_ONCE = 1024  # between two reports of progress
Progress = Callable[[float], None]  # called with the fraction that is done, up to 1.0


@dataclass(frozen=True)
class CodecInfo:
    """What is fixed by the weights. Rates in Hz and kbps, fields and latency in samples and s."""

    name: str
    weights_sha256: str
    sample_rate: int
    hop_length: int
    frame_rate: float
    n_codebooks: int
    codebook_size: int
    bitrates_kbps: tuple[float, ...]
    parameters: int
    receptive_field: int
    look_ahead: int
    latency_s: float
    receptive_field_ms: float
    look_ahead_ms: float
    latency_ms: float  # of the algorithm
    block_frames: int  # that streams compute together by default
    buffering_ms: float  # that these blocks add to latency_ms
    stage_perplexity: tuple[float, ...]  # of the codes in training, at most codebook_size
    about: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As plain types for JSON."""
        return asdict(self)


class Codec:
    """Encoder and decoder with one set of weights.

    Build it with :meth:`from_pretrained`, or from a model of your own. ``codec.model`` is the
    plain ``nn.Module``; calls here use it in eval mode and give results on the CPU.
    """

    def __init__(
        self,
        model: EuleroDec,
        *,
        name: str = "unnamed",
        weights_sha256: str | None = None,
        about: dict[str, Any] | None = None,
        card: str = "",
        entropy_tables: EntropyTables | None = None,
    ) -> None:
        self.model = model.eval()
        self.name = name
        self.weights_sha256 = weights_sha256 or weights_hash(model)
        self._about = about or {}
        self._card = card
        self.entropy_tables = entropy_tables
        if entropy_tables is not None:
            add_tables(entropy_tables)

    @classmethod
    def from_pretrained(cls, name_or_dir: PathLike = DEFAULT_WEIGHTS, device: str = "cpu") -> Codec:
        """Load bundled weights by name, or weights of a directory.

        ``device``: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ..., or ``"auto"`` (CUDA if there is
        one). Errors: :class:`WeightsError`, :class:`ConfigError` for the device.
        """
        target = _device(device)
        loaded = load_weights(name_or_dir)
        return cls(
            loaded.model.to(target),
            name=loaded.name,
            weights_sha256=loaded.sha256,
            about=loaded.about,
            card=loaded.card,
            entropy_tables=load_tables(find_weights(name_or_dir)),
        )

    def save_pretrained(self, directory: PathLike) -> None:
        """Write config.json, model.safetensors, the model card and the entropy coder's tables, as
        far as there are such, for :meth:`from_pretrained`."""
        self.weights_sha256 = save_weights(
            directory, self.model, name=self.name, about=self._about, card=self._card
        )
        if self.entropy_tables is not None:
            write_bytes(Path(directory) / TABLES_FILE, self.entropy_tables.to_bytes())

    @property
    def sample_rate(self) -> int:
        """Sample rate of the model in Hz."""
        return self.model.sample_rate

    @property
    def kbps_per_stage(self) -> Fraction:
        """Bitrate of one quantiser stage of one channel, exactly."""
        return Fraction(self.model.sample_rate * self._code_bits, self.model.hop_length * 1000)

    @property
    def bitrates_kbps(self) -> tuple[float, ...]:
        """Bitrates per channel that these weights can code."""
        step = self.kbps_per_stage
        return tuple(_plain(step * k) for k in range(1, self.model.n_codebooks + 1))

    @property
    def info(self) -> CodecInfo:
        model = self.model
        return CodecInfo(
            name=self.name,
            weights_sha256=self.weights_sha256,
            sample_rate=model.sample_rate,
            hop_length=model.hop_length,
            frame_rate=model.frame_rate,
            n_codebooks=model.n_codebooks,
            codebook_size=model.codebook_size,
            bitrates_kbps=self.bitrates_kbps,
            parameters=sum(p.numel() for p in model.parameters()),
            receptive_field=model.receptive_field,
            look_ahead=model.look_ahead,
            latency_s=model.latency_s,
            receptive_field_ms=model.receptive_field_ms,
            look_ahead_ms=model.look_ahead_ms,
            latency_ms=model.latency_ms,
            block_frames=BLOCK_FRAMES,
            buffering_ms=1000 * buffering_s(model),
            stage_perplexity=tuple(round(p, 1) for p in model.perplexity().tolist()),
            about=self._about,
        )

    def n_codebooks_for(self, bitrate_kbps: float) -> int:
        """Stages for a bitrate. Errors: :class:`ConfigError` that names the allowed ones."""
        known = isinstance(bitrate_kbps, Real) and np.isfinite(float(bitrate_kbps))
        stages = Fraction(float(bitrate_kbps)) / self.kbps_per_stage if known else Fraction(0)
        if stages.denominator != 1 or not 1 <= stages <= self.model.n_codebooks:
            given = f"{bitrate_kbps:g}" if isinstance(bitrate_kbps, Real) else repr(bitrate_kbps)
            allowed = ", ".join(str(rate) for rate in self.bitrates_kbps)
            raise ConfigError(f"bitrate {given} kbps is not available, allowed are {allowed}")
        return int(stages)

    def encode(
        self,
        wav: ArrayLike | Tensor,
        sample_rate: int,
        *,
        bitrate_kbps: float | None = None,
        n_codebooks: int | None = None,
        beam: int = DEFAULT_BEAM,
        block_frames: int = BLOCK_FRAMES,
        entropy_coding: bool = False,
        metadata: Metadata | None = None,
        progress: Progress | None = None,
    ) -> Encoded:
        """Audio to codes.

        - ``wav``: float numpy array or tensor, [N] or [C, N], full scale -1 to 1, at
          ``sample_rate`` (Hz). It is resampled to the model's rate and never normalised; channels
          do not influence each other.
        - ``bitrate_kbps`` (per channel) or ``n_codebooks``; 6 kbps if neither is given.
        - ``beam``: paths of the code search; more is slower and a little better.
        - ``entropy_coding``: the file of these codes is smaller, by how much depends on the audio;
          without it its bitrate is exactly what was asked for. The codes are the same.
        - ``metadata``: title, comment and gain for the header. The codes are the same.

        Errors: :class:`AudioError` for samples or a rate that cannot be coded,
        :class:`ConfigError` for a bitrate that is not available, and for ``entropy_coding`` with
        weights that have no tables for it.
        """
        stages = self._stages(bitrate_kbps, n_codebooks)
        rate = audio.check_sample_rate(sample_rate)
        x = checked_samples(wav)
        encoder = StreamEncoder(
            self.model,
            stages,
            n_channels=len(x),
            sample_rate=rate,
            beam=beam,
            block_frames=block_frames,
        )
        parts = []
        for end in range(rate, x.shape[1] + rate, rate):
            parts.append(encoder.push(x[:, end - rate : end]))
            if progress is not None:
                progress(min(end / x.shape[1], 1.0))
        parts.append(encoder.flush())
        info = self.stream_info(
            stages,
            n_channels=len(x),
            sample_rate=rate,
            entropy_coding=entropy_coding,
            metadata=metadata,
        )
        info = info.with_counts(encoder.n_samples, encoder.n_input_samples)
        return Encoded(torch.cat(parts, -1), info)

    def streaming_encoder(
        self,
        *,
        bitrate_kbps: float | None = None,
        n_codebooks: int | None = None,
        n_channels: int = 1,
        sample_rate: int | None = None,
        beam: int = DEFAULT_BEAM,
        block_frames: int = BLOCK_FRAMES,
    ) -> StreamEncoder:
        """An encoder for chunks of audio, see :class:`StreamEncoder`; errors as :meth:`encode`.

        ``sample_rate`` of the chunks in Hz, the model's by default. :meth:`stream_info` makes the
        header for its codes.
        """
        return StreamEncoder(
            self.model,
            self._stages(bitrate_kbps, n_codebooks),
            n_channels=n_channels,
            sample_rate=sample_rate,
            beam=beam,
            block_frames=block_frames,
        )

    def streaming_decoder(
        self,
        *,
        bitrate_kbps: float | None = None,
        n_codebooks: int | None = None,
        n_channels: int = 1,
        sample_rate: int | None = None,
        block_frames: int = BLOCK_FRAMES,
    ) -> StreamDecoder:
        """A decoder for codes as they come, see :class:`StreamDecoder`.

        ``sample_rate`` of the audio in Hz, the model's by default.
        """
        return StreamDecoder(
            self.model,
            self._stages(bitrate_kbps, n_codebooks),
            n_channels=n_channels,
            sample_rate=sample_rate,
            block_frames=block_frames,
        )

    def stream_info(
        self,
        n_codebooks: int,
        *,
        n_channels: int = 1,
        sample_rate: int | None = None,
        frames_per_packet: int = 0,
        entropy_coding: bool = False,
        metadata: Metadata | None = None,
    ) -> StreamInfo:
        """The header of a file with codes of this codec, its sample counts left open.

        ``sample_rate`` of the input in Hz; ``frames_per_packet``: 0 takes the format's default.
        Errors: :class:`ConfigError` for ``entropy_coding`` with weights that have no tables for it.
        """
        if entropy_coding and self.entropy_tables is None:
            raise ConfigError(
                f"the weights {self.name!r} have no tables for entropy coding:"
                " `eulerodec entropy-tables` makes them"
            )
        info = StreamInfo(
            model_id=self.name,
            weights_hash=bytes.fromhex(self.weights_sha256)[:8],
            input_sample_rate=sample_rate or self.sample_rate,
            n_codebooks=n_codebooks,
            n_channels=n_channels,
            sample_rate=self.sample_rate,
            hop_length=self.model.hop_length,
            codebook_bits=self._code_bits,
            frames_per_packet=frames_per_packet,
            entropy_tables=self.entropy_tables.hash
            if entropy_coding and self.entropy_tables
            else None,
        )
        return info if metadata is None else info.with_metadata(metadata)

    def decode(
        self,
        encoded: Encoded,
        sample_rate: int | None = None,
        *,
        apply_gain: bool = False,
        block_frames: int = BLOCK_FRAMES,
        progress: Progress | None = None,
    ) -> Tensor:
        """Codes to audio, float32 [C, N] on the CPU.

        At the rate of the input, where N is exactly the input's length, or at ``sample_rate``
        (Hz), where N = ceil(n_samples * sample_rate / input's rate). Nothing is clipped. Frames
        that ``encoded.damage`` says are lost are concealed. ``apply_gain`` multiplies the audio by
        ``encoded.metadata.gain``, as a player may. Errors: :class:`WeightsError` for
        codes made with other weights, :class:`BitstreamError` for codes that do not fit this model.
        """
        self.check_stream(encoded.info)
        rate = audio.check_sample_rate(encoded.sample_rate if sample_rate is None else sample_rate)
        codes = encoded.codes_or_lost
        n_codebooks, total = codes.shape[1:]
        decoder = FileDecoder(
            self.model, encoded.info, n_codebooks, rate, block_frames, apply_gain=apply_gain
        )
        parts = []
        for start in range(0, total, _FRAMES_AT_ONCE):
            parts.append(decoder.push(codes[..., start : start + _FRAMES_AT_ONCE]))
            if progress is not None:
                progress(min((start + _FRAMES_AT_ONCE) / total, 1.0))
        parts.append(decoder.finish(encoded.info, bool(encoded.damage)))
        return torch.cat(parts, 1)

    def compress(
        self,
        wav: ArrayLike | Tensor,
        sample_rate: int,
        bitrate_kbps: float | None = None,
        *,
        beam: int = DEFAULT_BEAM,
        entropy_coding: bool = False,
        metadata: Metadata | None = None,
    ) -> bytes:
        """Audio to the bytes of an ``.eul`` file; arguments and errors as for :meth:`encode`."""
        encoded = self.encode(
            wav,
            sample_rate,
            bitrate_kbps=bitrate_kbps,
            beam=beam,
            entropy_coding=entropy_coding,
            metadata=metadata,
        )
        return encoded.to_bytes()

    def decompress(self, data: bytes, sample_rate: int | None = None) -> tuple[Tensor, int]:
        """Bytes of an ``.eul`` file to audio float32 [C, N] and its sample rate in Hz.

        Errors: :class:`BitstreamError` for bytes that are no file or a damaged one, and as for
        :meth:`decode`.
        """
        encoded = Encoded.from_bytes(data)
        return self.decode(encoded, sample_rate), int(sample_rate or encoded.sample_rate)

    def check_stream(self, info: StreamInfo) -> None:
        """Raise :class:`WeightsError` for a file that other weights made.

        :class:`BitstreamError` for one that contradicts these weights.
        """
        own, other, model = self.weights_sha256[:16], info.weights_hash.hex(), self.model
        if own != other:
            raise WeightsError(
                f"made with the weights {info.model_id!r} {other},"
                f" but {self.name!r} {own} is loaded: decode with those weights"
            )
        fits = (info.sample_rate, info.hop_length) == (model.sample_rate, model.hop_length)
        if not fits or info.n_codebooks > model.n_codebooks:
            raise BitstreamError(
                f"codes of {info.sample_rate} Hz, {info.hop_length} samples a frame, and"
                f" {info.n_codebooks} stages do not fit these weights: {model.sample_rate} Hz,"
                f" {model.hop_length} samples, up to {model.n_codebooks} stages"
            )

    @property
    def _code_bits(self) -> int:
        return (self.model.codebook_size - 1).bit_length()

    def _stages(self, bitrate_kbps: float | None, n_codebooks: int | None) -> int:
        if n_codebooks is None:
            return self.n_codebooks_for(
                DEFAULT_BITRATE_KBPS if bitrate_kbps is None else bitrate_kbps
            )
        if bitrate_kbps is not None:
            raise ConfigError("bitrate_kbps and n_codebooks say the same: give one of them")
        most = self.model.n_codebooks
        if isinstance(n_codebooks, bool) or n_codebooks not in range(1, most + 1):
            raise ConfigError(f"n_codebooks {n_codebooks!r}: allowed are 1 to {most}")
        return int(n_codebooks)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} is not available here; try cpu or auto") from error
    return device


def _plain(rate: Fraction) -> float:
    """An int if it is whole, for messages and JSON."""
    return rate.numerator if rate.denominator == 1 else float(rate)
