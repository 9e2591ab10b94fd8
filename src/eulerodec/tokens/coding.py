"""Clips to rows of codes: short ones together, long ones block by block."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..codec import Codec, Encoded
from ..errors import AudioError, AudioWarning, ConfigError, EuleroDecError
from .clips import Clip
from .shards import CodecFacts, Row

__all__ = ["CHANNELS", "code_clips", "codec_facts"]

CHANNELS = ("mix", "each")
LONG_S = 60.0  # a longer clip is coded as it is read, by itself
TOGETHER_S = 600.0  # of clips that are in memory, so that those of like length go together

Skip = Callable[[Clip, str], None]  # told of clips that cannot be coded


def codec_facts(codec: Codec, n_codebooks: int, channels: str, beam: int) -> CodecFacts:
    """What a job makes.

    Raises:
        ConfigError: a number of codebooks or another setting that cannot be had.
    """
    if channels not in CHANNELS:
        raise ConfigError(f"channels must be one of {', '.join(CHANNELS)}, not {channels!r}")
    info = codec.stream_info(n_codebooks=n_codebooks)
    codec.streaming_encoder(n_codebooks=n_codebooks, beam=beam)  # checks the beam
    return CodecFacts(
        name=codec.name,
        weights_sha256=codec.weights_sha256,
        codes_sha256=codec.codes_sha256,
        sample_rate=codec.sample_rate,
        hop_length=info.hop_length,
        n_codebooks=n_codebooks,
        codebook_size=codec.info.codebook_size,
        frames_per_packet=info.frames_per_packet,
        channels=channels,
        beam=beam,
    )


@dataclass
class _Waiting:
    """Clips of one sample rate that are coded together."""

    heads: list[tuple[int, Clip, int]] = field(default_factory=list)  # number, clip, channel
    waves: list[NDArray[np.float32]] = field(default_factory=list)


def code_clips(codec: Codec, clips: Iterable[Clip], facts: CodecFacts, skip: Skip) -> list[Row]:
    """Codes of all clips, in their order; those that cannot be read are skipped.

    Args:
        codec: that the facts are of.
        clips: to code.
        facts: what to make.
        skip: is told of each clip that cannot be coded, and why.
    """
    rows: dict[tuple[int, int], Row] = {}
    waiting: dict[int, _Waiting] = {}
    held_s = 0.0
    for number, clip in enumerate(clips):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AudioWarning)
                rate, waves, coded = _read(codec, clip, facts)
        except (EuleroDecError, OSError) as error:
            skip(clip, _reason(error))
            continue
        for channel, encoded in enumerate(coded):
            rows[number, channel] = _row(clip, channel, encoded, rate)
        group = waiting.setdefault(rate, _Waiting())
        for channel, wave in enumerate(waves):
            group.heads.append((number, clip, channel))
            group.waves.append(wave)
            held_s += len(wave) / rate
        if held_s >= TOGETHER_S:
            _code_waiting(codec, waiting, facts, rows)
            held_s = 0.0
    _code_waiting(codec, waiting, facts, rows)
    return [rows[place] for place in sorted(rows)]


def _read(
    codec: Codec, clip: Clip, facts: CodecFacts
) -> tuple[int, Sequence[NDArray[np.float32]], list[Encoded]]:
    """Sample rate, and the channels of a clip: as samples, or of a long one as codes."""
    with audio.open_reader(clip.audio) as reader:
        rate = reader.sample_rate
        n_channels = 1 if facts.channels == "mix" else reader.n_channels
        n_samples = reader.n_samples
        blocks = (
            x.mean(0, keepdims=True) if facts.channels == "mix" else x for x in reader.blocks()
        )
        if n_samples is not None and n_samples <= LONG_S * rate:
            wave = np.concatenate([np.zeros((n_channels, 0), np.float32), *blocks], 1)
            if wave.shape[1] == 0:
                raise AudioError(f"{reader.name}: no samples")
            return rate, list(wave), []
        return rate, [], _code_blocks(codec, blocks, n_channels, rate, facts)


def _code_blocks(
    codec: Codec,
    blocks: Iterable[NDArray[np.float32]],
    n_channels: int,
    rate: int,
    facts: CodecFacts,
) -> list[Encoded]:
    """Each channel of a recording of any length, whose samples are not kept."""
    encoders = [
        codec.streaming_encoder(
            sample_rate=rate, n_codebooks=facts.n_codebooks, beam=facts.beam,
            frames_per_packet=facts.frames_per_packet,
        )
        for _ in range(n_channels)
    ]  # fmt: skip
    packets = [[] for _ in encoders]
    for block in blocks:
        for encoder, done, x in zip(encoders, packets, block, strict=True):
            done += encoder.push_checked(x[None])
    found = []
    for encoder, done in zip(encoders, packets, strict=True):
        done += encoder.flush()
        info = encoder.info.replace(
            n_samples=encoder.n_samples, n_input_samples=encoder.n_input_samples
        )
        found.append(Encoded(tuple(done), info))
    return found


def _code_waiting(
    codec: Codec,
    waiting: dict[int, _Waiting],
    facts: CodecFacts,
    rows: dict[tuple[int, int], Row],
) -> None:
    """Codes what waits, and forgets it."""
    for rate, group in waiting.items():
        coded = codec.encode_batch(
            group.waves, rate, n_codebooks=facts.n_codebooks, beam=facts.beam,
            frames_per_packet=facts.frames_per_packet,
        )  # fmt: skip
        for (number, clip, channel), encoded in zip(group.heads, coded, strict=True):
            rows[number, channel] = _row(clip, channel, encoded, rate)
    waiting.clear()


def _row(clip: Clip, channel: int, encoded: Encoded, rate: int) -> Row:
    codes, levels = encoded.codes[0].numpy(), encoded.levels[0].numpy()
    return Row(
        clip.key, clip.source, channel, rate, encoded.n_samples,
        codes.astype(np.int16), levels.astype(np.uint8),
    )  # fmt: skip


def _reason(error: Exception) -> str:
    """One line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.splitlines())
