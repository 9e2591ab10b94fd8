"""The transform path's start: a lapped transform as a widely linear map of an STFT frame."""

from __future__ import annotations

import torch

from eulerodec.model import lapped_transform, set_planar_matrix
from eulerodec.nn import STFT

from .decoder import Decoder
from .encoder import Encoder

__all__ = ["set_lapped_transform"]


def set_lapped_transform(encoder: Encoder, decoder: Decoder, stft: STFT) -> None:
    """Sets both transforms to the MDCT and back; identity-like band selection."""
    forward, back = lapped_transform(stft)
    set_planar_matrix(encoder.transform, forward.float())
    set_planar_matrix(decoder.transform, back.float())
    # until initialize(): the lowest coefficients, as they are
    keep = torch.eye(2 * encoder.config.latent_dim, dtype=torch.float32)
    hop, dim = encoder.config.hop_length, encoder.config.latent_dim
    matrix = torch.zeros(2 * dim, hop)
    matrix[:dim, :dim] = keep[:dim, :dim]
    matrix[dim:, hop // 2 : hop // 2 + dim] = keep[dim:, dim:]
    set_planar_matrix(encoder.select, matrix)
    set_planar_matrix(decoder.expand, matrix.t())
