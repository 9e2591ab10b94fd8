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
        distance of :func:`eulerodec.metrics.log_mel`) and the same with 12 stages, as far as the
        model has them.
    """
    stages = int(getattr(model, "n_codebooks", 12))
    scores: dict[str, list[float]] = {}
    for wav in crops.split(batch_size):
        for k in (None, *(k for k in (6, 12) if k <= stages)):
            n_codebooks = None if k is None else torch.full((len(wav),), k, device=wav.device)
            out = model(wav, n_codebooks=n_codebooks, quantize=k is not None)
            name = "raw" if k is None else str(k)
            for x, y in zip(_rows(wav), _rows(out.audio), strict=True):
                scores.setdefault(f"val_si_sdr_{name}", []).append(si_sdr(x, y))
                if k is not None:
                    scores.setdefault(f"val_mel_{name}", []).append(log_mel(x, y, sample_rate))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def _rows(audio: Tensor) -> np.ndarray:
    """``[B, 1, N]`` as numpy ``[B, N]``."""
    return audio[:, 0].float().cpu().numpy()
