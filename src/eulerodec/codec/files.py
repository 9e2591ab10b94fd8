"""Files through the codec, block by block: memory does not grow with their length."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .. import audio
from ..bitstream import EulReader, EulWriter, Packet, StreamInfo
from ..errors import AudioWarning
from ..files import Sink, atomic_output, is_path
from .segments import FileDecoder
from .streaming import StreamEncoder

__all__ = ["FileReport", "Progress", "decode_to", "encode_to"]

Progress = Callable[[float], None]  # called with the fraction that is done, up to 1.0


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What was done to a file.

    Attributes:
        bytes: of the ``.eul`` file.
        seconds, sample_rate, channels, samples: of the audio; samples per channel.
        bitrate_kbps: of one channel, that was asked for.
        kbps: of the whole file, all channels together: what it is.
        speed: seconds of audio per second that it took.
        warnings: what was wrong with the input, a line each; they were also given as
            :class:`~eulerodec.errors.AudioWarning`.
    """

    bytes: int
    seconds: float
    sample_rate: int
    channels: int
    samples: int
    bitrate_kbps: float
    kbps: float
    speed: float
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain types for JSON."""
        return asdict(self)


def encode_to(
    target: Sink,
    reader: audio.AudioReader,
    encoder: StreamEncoder,
    *,
    make_folder: bool = False,
    progress: Progress | None = None,
) -> FileReport:
    """All audio of a reader to an ``.eul`` file; arguments and errors: ``Codec.encode_file``.

    Without a length in the reader the input is live, and the header leaves the counts open.
    """
    start = time.perf_counter()
    live = reader.n_samples is None
    # Live input cannot be read again: sync every packet, and keep what there is after an error.
    keep = live and is_path(target)
    with atomic_output(target, keep=keep, make_folder=make_folder) as sink:
        writer = EulWriter(sink, encoder.info, sync=keep)
        for block in reader.blocks():
            _write(writer, encoder.push_checked(block))
            sink.flush()  # whoever reads a pipe must not wait
            if reader.n_samples and progress is not None:
                progress(encoder.n_input_samples / reader.n_samples)
        _write(writer, encoder.flush())
        writer.close(encoder.n_samples, encoder.n_input_samples)
    return _report(
        start, writer.bytes_written, encoder.info, reader.sample_rate, encoder.n_input_samples,
        tuple(reader.warnings),
    )  # fmt: skip


def _write(writer: EulWriter, packets: Iterable[Packet]) -> None:
    for packet in packets:
        writer.write(packet.payload or b"", packet.n_frames)


def decode_to(
    name: str,
    target: Sink,
    reader: EulReader,
    info: StreamInfo,
    packets: Iterable[Packet],
    decoder: FileDecoder,
    sample_rate: int,
    *,
    whole: bool,
    recover: bool,
    subtype: str,
    make_folder: bool = False,
    progress: Progress | None = None,
) -> FileReport:
    """The packets of a file, or a part of it, to audio; arguments: ``Codec.decode_file``.

    Args:
        name: of the input, for warnings.
        info, packets: of the reader, or of a part of it or a lower rate.
        whole: ``info`` is of the whole file, whose counts may only be known at its end.
    """
    start = time.perf_counter()
    n_samples = None if recover else decoder.n_output  # a damaged file may hold less than it says
    tags = audio.Tags(info.metadata.title, info.metadata.comment)
    with audio.open_writer(
        target, sample_rate, info.n_channels, subtype=subtype, n_samples=n_samples, tags=tags,
        make_folder=make_folder,
    ) as out:  # fmt: skip
        for packet in packets:
            out.write(decoder.push([packet]).numpy())
            if not is_path(target):
                out.flush()
            if info.duration_s and progress is not None:
                progress(min(decoder.n_frames / (info.frame_rate * info.duration_s), 1.0))
        if whole:
            info = info.with_timeline(reader.info.timeline)
        out.write(decoder.finish(info, bool(reader.damage)).numpy())
    lines = tuple(f"{name}: {damage.message}" for damage in reader.damage)
    for line in lines:
        warnings.warn(line, AudioWarning, stacklevel=3)
    return _report(start, reader.bytes_read, info, sample_rate, out.n_samples, lines)


def _report(
    start: float,
    n_bytes: int,
    info: StreamInfo,
    sample_rate: int,
    n_samples: int,
    lines: tuple[str, ...],
) -> FileReport:
    seconds = n_samples / sample_rate
    return FileReport(
        bytes=n_bytes,
        seconds=seconds,
        sample_rate=sample_rate,
        channels=info.n_channels,
        samples=n_samples,
        bitrate_kbps=info.nominal_kbps / info.n_channels,
        kbps=n_bytes * 8e-3 / seconds if seconds else 0.0,
        speed=seconds / max(time.perf_counter() - start, 1e-9),
        warnings=lines,
    )
