"""The codec for the verbs, and files through it block by block; importing this imports torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from typing import IO

import numpy as np
import torch

from .. import audio
from ..bitstream import EulReader, EulWriter, Metadata, Packet, StreamInfo, plan_range
from ..codec import Codec
from ..concealment import LOST
from ..decoding import FileDecoder
from ..files import atomic_output, is_pipe
from ..pretrained import DEFAULT_WEIGHTS
from ..quantize import DEFAULT_BEAM
from ..streaming import LIVE_BLOCK_FRAMES, file_block_frames
from ._common import Job, Result
from ._edit import sample_range
from ._progress import FileProgress

__all__ = ["LIVE_PACKET_FRAMES", "decode_file", "encode_file", "load_codec"]

LIVE_PACKET_FRAMES = 16  # 0.18 s


def load_codec(weights: str | None, threads: int | None, device: str) -> Codec:
    """The codec that the options ask for."""
    if threads is not None:
        torch.set_num_threads(threads)
    return Codec.from_pretrained(weights or DEFAULT_WEIGHTS, device)


def encode_file(
    codec: Codec,
    job: Job,
    stages: int,
    *,
    beam: int | None,
    packet_frames: int,
    entropy: bool,
    metadata: Metadata,
    block_frames: int | None,
    many: bool,
    progress: FileProgress,
) -> Result:
    """Audio to ``.eul`` in constant memory, packet by packet as it arrives.

    ``packet_frames`` 0 and ``block_frames`` None choose for the kind of input. ``many``: the job is
    one of several, whose folders are made.
    """
    start = time.perf_counter()
    with audio.AudioReader(job.source) as source:
        n_total, rate, channels = source.n_samples, source.sample_rate, source.n_channels
        if n_total is None and packet_frames == 0:
            packet_frames = LIVE_PACKET_FRAMES
        encoder = codec.streaming_encoder(
            n_codebooks=stages,
            n_channels=channels,
            sample_rate=rate,
            beam=beam or DEFAULT_BEAM,
            block_frames=block_frames or _block_frames(job, channels),
        )
        info = codec.stream_info(
            stages,
            n_channels=channels,
            sample_rate=rate,
            frames_per_packet=packet_frames,
            entropy_coding=entropy,
            metadata=metadata,
        )
        if n_total is not None:
            n_model = audio.resampled_length(n_total, rate, codec.sample_rate)
            info = info.with_counts(n_model, n_total)
        if many:
            job.make_folder()
        # What comes live cannot be had again: each packet goes to the disk, and stays there.
        keep = n_total is None and is_pipe(job.source) and not is_pipe(job.target)
        with atomic_output(job.target, keep=keep) as sink:
            writer = EulWriter(sink, info, sync=keep)
            for block in source.blocks():
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
    source: IO[bytes],
    job: Job,
    *,
    stages: int | None,
    sample_rate: int | None,
    subtype: str,
    recover: bool,
    part: tuple[Fraction, Fraction | None] | None,
    apply_gain: bool,
    block_frames: int | None,
    many: bool,
    progress: FileProgress,
) -> Result:
    """``.eul`` to WAV in constant memory, as the packets arrive; arguments as for encoding.

    ``part``: only from so many seconds to so many, the end if None; ``source`` must then seek.
    """
    start = time.perf_counter()
    reader = EulReader(source, n_codebooks=stages, recover=recover)
    codec.check_stream(reader.info)
    info, packets = reader.info, reader.packets()
    if part is not None:
        info, packets = _part(reader, *part)
    rate = sample_rate or info.input_sample_rate
    block_frames = block_frames or _block_frames(job, info.n_channels)
    decoder = FileDecoder(
        codec.model, info, reader.n_codebooks, rate, block_frames, apply_gain=apply_gain
    )
    if many:
        job.make_folder()
    # a damaged file may hold less than it says
    n_samples = None if recover else decoder.n_output
    with audio.open_output(
        job.target, rate, info.n_channels, subtype=subtype, n_samples=n_samples
    ) as wav:
        for packet in packets:
            codes = np.full_like(packet.codes, LOST) if packet.lost else packet.codes
            wav.write(decoder.push(codes).numpy())
            if is_pipe(job.target):
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
    info, ranges = plan_range(reader, *sample_range(start, stop, reader.info.input_sample_rate))
    return info, (packet for a, b in ranges for packet in reader.iter_range(a, b))


def _block_frames(job: Job, n_channels: int) -> int:
    """Small blocks for a pipe, where somebody may wait."""
    return LIVE_BLOCK_FRAMES if is_pipe(job.source) else file_block_frames(n_channels)


def _since(start: float) -> float:
    """Seconds since ``start``, never 0."""
    return max(time.perf_counter() - start, 1e-9)
