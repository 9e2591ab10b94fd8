"""Scores of a trained network: quality on clips, equivariance, use of the codebooks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eulerodec import audio
from eulerodec.evaluate.clips import SAMPLE_RATE, Clip, read_clip
from eulerodec.metrics import measure, select
from research.joint import JointModel
from research.variants import cost

__all__ = ["equivariance_error", "read_middle", "score_clips", "summarise_model"]

METRICS = ("si_sdr", "log_mel", "ip_rad", "gd_rad", "iaf_rad", "pc", "pesq_wb")
#: Sets whose clips are no speech: PESQ, a model of speech, says nothing about them.
NOT_SPEECH = ("music", "general")


def read_middle(clip: Clip, seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """The middle of a clip, at most that long, ``[N]`` at ``sample_rate`` in Hz."""
    wav = audio.resample(read_clip(clip)[None], SAMPLE_RATE, sample_rate)[0]
    n = min(len(wav), round(seconds * sample_rate))
    start = (len(wav) - n) // 2
    return wav[start : start + n]


@torch.no_grad()
def score_clips(
    model: JointModel, clips: Sequence[Clip], seconds: float, stages: Sequence[int] = (6, 12)
) -> list[dict[str, Any]]:
    """One row per clip and number of stages: set, clip, stages and the metrics that are defined.

    PESQ, by far the slowest, is computed for speech and the highest number of stages alone.
    """
    rows = []
    for clip in clips:
        wav = read_middle(clip, seconds, model.sample_rate)
        batch = torch.from_numpy(wav)[None, None]
        for k in stages:
            pesq = clip.set not in NOT_SPEECH and k == max(stages)
            names = [m for m in METRICS if m != "pesq_wb" or pesq]
            rate = torch.full((1,), float(k))  # 1 kbps a stage
            decoded = model(batch, bitrate_kbps=rate).audio[0, 0].numpy()
            values, _ = measure(wav, decoded, model.sample_rate, select(names))
            rows.append({"set": clip.set, "clip": clip.name, "stages": k}
                        | {m: round(values[m], 5) for m in names if m in values})  # fmt: skip
    return rows


def _rotate(planar: Tensor, angle: float) -> Tensor:
    re, im = planar.chunk(2, 1)
    c, s = math.cos(angle), math.sin(angle)
    return torch.cat([c * re - s * im, s * re + c * im], 1)


@torch.no_grad()
def equivariance_error(
    model: JointModel, wav: Tensor, *, n_codebooks: int | None = None, angles: int = 7
) -> float:
    """How far turning the input's phase is from turning the output's, ``wav [B, 1, N]``.

    With f the network from STFT X to STFT: mean over angles a = 2 pi j / (angles + 1) of
    |f(e^(ia) X) - e^(ia) f(X)| / |f(X)| (Frobenius norms). 0: the output turns with the input;
    about 1.4: it has nothing to do with it. ``n_codebooks`` None leaves the quantiser out.
    """

    def code(spec: Tensor) -> Tensor:
        z = model.encoder(spec)
        if n_codebooks is not None:
            z = model.quantizer.decode(model.quantizer.encode(z, n_codebooks, beam=1))
        return model.decoder(z, torch.full((len(z),), n_codebooks or 0))

    spec = model.stft.analysis(wav[:, 0])
    straight = code(spec)
    errors = []
    for j in range(1, angles + 1):
        angle = 2 * math.pi * j / (angles + 1)
        turned = code(_rotate(spec, angle))
        errors.append(float((turned - _rotate(straight, angle)).norm() / straight.norm()))
    return sum(errors) / len(errors)


def summarise_model(model: JointModel, wav: Tensor) -> dict[str, float]:
    """Cost, equivariance errors and codebook use of a trained network."""
    use = model.quantizer.perplexity() / model.config.codebook_size
    return {
        **cost(model),
        "equivariance": equivariance_error(model, wav),
        "equivariance_6": equivariance_error(model, wav, n_codebooks=6),
        "equivariance_12": equivariance_error(model, wav, n_codebooks=12),
        "codebook_use": float(use.mean()),
        "codebook_use_min": float(use.min()),
    }
