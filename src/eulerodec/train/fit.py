"""From packed audio to the codes that a decoder is trained for.

The order is fixed: energies first, which latents are normalised by; then the codebooks of latents;
then classes of frames and frequencies, on codes as the encoder chooses them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bitstream.code_tables import CodeTables
from ..bitstream.payload import PacketCodes, PayloadCoder
from ..errors import ConfigError
from ..files import PathLike, write_bytes
from ..model import Bands, ModelConfig
from ..quantize import CodeBook, PacketCoder
from ..quantize.energies import BlockEnergies
from .data import load_data, split
from .material import PACKET, Analysis, Material, synthetic_cache
from .recipe import Recipe
from .tables import PlaneRule, count_codes, first_tables, fit_classes, fit_energies, kmeans, nearest

__all__ = ["FitSizes", "fit_codes", "write_codes"]

CODES_FILE = "codes.safetensors"
BLOCK = 4  # frames whose energies are coded together
_LOUDEST = 4.0  # of a latent against what its energies say
_BEAM = 2
_LATENTS_FROM, _COUNTS_FROM = 0.1, 0.85  # shares of the time
_DEAF_FROM = 7000.0  # Hz; an error of energies counts less from there on
Floats = NDArray[np.float32]
Progress = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class FitSizes:
    """How much the fit sees. Hundreds of vectors for each code, or the codes carry noise.

    Attributes:
        energy_packets, latent_packets, count_packets: packets that each part is fitted to.
        codebook_size: codes of a stage, a power of two from 256 on.
        energy_stages: after the two of the base.
        count_kbps: rate of the codes whose frequencies are counted.
        rule: how frames share the bits of a packet.
    """

    energy_packets: int = 14_000
    latent_packets: int = 9_000
    count_packets: int = 2_200
    codebook_size: int = 2048
    energy_stages: int = 8
    count_kbps: float = 14.0
    rule: PlaneRule = field(default_factory=PlaneRule)

    def __post_init__(self) -> None:
        size = self.codebook_size
        if size & (size - 1) or not 256 <= size <= 1 << 16:
            raise ConfigError(f"codebook_size={size} must be a power of two from 256 to 65536")
        if len(self.rule.energy_planes) != self.energy_stages:
            raise ConfigError("the rule must have a plane for each of energy_stages")

    def of_packets(self, n: int) -> FitSizes:
        """The same with ``n`` packets for the energies, and all others in proportion."""
        part = n / self.energy_packets
        latents, counts = (
            max(1, round(part * k)) for k in (self.latent_packets, self.count_packets)
        )
        return replace(self, energy_packets=n, latent_packets=latents, count_packets=counts)


def write_codes(
    recipe: Recipe,
    out: PathLike,
    sizes: FitSizes | None = None,
    *,
    quiet: bool = False,
    progress: Progress = lambda done: None,
) -> Path:
    """Fits codes to the audio of a recipe, but for what it holds out, and writes them to a folder.

    Args:
        recipe: its ``[data]``, and the ``[model]`` that fixes rate and transform.
        out: folder of codes.safetensors; made if missing.
        sizes: how much the fit sees.
        quiet: do not tell how audio is decoded.
        progress: called with the share that is done.

    Returns:
        The file.

    Raises:
        ConfigError: a wrong ``[model]``, no data, or patterns that hold out nothing or all of it.
        TrainingError: audio of another rate, or none that is long enough.
    """
    settings = {k: v for k, v in recipe.model.items() if k != "codes"}
    try:
        config = ModelConfig.from_dict(settings)
    except ConfigError as error:
        raise ConfigError(f"[model]: {error}") from None
    caches, _ = split(load_data(recipe.data, config.sample_rate, quiet=quiet), recipe.data)
    material = Material([*caches, synthetic_cache(caches)], Analysis(config))
    book = fit_codes(material, config, sizes or FitSizes(), progress)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / CODES_FILE, book.to_bytes())
    return folder / CODES_FILE


def fit_codes(
    material: Material,
    config: ModelConfig,
    sizes: FitSizes,
    progress: Progress = lambda done: None,
) -> CodeBook:
    """Tables and codebooks; the same input gives the same on one machine.

    Args:
        material: to fit them to.
        config: of the network whose latents and energies these are.
        sizes: how much the fit sees.
        progress: called with the share that is done.

    Returns:
        The codes.
    """
    bands = Bands(config.sample_rate, config.hop_length)
    weight = torch.where(bands.centres < _DEAF_FROM, 1.0, 0.6).float().numpy()
    width = bands.spread.sum(0).numpy()
    blocks = _relative(material, material.draw(sizes.energy_packets, 11), width)
    energies = fit_energies(
        blocks, np.tile(weight, BLOCK), sizes.codebook_size, n_more=sizes.energy_stages
    )
    tables = first_tables(energies, width, sizes.rule)
    progress(_LATENTS_FROM)
    books = _latent_books(material, tables, weight, sizes, progress)
    tables = _counted(material, CodeBook(tables, books, weight), config, sizes, progress)
    return CodeBook(tables, books, weight)


class _Base:
    """Energies of packets to base codes, and the gains of frames ``[T]``."""

    def __init__(self, tables: CodeTables, weight: Floats) -> None:
        self.coder, self._energies = PayloadCoder(tables), BlockEnergies(tables, weight)

    def __call__(self, bands: Floats) -> PacketCodes:
        codes = PacketCodes.empty(self.coder.tables, 1, PACKET)
        self._energies.search(bands[None], codes)
        return codes

    def layout(self, codes: PacketCodes) -> tuple[Floats, NDArray[np.int64]]:
        """Gain and loudness of each frame."""
        layout = self.coder.layout(codes)
        return self._energies.gain(codes, layout)[0], layout.loudness[0]


def _relative(material: Material, starts: Sequence[tuple[int, int]], width: Floats) -> Floats:
    """Energies of packets in dB against their loudest frame, ``[n, blocks, V]``."""
    bands = np.stack([10.0 * energies for _, energies in material.read(starts)])
    share = width / width.sum()
    loudness = 10 / 0.75 * np.log10((10 ** (0.075 * bands)) @ share + 1e-9)
    level = np.round(np.maximum(loudness.max(1), -75.0) / 0.75) * 0.75
    x = bands - level[:, None, None]
    soft = 10 * np.log10(10 ** (np.minimum(x, 0) / 10) + 1e-7)  # the floor of BlockEnergies
    blocks = (np.maximum(x, 0) + soft).astype(np.float32)
    return blocks.reshape(len(starts), PACKET // BLOCK, -1)


def _latent_books(
    material: Material, tables: CodeTables, weight: Floats, sizes: FitSizes, progress: Progress
) -> Tensor:
    """Codebooks by k-means, stage after stage, on latents of unit power, exact in float16.

    A frame weighs by the root of its power, as it does in the order of planes; a stage sees the
    frames that get so far at 16 kbps.
    """
    starts = material.draw(sizes.latent_packets, 21)
    base, loudness, parts = _Base(tables, weight), [], []
    for latents, bands in material.read(starts):
        gain, loud = base.layout(base(bands))
        parts.append(latents / np.maximum(gain, 1e-12)[:, None])
        loudness.append(loud)
    z = np.concatenate(parts)
    del parts
    decibel = np.maximum(np.concatenate(loudness), -960) / 16
    power = np.square(z).sum(1)
    unit = np.sqrt(np.median(power[(decibel > -50) & (power > 0)]))
    z *= np.minimum(1.0, _LOUDEST * unit / np.sqrt(np.maximum(power, 1e-12)))[:, None]
    importance = (10 ** (0.0375 * decibel)).astype(np.float32)
    wait = np.clip(-decibel * 0.4, 0, 14)
    books, n_stages = [], sizes.rule.n_latents
    for k in range(n_stages):
        seen = wait <= max(2, 22 - k) if k > 4 else np.ones(len(z), bool)
        book = kmeans(z[seen], sizes.codebook_size, importance[seen])
        books.append(book.astype(np.float16).astype(np.float32))
        z -= books[-1][nearest(z, books[-1])]
        progress(_LATENTS_FROM + (_COUNTS_FROM - _LATENTS_FROM) * (k + 1) / n_stages)
    return torch.from_numpy(np.stack(books))


def _counted(
    material: Material, book: CodeBook, config: ModelConfig, sizes: FitSizes, progress: Progress
) -> CodeTables:
    """Tables with classes of frames, and frequencies as the encoder's choice has them."""
    starts = material.draw(sizes.count_packets, 33)
    base = _Base(book.tables, book.energy_weight)
    tables = fit_classes(book.tables, [base(bands) for _, bands in material.read(starts)])
    coder = PacketCoder(replace(book, tables=tables))
    n_bytes = int(125 * sizes.count_kbps * PACKET * config.hop_length / config.sample_rate)
    codes = []
    for k, packet in enumerate(material.read(starts), 1):
        z, bands = (torch.from_numpy(x).t()[None] for x in packet)
        codes.append(coder.search(z, bands, n_bytes, _BEAM)[0])
        progress(_COUNTS_FROM + (1 - _COUNTS_FROM) * k / len(starts))
    return count_codes(tables, codes)
