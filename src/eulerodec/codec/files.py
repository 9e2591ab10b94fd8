"""Files through the codec, block by block: memory does not grow with their length."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from .. import audio
from ..bitstream import EulReader, EulWriter, Packet, StreamInfo
from ..errors import AudioWarning
from ..files import Sink, atomic_output, is_path
from .segments import FileDecoder
from .streaming import StreamEncoder

__all__ = ["LIVE_PACKET_FRAMES", "FileReport", "Progress", "decode_to", "encode_to"]

LIVE_PACKET_FRAMES = 16  # 0.18 s of the 24 kHz model

Progress = Callable[[float], None]  # called with the fraction that is done, up to 1.0


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What was done to a file.

    Attributes:
        bytes: of the ``.eul`` file.
        seconds, sample_rate, channels, samples: of the audio; samples per channel.
        bitrate_kbps: of the codes of one channel.
        kbps: of the whole file, all channels together.
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
    info: StreamInfo,
    *,
    make_folder: bool = False,
    progress: Progress | None = None,
) -> FileReport:
    """All audio of a reader to an ``.eul`` file; arguments and errors: ``Codec.encode_file``.

    Args:
        info: the header, with open counts. Without a length in the reader the input is live.
    """
    start = time.perf_counter()
    live = reader.n_samples is None
    if reader.n_samples is not None:
        length = audio.resampled_length(reader.n_samples, reader.sample_rate, info.sample_rate)
        info = info.with_counts(length, reader.n_samples)
    # Live input cannot be read again: sync every packet, and keep what there is after an error.
    keep = live and is_path(target)
    with atomic_output(target, keep=keep, make_folder=make_folder) as sink:
        writer = EulWriter(sink, info, sync=keep)
        for block in reader.blocks():
            writer.write(encoder.push_checked(block).numpy())
            sink.flush()  # whoever reads a pipe must not wait
            if reader.n_samples and progress is not None:
                progress(encoder.n_input_samples / reader.n_samples)
        writer.write(encoder.flush().numpy())
        writer.close(encoder.n_samples, encoder.n_input_samples)
    return _report(
        start, writer.bytes_written, info, encoder.n_codebooks, reader.sample_rate,
        encoder.n_input_samples, tuple(reader.warnings),
    )  # fmt: skip


def decode_to(
    name: str,
    target: Sink,
    reader: EulReader,
    info: StreamInfo,
    packets: Iterator[Packet],
    decoder: FileDecoder,
    sample_rate: int,
    *,
    recover: bool,
    subtype: str,
    make_folder: bool = False,
    progress: Progress | None = None,
) -> FileReport:
    """The packets of a file, or a part of it, to audio; arguments: ``Codec.decode_file``.

    Args:
        name: of the input, for warnings.
    """
    start = time.perf_counter()
    whole = info is reader.info
    n_samples = None if recover else decoder.n_output  # a damaged file may hold less than it says
    tags = audio.Tags(info.metadata.title, info.metadata.comment)
    with audio.open_writer(
        target, sample_rate, info.n_channels, subtype=subtype, n_samples=n_samples, tags=tags,
        make_folder=make_folder,
    ) as out:  # fmt: skip
        for packet in packets:
            out.write(decoder.push(packet.codes).numpy())
            if not is_path(target):
                out.flush()
            if info.duration_s and progress is not None:
                progress(min(decoder.n_frames / (info.frame_rate * info.duration_s), 1.0))
        end = reader.info if whole else info
        out.write(decoder.finish(end, bool(reader.damage)).numpy())
    lines = tuple(f"{name}: {damage.message}" for damage in reader.damage)
    for line in lines:
        warnings.warn(line, AudioWarning, stacklevel=3)
    return _report(
        start, reader.bytes_read, info, reader.n_codebooks, sample_rate, out.n_samples, lines
    )


def _report(
    start: float,
    n_bytes: int,
    info: StreamInfo,
    n_codebooks: int,
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
        bitrate_kbps=info.replace(n_codebooks=n_codebooks).nominal_kbps / info.n_channels,
        kbps=n_bytes * 8e-3 / seconds if seconds else 0.0,
        speed=seconds / max(time.perf_counter() - start, 1e-9),
        warnings=lines,
    )
