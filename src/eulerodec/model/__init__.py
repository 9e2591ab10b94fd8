"""The EuleroDec network: waveform -> codes -> waveform, complex between STFT and inverse STFT."""

from .config import ModelConfig
from .decoder import Decoder, DecoderState
from .encoder import Encoder, EncoderState
from .energies import EnergyCoder, EnergyState
from .network import EuleroDec, Latents, ModelOutput
from .transform import set_lapped_transform, typical
from .trunk import cat_planar, local_level, scale_channels

__all__ = [
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
    "local_level",
    "scale_channels",
    "set_lapped_transform",
    "typical",
]
