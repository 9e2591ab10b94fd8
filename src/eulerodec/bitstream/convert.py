"""Whole files at once: bytes to codes and back, and fewer stages without re-encoding."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .header import StreamInfo
from .reader import EulReader
from .records import Damage
from .source import ReadableBytes
from .writer import EulWriter, WritableBytes

__all__ = ["EulFile", "drop_stages", "drop_stages_file", "dumps", "loads", "read"]


@dataclass(frozen=True)
class EulFile:
    """A file that was read: ``info`` fits ``codes``, int64 [n_channels, n_codebooks, T].

    ``damage`` is empty unless the file was read with ``recover=True`` and had something wrong.
    """

    info: StreamInfo
    codes: npt.NDArray[np.int64]
    damage: list[Damage] = field(default_factory=list)

    @property
    def lost_s(self) -> float:
        """Seconds of audio that are lost."""
        return sum(damage.lost_s for damage in self.damage)


def read(
    source: bytes | ReadableBytes, *, n_codebooks: int | None = None, recover: bool = False
) -> EulFile:
    """Read a whole file from bytes or a binary file object; options as for :class:`EulReader`.

    Errors: :class:`~eulerodec.errors.BitstreamError`.
    """
    fileobj = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
    reader = EulReader(fileobj, n_codebooks=n_codebooks, recover=recover)
    codes = reader.read_all()
    return EulFile(reader.info.replace(n_codebooks=reader.n_codebooks), codes, reader.damage)


def loads(data: bytes) -> tuple[StreamInfo, npt.NDArray[np.int64]]:
    """Header and codes, int64 [n_channels, n_codebooks, T], of a whole, undamaged file."""
    file = read(data)
    return file.info, file.codes


def dumps(info: StreamInfo, codes: npt.ArrayLike) -> bytes:
    """A whole file as bytes; ``codes`` are integers [n_channels, n_codebooks, T].

    Without sample counts in ``info`` all that the frames hold is counted, and the counts are
    written in the header. Errors: :class:`~eulerodec.errors.BitstreamError`.
    """
    array = np.asarray(codes)
    if info.n_samples is None and array.ndim == 3:
        info = info.with_counts(*info.capped_counts(array.shape[2]))
    sink = io.BytesIO()
    with EulWriter(sink, info) as writer:
        writer.write(array)
    return sink.getvalue()


def drop_stages_file(source: ReadableBytes, sink: WritableBytes, n_codebooks: int) -> StreamInfo:
    """Copy a file with only its first ``n_codebooks`` stages, packet by packet; the new header.

    The codes are not touched: the result is what encoding at the lower rate would have written, if
    the search of the encoder gives the same first stages for both rates (docs/determinism.md).
    Optional header fields are kept. Errors: :class:`~eulerodec.errors.BitstreamError`.
    """
    reader = EulReader(source, n_codebooks=n_codebooks)
    writer = EulWriter(sink, reader.info.replace(n_codebooks=n_codebooks))
    for codes in reader:
        writer.write(codes)
    writer.close(reader.info.n_samples, reader.info.n_input_samples)
    return writer.info


def drop_stages(data: bytes, n_codebooks: int) -> bytes:
    """The same as :func:`drop_stages_file`, from bytes to bytes."""
    sink = io.BytesIO()
    drop_stages_file(io.BytesIO(data), sink, n_codebooks)
    return sink.getvalue()
