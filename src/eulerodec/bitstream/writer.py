"""Writing ``.eul`` files, packet by packet, to anything that takes bytes (pipes too)."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol

from ..errors import BitstreamError
from .constants import MAX_PAYLOAD
from .format import pack_end, pack_header, pack_packet
from .header import StreamInfo
from .records import Packet

__all__ = ["EulWriter", "WritableBytes", "dumps"]


class WritableBytes(Protocol):
    """Anything with a ``write`` for bytes: files, pipes, sockets' files, BytesIO."""

    def write(self, data: bytes, /) -> Any: ...


class EulWriter:
    """Writes the header at once, then each packet, and the end packet on :meth:`close`.

    Nothing is ever rewritten, so the file may be a pipe, and what is written so far can be read
    with ``recover=True`` after a crash. The file is not closed here. As a context manager it closes
    the stream unless an error is on its way.

    Args:
        fileobj: what takes the bytes.
        info: the header.
        sync: for a live recording: each packet is on the disk before :meth:`write` returns, so that
            a power cut costs no packet that was written. Otherwise nothing is flushed.

    Raises:
        BitstreamError: packets or counts do not fit the header.
        OSError: that of the file.
    """

    def __init__(self, fileobj: WritableBytes, info: StreamInfo, *, sync: bool = False) -> None:
        self.info = info
        self.n_frames = 0
        self.n_packets = 0
        self.bytes_written = 0
        self._file = fileobj
        self._short = False
        self._closed = False
        self._sync = sync
        self._put(pack_header(info))

    def write(self, payload: bytes, n_frames: int) -> None:
        """Append a packet.

        Every packet but the last, and the last of a segment, has ``frames_per_packet`` frames.
        """
        if self._closed:
            raise BitstreamError("the stream is closed, nothing can be appended")
        self._check(payload, n_frames)
        self._put(pack_packet(payload, n_frames, self.n_packets))
        self.n_packets += 1
        self.n_frames += n_frames
        self._short = n_frames < self.info.frames_per_packet

    def _check(self, payload: bytes, n_frames: int) -> None:
        info, full = self.info, self.info.frames_per_packet
        end = info.timeline.segment_end(self.n_frames)
        if end is not None:
            if n_frames != min(full, end - self.n_frames) or not n_frames:
                raise BitstreamError(
                    f"a packet of {n_frames} frames does not fit at frame {self.n_frames}: its"
                    f" segment ends at frame {end}"
                )
        elif self._short or not 1 <= n_frames <= full:
            raise BitstreamError(
                f"a packet must have {full} frames, or fewer if it is the last: {n_frames}"
                + (" after a short one" if self._short else "")
            )
        if len(payload) > MAX_PAYLOAD:
            raise BitstreamError(f"payload of {len(payload)} bytes, the limit is {MAX_PAYLOAD}")
        if info.n_codebooks is not None and len(payload) != info.payload_size(n_frames):
            raise BitstreamError(
                f"payload of {len(payload)} bytes, {n_frames} frames of {info.n_codebooks}"
                f" codebooks take {info.payload_size(n_frames)}"
            )

    def close(self, n_samples: int | None = None, n_input_samples: int | None = None) -> None:
        """Write the end packet; a second call does nothing.

        Args:
            n_samples: samples per channel at the model's rate, and
            n_input_samples: at the input's. Not needed if the header has them; else they say how
                much of the last frames is audio. Without them all that the frames hold is counted.
        """
        if self._closed:
            return
        info = self.info
        known = info.n_samples is not None
        if info.input_sample_rate == info.sample_rate:  # then one count says both
            n_samples = n_input_samples if n_samples is None else n_samples
            n_input_samples = n_samples if n_input_samples is None else n_input_samples
        if n_samples is None and n_input_samples is None:
            timeline = info.timeline if known else info.timeline.capped(self.n_frames)
            n_samples, n_input_samples = timeline.n_samples, timeline.n_input_samples
        if n_samples is None or n_input_samples is None:
            raise BitstreamError("n_samples and n_input_samples must be given together")
        final = info.with_counts(n_samples, n_input_samples)
        if known and final != info:
            raise BitstreamError(
                f"the header says {info.n_samples} and {info.n_input_samples} samples, "
                f"close() {n_samples} and {n_input_samples}"
            )
        if problem := final.timeline.check_length(self.n_frames):
            raise BitstreamError(problem)
        self._put(pack_end(self.n_packets, None if known else (n_samples, n_input_samples)))
        self.info = final
        self._closed = True

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


def dumps(info: StreamInfo, packets: Iterable[Packet]) -> bytes:
    """A whole file as bytes.

    Without sample counts in ``info`` all that the frames hold is counted, and the counts are
    written in the header.

    Raises:
        BitstreamError: packets do not fit the header, or are lost.
    """
    packets = list(packets)
    if info.n_samples is None:
        info = info.capped(sum(packet.n_frames for packet in packets))
    sink = io.BytesIO()
    with EulWriter(sink, info) as writer:
        for packet in packets:
            if packet.payload is None:
                raise BitstreamError(f"packet {packet.index} is lost and cannot be written")
            writer.write(packet.payload, packet.n_frames)
    return sink.getvalue()


def _to_disk(fileobj: Any) -> None:
    """Flush what has buffers; files also to the disk (a pipe or BytesIO has none)."""
    flush = getattr(fileobj, "flush", None)
    if flush is not None:
        flush()
    with contextlib.suppress(OSError, AttributeError):  # no descriptor, or one that has no disk
        os.fsync(fileobj.fileno())
