"""Files through the codec, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

from .. import audio
from ..bitstream import EulReader, EulWriter, Metadata, Packet, StreamInfo, plan_range
from ..files import PathLike, atomic_output, is_pipe
from ..quantize import DEFAULT_BEAM
from .api import Codec
from .concealment import LOST
from .segments import FileDecoder
from .streaming import LIVE_BLOCK_FRAMES, file_block_frames

__all__ = ["LIVE_PACKET_FRAMES", "decode_file", "encode_file"]

LIVE_PACKET_FRAMES = 16  # 0.18 s

Facts = dict[str, Any]
Progress = Callable[[float], None]  # called with the fraction that is done, up to 1.0


def encode_file(
    codec: Codec,
    source: PathLike,
    target: PathLike,
    n_codebooks: int,
    *,
    beam: int | None,
    packet_frames: int,
    entropy: bool,
    metadata: Metadata,
    block_frames: int | None,
    make_folder: bool,
    progress: Progress,
) -> Facts:
    """Audio to ``.eul`` in constant memory, packet by packet as it arrives.

    ``packet_frames`` 0 and ``block_frames`` None choose for the kind of input. ``make_folder``: the
    folder of ``target`` is made once ``source`` can be read.
    """
    start = time.perf_counter()
    with audio.open_reader(source) as reader:
        n_total, rate, channels = reader.n_samples, reader.sample_rate, reader.n_channels
        if n_total is None and packet_frames == 0:
            packet_frames = LIVE_PACKET_FRAMES
        encoder = codec.streaming_encoder(
            n_codebooks=n_codebooks,
            n_channels=channels,
            sample_rate=rate,
            beam=beam or DEFAULT_BEAM,
            block_frames=block_frames or _block_frames(source, channels),
        )
        info = codec.stream_info(
            n_codebooks,
            n_channels=channels,
            sample_rate=rate,
            frames_per_packet=packet_frames,
            entropy_coding=entropy,
            metadata=metadata,
        )
        if n_total is not None:
            n_model = audio.resampled_length(n_total, rate, codec.sample_rate)
            info = info.with_counts(n_model, n_total)
        if make_folder:
            _make_folder(target)
        # What comes live cannot be had again: each packet goes to the disk, and stays there.
        keep = n_total is None and is_pipe(source) and not is_pipe(target)
        with atomic_output(target, keep=keep) as sink:
            writer = EulWriter(sink, info, sync=keep)
            for block in reader.blocks():
                writer.write(encoder.push(block).numpy())
                sink.flush()  # whoever reads a pipe must not wait
                if n_total:
                    progress(encoder.n_input_samples / n_total)
            writer.write(encoder.flush().numpy())
            writer.close(encoder.n_samples, encoder.n_input_samples)
    seconds = encoder.n_input_samples / rate
    return {
        "bytes": writer.bytes_written,
        "seconds": seconds,
        "sample_rate": rate,
        "channels": channels,
        "samples": encoder.n_input_samples,
        "bitrate_kbps": info.nominal_kbps / channels,
        "kbps": writer.info.measured_kbps(writer.bytes_written) or 0.0,
        "speed": seconds / _since(start),
    }


def decode_file(
    codec: Codec,
    stream: IO[bytes],
    source: PathLike,
    target: PathLike,
    *,
    n_codebooks: int | None,
    sample_rate: int | None,
    subtype: str,
    recover: bool,
    part: tuple[Fraction, Fraction | None] | None,
    apply_gain: bool,
    block_frames: int | None,
    make_folder: bool,
    progress: Progress,
) -> Facts:
    """``.eul`` to WAV in constant memory, as the packets arrive; arguments as for encoding.

    ``stream`` gives the bytes of ``source``. ``part``: only from so many seconds to so many, the
    end if None; ``stream`` must then seek.
    """
    start = time.perf_counter()
    reader = EulReader(stream, n_codebooks=n_codebooks, recover=recover)
    codec.check_stream(reader.info)
    info, packets = reader.info, reader.packets()
    if part is not None:
        info, packets = _part(reader, *part)
    rate = sample_rate or info.input_sample_rate
    block_frames = block_frames or _block_frames(source, info.n_channels)
    decoder = FileDecoder(
        codec.model, info, reader.n_codebooks, rate, block_frames, apply_gain=apply_gain
    )
    if make_folder:
        _make_folder(target)
    # a damaged file may hold less than it says
    n_samples = None if recover else decoder.n_output
    with audio.open_writer(
        target, rate, info.n_channels, subtype=subtype, n_samples=n_samples
    ) as wav:
        for packet in packets:
            codes = np.full_like(packet.codes, LOST) if packet.lost else packet.codes
            wav.write(decoder.push(codes).numpy())
            if is_pipe(target):
                wav.flush()
            if info.duration_s:
                progress(min(decoder.n_frames / (info.frame_rate * info.duration_s), 1.0))
        end = reader.info if part is None else info
        wav.write(decoder.finish(end, bool(reader.damage)).numpy())
    seconds = wav.n_samples / rate
    return {
        "bytes": reader.bytes_read,
        "seconds": seconds,
        "sample_rate": rate,
        "channels": info.n_channels,
        "samples": wav.n_samples,
        "bitrate_kbps": info.replace(n_codebooks=reader.n_codebooks).nominal_kbps / info.n_channels,
        "kbps": reader.bytes_read * 8e-3 / seconds if seconds else 0.0,
        "speed": seconds / _since(start),
        "damage": [damage.message for damage in reader.damage],
    }


def _part(
    reader: EulReader, start: Fraction, stop: Fraction | None
) -> tuple[StreamInfo, Iterator[Packet]]:
    """The header of a part of a file, and its packets."""
    info, ranges = plan_range(
        reader, *audio.sample_range(start, stop, reader.info.input_sample_rate)
    )
    return info, (packet for a, b in ranges for packet in reader.iter_range(a, b))


def _block_frames(source: PathLike, n_channels: int) -> int:
    """Small blocks for a pipe, where somebody may wait."""
    return LIVE_BLOCK_FRAMES if is_pipe(source) else file_block_frames(n_channels)


def _make_folder(target: PathLike) -> None:
    if not is_pipe(target):
        Path(target).parent.mkdir(parents=True, exist_ok=True)


def _since(start: float) -> float:
    """Seconds since ``start``, never 0."""
    return max(time.perf_counter() - start, 1e-9)
