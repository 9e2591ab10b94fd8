"""A few held-out crops, scored quickly: enough to see a run go right or wrong."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..metrics import log_mel, si_sdr

__all__ = ["validate"]


@torch.no_grad()
def validate(
    model: nn.Module, crops: Tensor, batch_size: int, sample_rate: int
) -> dict[str, float]:
    """Mean scores of a model in eval mode on held-out crops.

    Args:
        model: called as in training.
        crops: ``[n, 1, N]`` at ``sample_rate`` in Hz.
        batch_size: crops at a time.
        sample_rate: of the model.

    Returns:
        ``val_si_sdr_raw`` in dB without quantiser; ``val_si_sdr_6``, ``val_mel_6`` (the log-mel
        distance of :func:`eulerodec.metrics.log_mel`) at 6 kbps, and the same at 12.
    """
    scores: dict[str, list[float]] = {}
    for wav in crops.split(batch_size):
        for kbps in (None, 6, 12):
            rate = None if kbps is None else torch.full((len(wav),), float(kbps), device=wav.device)
            out = model(wav, bitrate_kbps=rate)
            name = "raw" if kbps is None else str(kbps)
            for x, y in zip(_rows(wav), _rows(out.audio), strict=True):
                scores.setdefault(f"val_si_sdr_{name}", []).append(si_sdr(x, y))
                if kbps is not None:
                    scores.setdefault(f"val_mel_{name}", []).append(log_mel(x, y, sample_rate))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def _rows(audio: Tensor) -> np.ndarray:
    """``[B, 1, N]`` as numpy ``[B, N]``."""
    return audio[:, 0].float().cpu().numpy()
