"""The payload of a packet: symbols in order of importance, range coded, cut at any byte.

First each channel's level and the base energies of its blocks. From these follow, for every frame,
its loudness, hence a delay, and a class, hence the frequencies of its codes. Then plane after
plane: code k of a frame with delay d lies in plane ``latent_plane[k, d]``. Where the bytes end, the
packet ends: **the symbols that count are those on which every continuation of the bytes agrees**,
so that any prefix of a payload is a payload of a lower rate.

The range coder is constriction's (64 bits of state, words of 32 bits, frequencies of 24 bits).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue]
from numpy.typing import NDArray

from .code_tables import ABSENT, LEVEL_STEP, TOTAL, CodeTables

__all__ = ["CodesEndError", "Layout", "PacketCodes", "PayloadCoder"]

Model = Any  # a Categorical; constriction has no types
Categorical = stream.model.Categorical
RangeDecoder, RangeEncoder = stream.queue.RangeDecoder, stream.queue.RangeEncoder
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
    """Codes of packets to bytes and back, by one model's tables."""

    def __init__(self, tables: CodeTables) -> None:
        self.tables = tables
        self._level = _model(np.full(256, TOTAL // 256 - 1))
        self._energy_models: dict[tuple[int, int], Model] = {}
        self._latent_models: dict[tuple[int, int], Model] = {}

    def encode(self, codes: PacketCodes, max_bytes: int, layout: Layout | None = None) -> bytes:
        """The most important codes, as many as ``max_bytes`` hold.

        Args:
            codes: what to code: all that fits, and some 16 bytes more where there are more stages.
            max_bytes: 0 or more.
            layout: of these codes, if it is known.

        Returns:
            At most ``max_bytes``, and fewer if all codes take fewer.

        Raises:
            CodesEndError: codes that may fit are absent.
        """
        # From so many words on (the last two may still change) the bytes that are kept are settled,
        # and no code after these can be read from them.
        encoder, words, complete = RangeEncoder(), -(-max_bytes // 4) + 3, True
        for array, at, model in self._walk(codes, layout):
            symbol = int(array[at])
            if symbol == ABSENT:
                raise CodesEndError(f"the codes end before {max_bytes} bytes do")
            encoder.encode(symbol, model)
            if encoder.num_words() >= words:
                complete = False
                break
        for _ in range(8 if complete else 0):  # nothing: it makes what is before it certain
            encoder.encode(128, self._level)
        data = encoder.get_compressed().astype(">u4").tobytes()[:max_bytes]
        return self._shortest(data, codes) if complete else data

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
        """
        codes = PacketCodes.empty(self.tables, n_channels, n_frames)
        if not payload:
            return codes
        low, high = (RangeDecoder(_words(payload, fill)) for fill in (b"\x00", b"\xff"))
        try:
            for array, at, model in self._walk(codes):
                symbol = low.decode(model)
                if high.decode(model) != symbol:
                    break
                array[at] = symbol
        except AssertionError:  # such bytes are no encoder's, or none of its bytes start so
            pass
        return codes

    def layout(self, codes: PacketCodes) -> Layout:
        """What follows from levels and base energies; those that are absent add nothing."""
        tables, size = self.tables, self.tables.block_frames
        n_channels, _, n_frames = codes.latents.shape
        n_blocks = codes.energies.shape[2]
        blocks = np.empty((n_channels, n_blocks, tables.energy_mean.size), np.int64)
        before = None
        for b in range(n_blocks):
            before = tables.decode_block(before, codes.energies[:, : tables.n_base, b])
            blocks[:, b] = before
        bands = blocks.reshape(n_channels, n_blocks * size, -1)[:, :n_frames]
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
        for kind, plane, delay in (
            (0, tables.energy_plane, first),
            (1, tables.latent_plane, delays),
        ):
            found = plane.astype(np.int64)[:, delay]  # [stages, C, n]
            stage, channel, at = np.nonzero(np.broadcast_to(heard, found.shape))
            base = 0 if kind else tables.n_base
            parts.append(np.stack([
                found[stage, channel, at], np.full_like(stage, kind), stage + base, channel, at
            ]))  # fmt: skip
        order = np.concatenate(parts, 1)
        return order[:, np.lexsort(order[::-1])].T

    def _walk(
        self, codes: PacketCodes, layout: Layout | None = None
    ) -> Iterator[tuple[Ints, Any, Model]]:
        """(array, place, model) of every code in order; a reader fills in what it finds."""
        tables, energies, latents = self.tables, codes.energies, codes.latents
        for c in range(len(codes.levels)):
            yield codes.levels, c, self._level
        heard = np.nonzero(codes.levels > 0)[0].tolist()
        for b in range(energies.shape[2]):
            for c in heard:
                context = int(tables.energy_class[energies[c, 0, b - 1]]) if b else 0
                for j in range(tables.n_base):
                    yield energies, (c, j, b), self._energy_model(j, context)
                    context = int(tables.energy_class[energies[c, 0, b]])
        layout = self.layout(codes) if layout is None else layout
        classes = layout.classes.tolist()
        for _, kind, stage, c, at in layout.order.tolist():
            if kind:
                yield latents, (c, stage, at), self._latent_model(stage, classes[c][at])
            else:
                context = int(tables.energy_class[energies[c, 0, at]])
                yield energies, (c, stage, at), self._energy_model(stage, context)

    def _energy_model(self, stage: int, context: int) -> Model:
        return _kept(self._energy_models, self.tables.energy_counts, stage, context)

    def _latent_model(self, stage: int, context: int) -> Model:
        return _kept(self._latent_models, self.tables.latent_counts, stage, context)


def _kept(
    models: dict[tuple[int, int], Model], counts: NDArray[Any], stage: int, context: int
) -> Model:
    """Models are made when they are first needed."""
    if (stage, context) not in models:
        models[stage, context] = _model(counts[stage, context])
    return models[stage, context]


def _model(counts: NDArray[Any]) -> Model:
    """Of frequencies less one that make 2^16 in all: exact in float64, whatever adds them up."""
    return Categorical((counts.astype(np.float64) + 1.0) / TOTAL, perfect=False)


def _words(payload: bytes, fill: bytes) -> NDArray[np.uint32]:
    """A payload as the range decoder takes it, followed by bytes ``fill``."""
    padded = payload + fill * (16 + -len(payload) % 4)
    return np.frombuffer(padded, ">u4").astype(np.uint32)
