"""The network: waveform -> latents -> codes -> latents -> waveform, all trained together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eulerodec.nn import STFT

from .config import JointConfig
from .decoder import Decoder
from .encoder import Encoder
from .rvq import ResidualVQ
from .transform import set_lapped_transform

__all__ = ["JointModel", "JointOutput"]


@dataclass
class JointOutput:
    """Training forward.

    Attributes:
        audio: ``[B, 1, N]``.
        losses: ``commitment`` of the latents to their codes; none if not quantised.
        stats: numbers for the log.
    """

    audio: Tensor
    losses: dict[str, Tensor]
    stats: dict[str, float]


class JointModel(nn.Module):
    """Encoder, quantiser and decoder. Its rate is one of whole stages, 1 kbps each."""

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.config = config
        self.stft = STFT(config.n_fft, config.hop_length)
        self.encoder = Encoder(config)
        self.quantizer = ResidualVQ(config.latent_dim, config.n_codebooks, config.codebook_size)
        self.decoder = Decoder(config, self.stft)
        set_lapped_transform(self.encoder, self.decoder, self.stft)

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    def stages(self, bitrate_kbps: Tensor) -> Tensor:
        """Stages for rates ``[B]``, int64: the nearest number there is."""
        return bitrate_kbps.round().long().clamp(1, self.config.n_codebooks)

    def forward(self, wav: Tensor, *, bitrate_kbps: Tensor | None = None) -> JointOutput:
        """Waveform ``[B, 1, N]`` through all of it, with gradients.

        Args:
            wav: at the model's rate.
            bitrate_kbps: of each item, ``[B]``; None passes the latents unquantised (an upper
                bound).
        """
        z = self.encoder(self.stft.analysis(wav[:, 0]))
        losses, stats = {}, {}
        if bitrate_kbps is None:
            stages = torch.zeros(len(wav), dtype=torch.int64, device=wav.device)
        else:
            stages = self.stages(bitrate_kbps)
            out = self.quantizer(z, stages)
            z, stats, losses = out.quantized, out.stats, {"commitment": out.commitment_loss}
        audio = self.stft.synthesis(self.decoder(z, stages), wav.shape[-1])[:, None]
        return JointOutput(audio, losses, stats)
