"""Writing ``.eul`` files, packet by packet, to anything that takes bytes (pipes too)."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import BitstreamError
from .constants import CODED, DATA, END, MAX_PACKETS
from .entropy import encode_packet
from .format import pack_counts, pack_header, pack_packet
from .header import StreamInfo
from .pack import pack_codes
from .tables import tables_of

__all__ = ["EulWriter", "WritableBytes"]


class WritableBytes(Protocol):
    """Anything with a ``write`` for bytes: files, pipes, sockets' files, BytesIO."""

    def write(self, data: bytes, /) -> Any: ...


class EulWriter:
    """Writes the header at once, a packet as soon as it is full, the end marker on ``close``.

    Nothing is ever rewritten, so the file may be a pipe, and what is written so far can be read
    with ``recover=True`` after a crash. Holds less than one packet of codes. The file is not closed
    here, and flushed only with ``sync``: then each packet is on the disk before :meth:`write`
    returns, so that a power cut costs no packet that was written (for a live recording). As a
    context manager it closes the stream unless an error is on its way.

    Errors: :class:`BitstreamError` for codes or counts that do not fit; ``OSError`` of the file.
    """

    def __init__(self, fileobj: WritableBytes, info: StreamInfo, *, sync: bool = False) -> None:
        self.info = info
        self.n_frames = 0
        self.bytes_written = 0
        self._file = fileobj
        self._pending = np.zeros((info.n_channels, info.n_codebooks, 0), np.int64)
        self._n_packets = 0
        self._closed = False
        self._sync = sync
        self._tables = tables_of(info)
        self._put(pack_header(info))

    def write(self, codes: npt.ArrayLike) -> None:
        """Append codes, integers [n_channels, n_codebooks, T], for any T from 0."""
        if self._closed:
            raise BitstreamError("the stream is closed, nothing can be appended")
        array = np.asarray(codes)
        want = (self.info.n_channels, self.info.n_codebooks)
        if array.ndim != 3 or array.shape[:2] != want:
            raise BitstreamError(
                f"codes must have shape [{want[0]}, {want[1]}, T], not {list(array.shape)}"
            )
        if array.shape[2] == 0:
            return
        if array.dtype.kind not in "iu":
            raise BitstreamError(f"codes must be integers, not {array.dtype}")
        array = np.concatenate([self._pending, array.astype(np.int64)], axis=2)
        size = self.info.frames_per_packet
        whole = array.shape[2] // size * size
        for start in range(0, whole, size):
            self._put_packet(array[:, :, start : start + size])
        self._pending = array[:, :, whole:].copy()  # a view would keep all of `array` alive

    def close(self, n_samples: int | None = None, n_input_samples: int | None = None) -> None:
        """Write the last packet and the end marker; a second call does nothing.

        ``n_samples`` at the model's rate and ``n_input_samples`` at the input's, per channel: not
        needed if the header has them; else they say how much of the last frame is audio. Without
        them all that the frames hold is counted.
        """
        if self._closed:
            return
        info, n_frames = self.info, self.n_frames + self._pending.shape[2]
        known = info.n_samples is not None
        if info.input_sample_rate == info.sample_rate:  # then one count says both
            n_samples = n_input_samples if n_samples is None else n_samples
            n_input_samples = n_samples if n_input_samples is None else n_input_samples
        if n_samples is None and n_input_samples is None:
            n_samples, n_input_samples = info.n_samples, info.n_input_samples
            if n_samples is None:
                n_samples, n_input_samples = info.capped_counts(n_frames)
        if n_samples is None or n_input_samples is None:
            raise BitstreamError("n_samples and n_input_samples must be given together")
        final = info.with_counts(n_samples, n_input_samples)
        if known and final != info:
            raise BitstreamError(
                f"the header says {info.n_samples} and {info.n_input_samples} samples, "
                f"close() {n_samples} and {n_input_samples}"
            )
        if n_samples > n_frames * info.hop_length:
            raise BitstreamError(
                f"{n_frames} frames hold {n_frames * info.hop_length} samples, not {n_samples}"
            )
        if problem := final.check_length(n_frames):
            raise BitstreamError(problem)
        if self._pending.shape[2]:
            self._put_packet(self._pending)
        self._put(
            pack_packet(
                END, self._n_packets, b"" if known else pack_counts(n_samples, n_input_samples)
            )
        )
        self.info = final
        self._closed = True

    def _put_packet(self, codes: npt.NDArray[np.int64]) -> None:
        if self._n_packets >= MAX_PACKETS - 1:
            raise BitstreamError(f"a file holds at most {MAX_PACKETS - 1} packets")
        # Stage before channel before frame: the first k stages are a prefix of the payload.
        payload, kind = pack_codes(codes.transpose(1, 0, 2), self.info.codebook_bits), DATA
        if self._tables is not None:
            coded = encode_packet(codes, self._tables, len(payload))
            if coded is not None:
                payload, kind = coded, CODED
        self._put(pack_packet(kind, self._n_packets, payload))
        self._n_packets += 1
        self.n_frames += codes.shape[2]

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            done = self._file.write(bytes(view))
            # An unbuffered file may take a part only; one that returns None took everything.
            view = view[done if isinstance(done, int) else len(view) :]
        self.bytes_written += len(data)
        if self._sync:
            _to_disk(self._file)

    def __enter__(self) -> EulWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()


def _to_disk(fileobj: Any) -> None:
    """Flush what has buffers; files also to the disk (a pipe or BytesIO has none)."""
    flush = getattr(fileobj, "flush", None)
    if flush is not None:
        flush()
    with contextlib.suppress(OSError, AttributeError):  # no descriptor, or one that has no disk
        os.fsync(fileobj.fileno())
