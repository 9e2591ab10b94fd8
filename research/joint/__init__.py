"""The jointly trained network of questions 2 and 3: what the codec was before it had packets.

Encoder and decoder networks and a residual quantiser that are trained together, with the same
number of codes for every frame; latents alone are coded. It works on whole recordings.

    config.py     what fixes the shape
    rvq.py        the quantiser: moving averages, revival of codes, k-means
    encoder.py    STFT -> latents
    decoder.py    latents -> STFT
    transform.py  the lapped transform that both may have beside their networks
    network.py    JointModel: all of it, and its training forward
    fit.py        what is set from audio before training
    weights.py    a folder of trained weights
"""

from .config import JointConfig
from .decoder import Decoder
from .encoder import Encoder
from .network import JointModel, JointOutput
from .rvq import ResidualVQ

__all__ = ["Decoder", "Encoder", "JointConfig", "JointModel", "JointOutput", "ResidualVQ"]
