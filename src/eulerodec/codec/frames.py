"""What packets tell a decoder, as one tensor that can be cut anywhere along time.

``[C, M, t]``: latents, band energies, numbers of stages and of energy codes, and 1 where a frame is
lost, one above the other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..bitstream import ConstantCoder, Packet, StreamInfo
from ..model import EuleroDec
from ..quantize import Coded
from .headers import check_constant

__all__ = ["PacketFrames", "stacked", "unstacked"]


def stacked(coded: Coded) -> Tensor:
    """Frames that arrived, ``[C, M, t]``."""
    rows = torch.stack([coded.n_stages, coded.n_energies, torch.zeros_like(coded.n_stages)], 1)
    return torch.cat([coded.z, coded.bands, rows.to(coded.z)], 1)


def unstacked(x: Tensor, n_bands: int) -> tuple[Coded, list[bool]]:
    """The frames, and which of them are lost (all channels alike)."""
    z, bands, rows = x.split([x.shape[1] - n_bands - 3, n_bands, 3], 1)
    known = rows[:, :2].long()
    return Coded(z, bands, known[:, 0], known[:, 1]), (rows[:, 2] > 0).any(0).tolist()


class PacketFrames:
    """Payloads of one file or stream to frames.

    Args:
        model: in eval mode.
        info: header of the file.

    Raises:
        BitstreamError: more codebooks than the model has.
    """

    def __init__(self, model: EuleroDec, info: StreamInfo) -> None:
        self._coder, self._n_channels = model.coder, info.n_channels
        self._shape = model.hop_length, model.bands.count
        self._constant: ConstantCoder | None = None
        if info.n_codebooks is not None:
            check_constant(info, self._coder.max_codebooks, model.book.tables.codebook_bits)
            self._constant = ConstantCoder(info)

    def __call__(self, packet: Packet) -> Tensor:
        """Frames ``[C, M, t]`` on the CPU."""
        if packet.payload is None:
            return self.lost(packet.n_frames)
        if self._constant is not None:
            codes = self._constant.decode(packet.payload, packet.n_frames)
            return stacked(self._coder.decode_constant(codes))
        return stacked(self._coder.decode(packet.payload, self._n_channels, packet.n_frames))

    def lost(self, n_frames: int) -> Tensor:
        """Frames that did not arrive."""
        x = torch.zeros(self._n_channels, sum(self._shape) + 3, n_frames)
        x[:, -1] = 1.0
        return x
