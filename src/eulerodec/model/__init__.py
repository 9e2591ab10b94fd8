"""The EuleroDec network: waveform -> what is coded, codes -> waveform.

A map with the shapes of the default config; planar tensors ``[B, 2C, T]`` hold the real parts of C
complex channels, then the imaginary ones. N samples make T = ceil(N / 264) + 1 frames.

    EuleroDec (network)                                   analysis, decoder; forward trains
      wav [B, 1, N]
      STFT.analysis (nn/stft) -> spec [B, 2*265, T]
        Bands.energies (bands) -> energies [B, 30, T]     log10 of power per bin
      Encoder (encoder) -> z [B, 2*132, T]                MDCT of the frame, compressed
      PacketCoder (quantize/) -> payload of a packet      as many codes as its bytes hold, and
                              -> Coded                    what they stand for, frame by frame
      Decoder (decoder) -> spec [B, 2*265, T]
        transform path: back to a signal, its STFT, PitchMixer (pitch) averages periods
        network path:   both spectra -> Trunk (trunk), width 160 -> gains and a residual
        EnergyRepair:   bands near to their energies, noise where there is nothing
        bounded:        no frame above what z and energies have together
      STFT.synthesis -> wav [B, 1, N]

Around it: config (what fixes the shape), transform (the MDCT as a map of STFT frames), fit (what is
set from audio before training).
"""

from .bands import Bands
from .config import ModelConfig
from .decoder import Decoder, DecoderState
from .encoder import Encoder
from .network import EuleroDec, ModelOutput, joined
from .transform import channel_rms, lapped_transform, set_lapped_transform, set_planar_matrix
from .trunk import cat_planar, local_level, scale_channels

__all__ = [
    "Bands",
    "Decoder",
    "DecoderState",
    "Encoder",
    "EuleroDec",
    "ModelConfig",
    "ModelOutput",
    "cat_planar",
    "channel_rms",
    "joined",
    "lapped_transform",
    "local_level",
    "scale_channels",
    "set_lapped_transform",
    "set_planar_matrix",
]
