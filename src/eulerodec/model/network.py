"""The EuleroDec network: waveform -> latents and band energies, codes of them -> waveform.

It is complex between STFT and inverse STFT. Encoder and decoder share a lapped transform: a widely
linear map of one STFT frame (it starts as the MDCT, the critically sampled transform hidden in the
STFT; the MDCT is real-linear but not complex-linear in the STFT, hence widely linear), with
magnitude compression of its complex coefficients. The decoder adds to it what a transform cannot
know: periods of the pitch are averaged, and complex gated convolutions, 2x2-whitening and axial
attention mix frames and bands. It brings its bands near to the coded energies, with its own
spectrum where it has one and with noise where it has none.

All inner tensors are planar (see :mod:`eulerodec.nn.planar`): [B, 2C, T], real parts first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..errors import AudioError, ConfigError
from ..nn import STFT
from ..quantize import CodeBook, Coded, PacketCoder
from .bands import Bands
from .config import ModelConfig
from .decoder import Decoder
from .encoder import Encoder
from .transform import set_lapped_transform

__all__ = ["EuleroDec", "ModelOutput", "joined"]

_TRAINING_BEAM = 1  # of codes that are made anew in every step


@dataclass
class ModelOutput:
    """Training forward.

    Attributes:
        audio: ``[B, 1, N]``.
        spec: planar ``[B, 2F, T]``.
        losses: scalars that a training loss may add; this network has none.
        stats: numbers for the log.
    """

    audio: Tensor
    spec: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    stats: dict[str, float] = field(default_factory=dict)


class EuleroDec(nn.Module):
    """The codec network.

    Args:
        config: what fixes its shape.
        book: what codes stand for; not part of the weights.
    """

    def __init__(self, config: ModelConfig, book: CodeBook) -> None:
        super().__init__()
        width, bands = book.codebooks.shape[2], book.tables.n_bands
        if width != config.hop_length:
            raise ConfigError(
                f"codes of {width} numbers a frame do not fit hop_length={config.hop_length}"
            )
        self.config = config
        self.book = book
        self.coder = PacketCoder(book)
        # without weights or saved buffers: parts that need them hold the same ones
        self.stft = STFT(config.n_fft, config.hop_length)
        self.bands = Bands(config.sample_rate, config.hop_length)
        if bands != self.bands.count:
            raise ConfigError(
                f"codes of {bands} bands do not fit sample_rate={config.sample_rate}, which has"
                f" {self.bands.count}"
            )
        self.encoder = Encoder(config)
        self.decoder = Decoder(config, self.stft, self.bands, book.n_codebooks, book.n_energies)
        set_lapped_transform(self.encoder, self.decoder, self.stft)

    # ---- facts --------------------------------------------------------------------------------

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    @property
    def hop_length(self) -> int:
        return self.config.hop_length

    @property
    def frame_rate(self) -> float:
        return self.config.frame_rate

    @property
    def look_ahead(self) -> int:
        """Samples after its own that an output sample can depend on, at most."""
        # sample n of block b = n // hop needs spectrum frames to b + 1, these latents to
        # b + 1 + decoder, and frame t ends with block t
        return (2 + self.decoder.look_ahead) * self.hop_length - 1

    @property
    def receptive_field(self) -> int:
        """Samples of input that an output sample can depend on, at most, packets aside."""
        return self.look_ahead + (2 + self.decoder.look_back) * self.hop_length

    @property
    def latency_s(self) -> float:
        """Algorithmic latency in seconds: look-ahead including the framing, packets aside."""
        return (self.look_ahead + 1) / self.sample_rate

    def n_frames(self, n_samples: int) -> int:
        """Latent frames for that many samples: ceil(N / hop_length) + 1, 0 for 0."""
        return self.stft.n_frames(n_samples)

    # ---- coding -------------------------------------------------------------------------------

    def analysis(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """Waveform ``[B, 1, N]`` -> latents ``[B, 2P, T]`` and log10 energies ``[B, bands, T]``."""
        if wav.ndim != 3 or wav.shape[1] != 1:
            raise AudioError(
                f"the network takes audio [B, 1, N], not {list(wav.shape)}: channels are items of"
                " the batch"
            )
        return self.describe(self.stft.analysis(wav[:, 0]))

    def describe(self, spec: Tensor) -> tuple[Tensor, Tensor]:
        """What is coded of a spectrum ``[B, 2F, T]``: latents, and log10 energies of bands."""
        return self.encoder(spec), self.bands.energies(spec)

    def exact(self, z: Tensor, bands: Tensor) -> Coded:
        """Latents and energies as if they had been coded without any error."""
        shape = (z.shape[0], z.shape[-1])
        most = torch.full(shape, self.book.n_codebooks, device=z.device)
        return Coded(z, bands, most, torch.full_like(most, self.book.n_energies))

    # ---- training -----------------------------------------------------------------------------

    def forward(self, wav: Tensor, *, bitrate_kbps: Tensor | None = None) -> ModelOutput:
        """Waveform ``[B, 1, N]`` through the whole codec; gradients reach the decoder alone.

        Args:
            wav: of one packet each.
            bitrate_kbps: ``[B]``; None: nothing is quantised (an upper bound).
        """
        # codes are searched in single precision, whatever the network is trained in
        with torch.no_grad(), torch.autocast(wav.device.type, enabled=False):
            z, bands = self.analysis(wav)
            coded = self.exact(z, bands)
            if bitrate_kbps is not None:
                seconds = wav.shape[-1] / self.sample_rate
                sizes = [int(125 * kbps * seconds) for kbps in bitrate_kbps.tolist()]
                coded = self._coded(z, bands, sizes)
        spec = self.decoder(coded)
        audio = self.stft.synthesis(spec, wav.shape[-1])[:, None]
        stages = coded.n_stages.float().mean()
        return ModelOutput(audio, spec, stats={"n_stages": float(stages)})

    def _coded(self, z: Tensor, bands: Tensor, sizes: Sequence[int]) -> Coded:
        """Each item coded as a packet of so many bytes."""
        parts = []
        for k, size in enumerate(sizes):
            item = slice(k, k + 1)
            payload = self.coder.encode(z[item], bands[item], size, _TRAINING_BEAM)
            parts.append(self.coder.decode(payload, 1, z.shape[-1]))
        return joined(parts, 0)


def joined(parts: Sequence[Coded], dim: int = -1) -> Coded:
    """Coded frames along time (or items of a batch, ``dim`` 0)."""
    return Coded(
        torch.cat([x.z for x in parts], dim),
        torch.cat([x.bands for x in parts], dim),
        torch.cat([x.n_stages for x in parts], dim),
        torch.cat([x.n_energies for x in parts], dim),
    )
