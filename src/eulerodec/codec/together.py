"""Packets of many recordings through one search, for devices that pay for every call.

With a constant number of codes, what is coded of a packet depends on nothing outside of it. Packets
of like length go together, and the shorter ones go on with their last frame, as the encoder itself
fills up a block: this changes no code of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bitstream import ConstantCoder, ConstantCodes, Packet, StreamInfo
from ..model import EuleroDec
from ..quantize import PacketCoder
from .encoded import Encoded
from .streaming import StreamEncoder

__all__ = ["encode_together"]

FRAMES_TOGETHER = 1 << 15  # of all channels, in one search: a gigabyte of distances with four paths


class _Analysis(StreamEncoder):
    """An encoder that keeps what is to be coded of each packet, and codes nothing."""

    def reset(self) -> None:
        self.described: list[tuple[Tensor, Tensor]] = []
        super().reset()

    def _payload(self, z: Tensor, bands: Tensor) -> bytes:
        self.described.append((z, bands))
        return b""


@dataclass
class _Part:
    """One packet of one recording: latents ``[C, D, T]``, energies ``[C, N, T]``, its payload."""

    item: int
    packet: Packet
    z: Tensor
    bands: Tensor
    payload: bytes = b""


def encode_together(
    model: EuleroDec, infos: Sequence[StreamInfo], waves: Sequence[NDArray[np.float32]], beam: int
) -> list[Encoded]:
    """What the constant coding makes of recordings, searched on the device of the model.

    Args:
        model: in eval mode.
        infos: the header of each recording, counts included; all of one coding.
        waves: checked samples ``[C, N]`` of each.
        beam: paths of the search.
    """
    parts: list[_Part] = []
    for item, (info, wave) in enumerate(zip(infos, waves, strict=True)):
        analysis = _Analysis(model, info, beam=beam)
        packets = [*analysis.push_checked(wave), *analysis.flush()]
        parts += [
            _Part(item, packet, *of_packet)
            for packet, of_packet in zip(packets, analysis.described, strict=True)
        ]
    coder = _coder_on(model)
    with torch.inference_mode():
        for group in _groups(parts):
            _code(coder, infos, group, beam)
    found: list[list[Packet]] = [[] for _ in infos]
    for part in parts:
        found[part.item].append(replace(part.packet, payload=part.payload))
    return [Encoded(tuple(x), info) for x, info in zip(found, infos, strict=True)]


def _coder_on(model: EuleroDec) -> PacketCoder:
    """The model's coder, or one whose codebooks are on the device of its network."""
    device = model.stft.window.device
    if model.coder.codebooks.device == device:
        return model.coder
    return PacketCoder(model.book).to(device)


def _groups(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Packets that go together, the shortest first."""
    group: list[_Part] = []
    rows = 0
    for part in sorted(parts, key=lambda part: part.z.shape[2]):
        n_channels, _, n_frames = part.z.shape
        if group and (rows + n_channels) * n_frames > FRAMES_TOGETHER:
            yield group
            group, rows = [], 0
        group.append(part)
        rows += n_channels
    if group:
        yield group


def _code(
    coder: PacketCoder, infos: Sequence[StreamInfo], group: Sequence[_Part], beam: int
) -> None:
    """Fills in the payloads of a group."""
    n_codebooks = infos[0].n_codebooks
    assert n_codebooks is not None
    longest = max(part.z.shape[2] for part in group)
    z = torch.cat([_filled(part.z, longest) for part in group]).to(coder.codebooks.device)
    bands = torch.cat([_filled(part.bands, longest) for part in group])
    coded = coder.encode_constant(z, bands, n_codebooks, beam)
    row = 0
    for part in group:
        rows = slice(row, row := row + len(part.z))
        codes = ConstantCodes(coded.levels[rows], coded.codes[rows, :, : part.z.shape[2]])
        part.payload = ConstantCoder(infos[part.item]).encode(codes)


def _filled(x: Tensor, n_frames: int) -> Tensor:
    """``[C, D, T]``, going on with its last frame."""
    last = x[..., -1:].expand(*x.shape[:2], n_frames - x.shape[2])
    return torch.cat([x, last], 2)
