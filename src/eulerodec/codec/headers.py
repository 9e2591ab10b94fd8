"""Headers of the files that weights make, and whether a file fits weights; no torch."""

from __future__ import annotations

from dataclasses import dataclass

from .. import audio
from ..bitstream import Metadata, StreamInfo
from ..errors import BitstreamError, ConfigError, WeightsError
from ..settings import whole
from .checks import DEFAULT_BITRATE_KBPS, MAX_CHANNELS, checked_bitrate

__all__ = ["Framing", "check_constant"]


@dataclass(frozen=True, kw_only=True)
class Framing:
    """What weights fix of their files.

    Attributes:
        name: of the weights.
        codes_hash: identity of what the bits mean, 8 bytes.
        sample_rate: Hz.
        hop_length: samples of a frame.
        codebook_bits, max_codebooks: of the constant coding.
        look_back, look_ahead: frames of latents that a frame of the decoded spectrum depends on.
    """

    name: str
    codes_hash: bytes
    sample_rate: int
    hop_length: int
    codebook_bits: int
    max_codebooks: int
    look_back: int
    look_ahead: int

    def stream_info(
        self,
        *,
        bitrate_kbps: float | None,
        n_codebooks: int | None,
        n_channels: int,
        sample_rate: int,
        frames_per_packet: int = 0,
        metadata: Metadata | None = None,
    ) -> StreamInfo:
        """The header of a file of unknown length.

        Args:
            bitrate_kbps: of each channel; None: the default.
            n_codebooks: in place of a bitrate: so many codes for every frame.
            n_channels: 1 to 255.
            sample_rate: of the input, Hz.
            frames_per_packet: 1 to 255; 0 takes the format's default.
            metadata: title, comment and gain.

        Raises:
            AudioError: a rate that cannot be coded.
            ConfigError: an argument out of range.
        """
        if n_codebooks is not None:
            if bitrate_kbps is not None:
                raise ConfigError("bitrate_kbps and n_codebooks say the same: give one of them")
            n_codebooks = whole("n_codebooks", n_codebooks, 1, self.max_codebooks)
        else:
            bitrate_kbps = checked_bitrate(
                DEFAULT_BITRATE_KBPS if bitrate_kbps is None else bitrate_kbps
            )
        info = StreamInfo(
            model_id=self.name,
            weights_hash=self.codes_hash,
            input_sample_rate=audio.check_sample_rate(sample_rate),
            bitrate_kbps=bitrate_kbps,
            n_codebooks=n_codebooks,
            codebook_bits=None if n_codebooks is None else self.codebook_bits,
            n_channels=whole("n_channels", n_channels, 1, MAX_CHANNELS),
            sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            frames_per_packet=whole("frames_per_packet", frames_per_packet, 0, 0xFF),
        )
        # A sample needs its own spectrum frame and the next one. Files say what the decoder sees
        # if it is more than a reader takes for granted.
        needed = self.look_back + 1, self.look_ahead + 2
        if needed[0] > info.context[0] or needed[1] > info.context[1]:
            info = info.replace(context=(max(64, needed[0]), max(32, needed[1])))
        return info if metadata is None else info.replace(metadata=metadata)

    def check(self, info: StreamInfo) -> None:
        """Check that a file can be decoded with these weights.

        Raises:
            WeightsError: it was made with other codes.
            BitstreamError: it contradicts these weights.
        """
        own, other = self.codes_hash.hex(), info.weights_hash.hex()
        if own != other:
            raise WeightsError(
                f"made with the codes {other} of {info.model_id!r}, but those of {self.name!r} are"
                f" {own}: decode with weights that have these codes"
            )
        if (info.sample_rate, info.hop_length) != (self.sample_rate, self.hop_length):
            raise BitstreamError(
                f"codes of {info.sample_rate} Hz and {info.hop_length} samples a frame do not fit"
                f" these weights: {self.sample_rate} Hz, {self.hop_length} samples"
            )


def check_constant(info: StreamInfo, max_codebooks: int, codebook_bits: int) -> None:
    """Check that weights have the codebooks of a file, if it has a constant number.

    Raises:
        BitstreamError: they have not.
    """
    if info.n_codebooks is None:
        return
    if info.n_codebooks > max_codebooks or info.codebook_bits != codebook_bits:
        raise BitstreamError(
            f"{info.n_codebooks} codes of {info.codebook_bits} bits a frame do not fit these"
            f" weights: up to {max_codebooks} of {codebook_bits} bits"
        )
