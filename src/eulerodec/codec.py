"""The codec as a user meets it: audio at any rate to codes or bytes, and back.

:class:`Codec` adds to the network (``codec.model``) what files need: weights, resampling,
channels, exact lengths and the ``.eul`` container. There is no state: every call says its bitrate.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from . import audio, blocks, pretrained
from .bitstream import StreamInfo
from .encoded import Encoded
from .errors import AudioError, BitstreamError, ConfigError, WeightsError
from .files import PathLike

if TYPE_CHECKING:
    from .model import EuleroDec

__all__ = ["DEFAULT_BITRATE_KBPS", "Codec", "CodecInfo", "Encoded"]

DEFAULT_BITRATE_KBPS = 6
MAX_CHANNELS = 255  # of one .eul file


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
    ) -> None:
        self.model = model.eval()
        self.name = name
        self.weights_sha256 = weights_sha256 or pretrained.weights_hash(model)
        self._about = about or {}
        self._card = card

    @classmethod
    def from_pretrained(
        cls, name_or_dir: PathLike = pretrained.DEFAULT_WEIGHTS, device: str = "cpu"
    ) -> Codec:
        """Load bundled weights by name, or weights of a directory.

        ``device``: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ..., or ``"auto"`` (CUDA if there is
        one). Errors: :class:`WeightsError`, :class:`ConfigError` for the device.
        """
        target = _device(device)
        loaded = pretrained.load(name_or_dir)
        return cls(
            loaded.model.to(target),
            name=loaded.name,
            weights_sha256=loaded.sha256,
            about=loaded.about,
            card=loaded.card,
        )

    def save_pretrained(self, directory: PathLike) -> None:
        """Write config.json, model.safetensors and the model card, for :meth:`from_pretrained`."""
        self.weights_sha256 = pretrained.save(
            directory, self.model, name=self.name, about=self._about, card=self._card
        )

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
            stage_perplexity=tuple(round(p, 1) for p in model.quantizer.perplexity().tolist()),
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
        beam: int = 1,
        progress: blocks.Progress | None = None,
    ) -> Encoded:
        """Audio to codes.

        - ``wav``: float numpy array or tensor, [N] or [C, N], full scale -1 to 1, at
          ``sample_rate`` (Hz). It is resampled to the model's rate and never normalised; channels
          are coded one by one.
        - ``bitrate_kbps`` (per channel) or ``n_codebooks``; 6 kbps if neither is given.
        - ``beam``: paths of the code search; more is slower and a little better.

        Errors: :class:`AudioError` for samples or a rate that cannot be coded,
        :class:`ConfigError` for a bitrate that is not available.
        """
        stages = self._stages(bitrate_kbps, n_codebooks)
        rate = audio.check_sample_rate(sample_rate)
        x = _samples(wav)
        resampled = audio.resample(x, rate, self.sample_rate)
        audio.check_finite(resampled, "audio after resampling")
        rows = []
        with self._evaluation() as device:
            for i, channel in enumerate(resampled):
                one = torch.from_numpy(channel[None, None]).to(device)
                step = _share(progress, i, len(resampled))
                rows.append(blocks.encode(self.model, one, stages, beam=beam, progress=step).cpu())
        info = StreamInfo(
            model_id=self.name,
            weights_hash=bytes.fromhex(self.weights_sha256)[:8],
            input_sample_rate=rate,
            n_codebooks=stages,
            n_channels=len(x),
            sample_rate=self.sample_rate,
            hop_length=self.model.hop_length,
            codebook_bits=self._code_bits,
            n_samples=resampled.shape[1],
            n_input_samples=x.shape[1],
        )
        return Encoded(torch.cat(rows), info)

    def decode(
        self,
        encoded: Encoded,
        sample_rate: int | None = None,
        *,
        progress: blocks.Progress | None = None,
    ) -> Tensor:
        """Codes to audio, float32 [C, N] on the CPU.

        At the rate of the input, where N is exactly the input's length, or at ``sample_rate``
        (Hz), where N = ceil(n_samples * sample_rate / input's rate). Nothing is clipped. Errors:
        :class:`WeightsError` for codes made with other weights, :class:`BitstreamError` for codes
        that do not fit this model.
        """
        self.check_weights(encoded.info)
        self._check_codes(encoded)
        rate = audio.check_sample_rate(encoded.sample_rate if sample_rate is None else sample_rate)
        n_model, n_input = self._decodable(encoded)
        n_out = audio.resampled_length(n_input, encoded.sample_rate, rate)
        rows = []
        with self._evaluation() as device:
            for i, channel in enumerate(encoded.codes):
                codes, step = channel[None].to(device), _share(progress, i, len(encoded.codes))
                one = blocks.decode(self.model, codes, n_model, progress=step)
                rows.append(one[0].cpu().numpy())
        out = audio.resample(np.concatenate(rows), self.sample_rate, rate, n_out)
        return torch.from_numpy(out)

    def compress(
        self,
        wav: ArrayLike | Tensor,
        sample_rate: int,
        bitrate_kbps: float | None = None,
        *,
        beam: int = 1,
    ) -> bytes:
        """Audio to the bytes of an ``.eul`` file; arguments and errors as for :meth:`encode`."""
        return self.encode(wav, sample_rate, bitrate_kbps=bitrate_kbps, beam=beam).to_bytes()

    def decompress(self, data: bytes, sample_rate: int | None = None) -> tuple[Tensor, int]:
        """Bytes of an ``.eul`` file to audio float32 [C, N] and its sample rate in Hz.

        Errors: :class:`BitstreamError` for bytes that are no file or a damaged one, and as for
        :meth:`decode`.
        """
        encoded = Encoded.from_bytes(data)
        return self.decode(encoded, sample_rate), int(sample_rate or encoded.sample_rate)

    def check_weights(self, info: StreamInfo) -> None:
        """Raise :class:`WeightsError` for a file that other weights made."""
        own, other = self.weights_sha256[:16], info.weights_hash.hex()
        if own != other:
            raise WeightsError(
                f"made with the weights {info.model_id!r} {other},"
                f" but {self.name!r} {own} is loaded: decode with those weights"
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

    def _check_codes(self, encoded: Encoded) -> None:
        info, model, codes = encoded.info, self.model, encoded.codes
        fits = (info.sample_rate, info.hop_length) == (model.sample_rate, model.hop_length)
        if not fits or codes.shape[1] > model.n_codebooks:
            raise BitstreamError(
                f"codes of {info.sample_rate} Hz, {info.hop_length} samples a frame, and"
                f" {codes.shape[1]} stages do not fit these weights: {model.sample_rate} Hz,"
                f" {model.hop_length} samples, up to {model.n_codebooks} stages"
            )
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < model.codebook_size:
            raise BitstreamError(f"a code lies outside 0 to {model.codebook_size - 1}")

    def _decodable(self, encoded: Encoded) -> tuple[int, int]:
        """Samples at the model's and at the input's rate; fewer if the file was cut short."""
        have, hop = encoded.codes.shape[-1], self.model.hop_length
        n_model = encoded.n_samples_model
        if self.model.n_frames(n_model) <= have:
            return n_model, encoded.n_samples
        if not encoded.damage:
            raise BitstreamError(
                f"{n_model} samples take {self.model.n_frames(n_model)} frames, the file has {have}"
            )
        # The last frames only overlap with ones that are lost.
        n_model = max(have - (self.model.n_frames(hop) - 1), 0) * hop
        return n_model, n_model * encoded.sample_rate // self.sample_rate

    @contextlib.contextmanager
    def _evaluation(self) -> Iterator[torch.device]:
        """Eval mode, no gradients; a model that was being trained is left as it was."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield next(self.model.parameters()).device
        finally:
            self.model.train(training)


def _samples(wav: ArrayLike | Tensor) -> NDArray[np.float32]:
    """Checked samples as float32 [C, N]."""
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
    audio.check_finite(x, "audio")
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, dtype=np.float32)
    audio.check_finite(x, "audio in single precision")
    return x


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} is not available here; try cpu or auto") from error
    return device


def _share(progress: blocks.Progress | None, done: int, total: int) -> blocks.Progress | None:
    """Progress of part ``done`` of ``total`` equal parts as progress of the whole."""
    if progress is None:
        return None
    return lambda fraction: progress((done + fraction) / total)


def _plain(rate: Fraction) -> float:
    """An int if it is whole, for messages and JSON."""
    return rate.numerator if rate.denominator == 1 else float(rate)
