"""The EuleroDec network: waveform -> codes -> waveform, complex between STFT and inverse STFT.

A map with the shapes of the default config; planar tensors ``[B, 2C, T]`` hold the real parts of C
complex channels, then the imaginary ones. N samples make T = ceil(N / 264) + 1 frames.

    EuleroDec (network)                                   encode, decode; forward trains
      wav [B, 1, N]
      STFT.analysis (nn/stft) -> spec [B, 2*265, T]
        Bands.energies (bands) -> target [B, 30, T]       log10 of power per bin
      Encoder (encoder) -> z [B, 2*64, T]                 the sum of two paths:
        transform path: MDCT of the frame, compressed, onto 64 components
        network path:   compressed spec -> Trunk (trunk), width 96 -> small shift of z
      ResidualVQ (quantize/) -> 10 stages of codes        beam search
      EnergyCoder (energies) -> stages 6 and 12           predicted from z, corrected by codes
      codes [B, 12, T], 11 bits each
      dequantize -> Latents: z, what precedes each energy stage, its vectors
      decode_bands -> bands [B, 30, T]
      Decoder (decoder) -> spec [B, 2*265, T]
        transform path: back to a signal, its STFT, PitchMixer (pitch) averages periods
        network path:   both spectra -> Trunk, width 160 -> gains and a residual
        EnergyRepair:   bands near to their energies, noise where there is nothing
        bounded:        no frame above what z and bands have together
      STFT.synthesis -> wav [B, 1, N]

Around it: config (what fixes the shape), transform (the MDCT as a map of STFT frames), fit (what is
set from audio before training).
"""

from .bands import Bands
from .config import ModelConfig
from .decoder import Decoder, DecoderState
from .encoder import Encoder, EncoderState
from .energies import EnergyCoder, EnergyState
from .network import EuleroDec, Latents, ModelOutput
from .transform import channel_rms, set_lapped_transform
from .trunk import cat_planar, local_level, scale_channels

__all__ = [
    "Bands",
    "Decoder",
    "DecoderState",
    "Encoder",
    "EncoderState",
    "EnergyCoder",
    "EnergyState",
    "EuleroDec",
    "Latents",
    "ModelConfig",
    "ModelOutput",
    "cat_planar",
    "channel_rms",
    "local_level",
    "scale_channels",
    "set_lapped_transform",
]
