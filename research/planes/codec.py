"""A codec of planes, as far as it is: whole recordings to packets at an exact rate, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from eulerodec import Codec
from eulerodec.bitstream.code_tables import CodeTables
from eulerodec.model import EuleroDec
from eulerodec.nn import power_compress

from .decoder import PlanesDecoder
from .material import PACKET
from .packet_coder import PacketCoder

__all__ = ["FITTED", "PlanesCodec", "load_coder"]

FITTED = Path(__file__).parent / "fitted"
HEAD = 8  # bytes of a packet around its payload
Floats = NDArray[np.float32]
Packet = tuple[int, bytes]  # frames, payload


def load_coder(model: EuleroDec, folder: Path) -> PacketCoder:
    """Tables and codebooks that :func:`research.planes.recipe.fit` wrote."""
    assert model.energies is not None
    tables = CodeTables.from_bytes((folder / "tables.safetensors").read_bytes())
    books = load_file(folder / "codebooks.safetensors")["codebooks"].float()
    return PacketCoder(tables, books, model.energies.weight.numpy())


class PlanesCodec:
    """Mono audio at the model's rate to packets, and back.

    Args:
        folder: tables, codebooks, and ``decoder.safetensors`` unless ``trained`` is False.
        trained: whether the decoder was trained for planes, or is the package's as it stands.
    """

    def __init__(self, folder: Path = FITTED, *, trained: bool = True) -> None:
        self.model = Codec.from_pretrained().model
        self.coder = load_coder(self.model, folder)
        tables = self.coder.tables
        self.decoder = PlanesDecoder(self.model, tables.n_latents, tables.n_energies).eval()
        if trained:
            state = load_file(folder / "decoder.safetensors")
            self.decoder.load_state_dict({k: v.float() for k, v in state.items()})

    @torch.no_grad()
    def encode(self, wav: Floats, bitrate_kbps: float, beam: int = 3) -> list[Packet]:
        """Packets of ``wav [N]``; with :data:`HEAD` bytes each they keep to the rate."""
        model = self.model
        spec = model.stft.analysis(torch.from_numpy(wav)[None])
        z = power_compress(model.encoder.transform(spec), model.config.latent_exponent)
        bands = model.band_energies(spec)
        assert bands is not None
        packets, used = [], 0
        for first in range(0, z.shape[-1], PACKET):
            part = slice(first, first + PACKET)
            n = z[..., part].shape[-1]
            room = self._budget(first + n, len(wav), bitrate_kbps) - used
            payload = self.coder.encode(z[..., part], bands[..., part], room, beam) if room else b""
            packets.append((n, payload))
            used += len(payload) + HEAD
        return packets

    def cut(self, packets: list[Packet], n_samples: int, bitrate_kbps: float) -> list[Packet]:
        """The same packets at a lower rate."""
        kept, used, end = [], 0, 0
        for n, payload in packets:
            end += n
            room = self._budget(end, n_samples, bitrate_kbps) - used
            kept.append((n, payload[:room]))
            used += len(kept[-1][1]) + HEAD
        return kept

    def _budget(self, n_frames: int, n_samples: int, bitrate_kbps: float) -> int:
        """Bytes up to the end of a packet, less its head."""
        seconds = min(n_frames * self.model.hop_length, n_samples) / self.model.sample_rate
        return max(int(bitrate_kbps * 125 * seconds) - HEAD, 0)

    @torch.no_grad()
    def decode(self, packets: list[Packet], n_samples: int) -> Floats:
        """Audio ``[n_samples]``."""
        found = [self.coder.decode(payload, 1, n) for n, payload in packets]

        def joined(name: str) -> Tensor:
            return torch.cat([getattr(x, name) for x in found], -1)

        spec = self.decoder(joined("z"), joined("bands"), joined("n_stages"), joined("n_energies"))
        return self.model.stft.synthesis(spec, n_samples)[0].numpy()
