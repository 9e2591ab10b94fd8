"""Building blocks for complex-valued networks on planar tensors (see :mod:`.planar`)."""

from .activation import Cardioid, MagnitudeGELU, MagnitudeGLU, ModReLU, gated
from .attention import AxialAttention, TimeAttention
from .bands import band_centres, erb_rate, erb_width, triangles
from .conv import (
    ComplexConv1d,
    ComplexConv2d,
    ComplexConvTranspose1d,
    ComplexConvTranspose2d,
    WidelyLinearConv1d,
    prepared,
)
from .correlation import Correlation
from .history import Clock, History, StreamState, context, delay, mask_frames
from .init import complex_glorot_, complex_kaiming_, complex_unitary_
from .linear import ComplexLinear
from .norm import ComplexBatchNorm, ComplexRMSNorm, WhiteningNorm, inverse_sqrt_2x2
from .planar import ComplexModule, magnitude, scale_planar, to_complex, to_planar
from .stft import STFT, power_compress, power_expand

__all__ = [
    "STFT",
    "AxialAttention",
    "Cardioid",
    "Clock",
    "ComplexBatchNorm",
    "ComplexConv1d",
    "ComplexConv2d",
    "ComplexConvTranspose1d",
    "ComplexConvTranspose2d",
    "ComplexLinear",
    "ComplexModule",
    "ComplexRMSNorm",
    "Correlation",
    "History",
    "MagnitudeGELU",
    "MagnitudeGLU",
    "ModReLU",
    "StreamState",
    "TimeAttention",
    "WhiteningNorm",
    "WidelyLinearConv1d",
    "band_centres",
    "complex_glorot_",
    "complex_kaiming_",
    "complex_unitary_",
    "context",
    "delay",
    "erb_rate",
    "erb_width",
    "gated",
    "inverse_sqrt_2x2",
    "magnitude",
    "mask_frames",
    "power_compress",
    "power_expand",
    "prepared",
    "scale_planar",
    "to_complex",
    "to_planar",
    "triangles",
]
