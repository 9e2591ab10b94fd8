"""The payload of a packet: symbols in order of importance, range coded, cut at any byte.

First each channel's level and the base energies of its blocks. From these follow, for every frame,
its loudness, hence a delay, and a class, hence the frequencies of its codes. Then plane after
plane: code k of a frame with delay d lies in plane ``latent_plane[k, d]``. Where the bytes end, the
packet ends: **the symbols that count are those on which every continuation of the bytes agrees**,
so that any prefix of a payload is a payload of a lower rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .code_tables import ABSENT, LEVEL_STEP, TOTAL, CodeTables
from .range_coder import RangeDecoder, RangeEncoder, Starts

__all__ = ["CodesEndError", "Layout", "PacketCodes", "PayloadCoder"]

Ints = NDArray[np.int64]


class CodesEndError(Exception):
    """The codes do not go deep enough for the bytes; search deeper."""


@dataclass
class PacketCodes:
    """The codes of a packet of C channels and T frames, -1 where there is none.

    Attributes:
        levels: ``[C]``, 0 to 255.
        energies: ``[C, J, blocks]``.
        latents: ``[C, K, T]``.
    """

    levels: Ints
    energies: Ints
    latents: Ints

    @classmethod
    def empty(cls, tables: CodeTables, n_channels: int, n_frames: int) -> PacketCodes:
        """All codes absent."""
        blocks = -(-n_frames // tables.block_frames)
        return cls(
            np.full(n_channels, ABSENT, np.int64),
            np.full((n_channels, tables.n_energies, blocks), ABSENT, np.int64),
            np.full((n_channels, tables.n_latents, n_frames), ABSENT, np.int64),
        )


@dataclass
class Layout:
    """What follows from levels and base energies: the order of all other codes of a packet.

    Attributes:
        bands: base energies ``[C, T, N]``, 1/16 dB against the level.
        loudness, delays, classes: of frames ``[C, T]``.
        order: one row a code: plane, 0 (energy) or 1 (latent), stage, channel, block or frame.
    """

    bands: Ints
    loudness: Ints
    delays: Ints
    classes: Ints
    order: Ints


class PayloadCoder:
    """Codes of packets to bytes and back, by one model's tables.

    Args:
        tables: of the model.
    """

    def __init__(self, tables: CodeTables) -> None:
        self.tables = tables
        self._starts = _AllStarts(tables)

    def encode(self, codes: PacketCodes, max_bytes: int, layout: Layout | None = None) -> bytes:
        """The most important codes, as many as ``max_bytes`` hold.

        Args:
            codes: what to code: all that fits, and some 8 bytes more where there are more stages.
            max_bytes: 0 or more.
            layout: of these codes, if it is known.

        Returns:
            At most ``max_bytes``, and fewer if all codes take fewer.

        Raises:
            CodesEndError: codes that may fit are absent.
        """
        encoder = RangeEncoder()
        for symbols, keys in self._parts(codes, layout):
            n = symbols.index(ABSENT) if ABSENT in symbols else len(symbols)
            if encoder.write(symbols[:n], self._tables(keys[:n]), max_bytes):
                return encoder.settled(max_bytes)
            if n < len(symbols):
                raise CodesEndError(f"the codes end before {max_bytes} bytes do")
        data = encoder.finish()
        return data if len(data) <= max_bytes else self._shortest(data[:max_bytes], codes)

    def _parts(
        self, codes: PacketCodes, layout: Layout | None
    ) -> Iterator[tuple[list[int], list[int]]]:
        """Symbols and their tables' keys: levels, base, all others."""
        tables = self.tables
        yield codes.levels.tolist(), [LEVEL] * len(codes.levels)
        base = codes.energies[codes.levels > 0, : tables.n_base].transpose(2, 0, 1)  # [b, C, j]
        block = tables.energy_class[base[..., 0]].astype(np.int64)
        contexts = np.repeat(block[..., None], tables.n_base, 2)
        contexts[0, :, 0], contexts[1:, :, 0] = 0, block[:-1]
        keys = self._starts.energy_keys(np.arange(tables.n_base), contexts)
        yield base.ravel().tolist(), keys.ravel().tolist()
        layout = self.layout(codes) if layout is None else layout
        _, kind, stage, channel, at = layout.order.T
        symbols = np.empty_like(stage)
        for k, array in enumerate((codes.energies, codes.latents)):
            is_one = kind == k
            symbols[is_one] = array[channel[is_one], stage[is_one], at[is_one]]
        yield symbols.tolist(), self._keys(codes, layout)

    def _keys(self, codes: PacketCodes, layout: Layout) -> list[int]:
        """Of the tables of all codes after the base, in their order."""
        _, kind, stage, channel, at = layout.order.T
        keys = np.empty_like(stage)
        latent, energy = kind == 1, kind == 0
        c = layout.classes[channel[latent], at[latent]]
        keys[latent] = self._starts.latent_keys(stage[latent], c)
        e = self.tables.energy_class[codes.energies[channel[energy], 0, at[energy]]]
        keys[energy] = self._starts.energy_keys(stage[energy], e)
        return keys.tolist()

    def _tables(self, keys: list[int]) -> Iterator[Starts]:
        return map(self._starts.__getitem__, keys)

    def _shortest(self, data: bytes, codes: PacketCodes) -> bytes:
        """The shortest prefix from which as many codes come back as from ``data``."""
        n_channels, _, n_frames = codes.latents.shape

        def count(prefix: bytes) -> int:
            found = self.decode(prefix, n_channels, n_frames)
            return sum(int((x >= 0).sum()) for x in (found.levels, found.energies, found.latents))

        most = count(data)
        while data and count(data[:-1]) == most:
            data = data[:-1]
        return data

    def decode(self, payload: bytes, n_channels: int, n_frames: int) -> PacketCodes:
        """The codes of a payload, absent from where its bytes no longer tell them.

        Never fails: bytes that no encoder made give some codes, as others do.

        Args:
            payload: any bytes.
            n_channels: of the stream.
            n_frames: of the packet.
        """
        codes = PacketCodes.empty(self.tables, n_channels, n_frames)
        if not payload:
            return codes
        decoder = RangeDecoder(payload)
        levels = decoder.read(self._tables([LEVEL] * n_channels))
        codes.levels[: len(levels)] = levels
        if len(levels) == n_channels and self._read_base(decoder, codes):
            layout = self.layout(codes)
            found = np.array(decoder.read(self._tables(self._keys(codes, layout))), np.int64)
            _, kind, stage, channel, at = layout.order[: len(found)].T
            for k, array in enumerate((codes.energies, codes.latents)):
                is_one = kind == k
                array[channel[is_one], stage[is_one], at[is_one]] = found[is_one]
        return codes

    def _read_base(self, decoder: RangeDecoder, codes: PacketCodes) -> bool:
        """Read the base codes, each of which needs those before it; whether all are there."""
        starts, energy_class = self._starts, self.tables.energy_class
        before = dict.fromkeys(np.nonzero(codes.levels > 0)[0].tolist(), 0)
        for b in range(codes.energies.shape[2]):
            for c in before:
                for j in range(self.tables.n_base):
                    found = decoder.read([starts[starts.energy_keys(j, before[c])]])
                    if not found:
                        return False
                    codes.energies[c, j, b] = found[0]
                    if j == 0:
                        before[c] = int(energy_class[found[0]])
        return True

    def layout(self, codes: PacketCodes) -> Layout:
        """What follows from levels and base energies; those that are absent add nothing."""
        tables = self.tables
        n_channels, _, n_frames = codes.latents.shape
        blocks = tables.decode_blocks(codes.energies[:, : tables.n_base])
        bands = blocks.reshape(n_channels, -1, tables.n_bands)[:, :n_frames]
        loudness = tables.loudness(bands)
        softer = (codes.levels.max() - codes.levels) * LEVEL_STEP  # than the loudest channel
        delays = tables.delays(loudness - softer[:, None])
        classes = np.stack([tables.classes(b, x) for b, x in zip(bands, loudness, strict=True)])
        return Layout(bands, loudness, delays, classes, self._order(codes, delays))

    def _order(self, codes: PacketCodes, delays: Ints) -> Ints:
        tables = self.tables
        heard = (codes.levels > 0)[None, :, None]
        first = np.minimum.reduceat(delays, np.arange(0, delays.shape[1], tables.block_frames), 1)
        parts = []
        for kind, plane, delay, base in (
            (0, tables.energy_plane, first, tables.n_base),
            (1, tables.latent_plane, delays, 0),
        ):
            planes = plane[:, delay]  # [stages, C, places]
            stage, channel, at = np.nonzero(np.broadcast_to(heard, planes.shape))
            planes = planes[stage, channel, at]
            parts.append(
                np.stack(
                    [planes, np.full_like(at, kind), stage + base, channel, at], dtype=np.int64
                )
            )
        order = np.concatenate(parts, 1)
        # By plane is enough, since all else is in order already; few values sort fast in a byte.
        return order[:, np.argsort(order[0].astype(np.uint8), kind="stable")].T


LEVEL = -1  # key of the table of levels


class _AllStarts(dict[int, Starts]):
    """What the range coder needs of every table, by its key, made when it is first needed."""

    def __init__(self, tables: CodeTables) -> None:
        super().__init__()
        self._energies, self._latents = tables.energy_counts, tables.latent_counts
        self._n_contexts, self._n_classes = self._energies.shape[1], self._latents.shape[1]
        self._n_energies = self._energies.shape[0] * self._n_contexts
        self[LEVEL] = Starts.of(np.full(256, TOTAL // 256 - 1))

    def energy_keys(self, stage: Any, context: Any) -> Any:
        return stage * self._n_contexts + context

    def latent_keys(self, stage: Any, frame_class: Any) -> Any:
        return self._n_energies + stage * self._n_classes + frame_class

    def __missing__(self, key: int) -> Starts:
        if key < self._n_energies:
            counts = self._energies[divmod(key, self._n_contexts)]
        else:
            counts = self._latents[divmod(key - self._n_energies, self._n_classes)]
        self[key] = found = Starts.of(counts)
        return found
