"""A few held-out crops, scored quickly: enough to see a run go right or wrong."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..metrics import si_sdr

__all__ = ["log_mel", "mel_filters", "validate"]


def mel_filters(n_mels: int, n_fft: int, sample_rate: int) -> Tensor:
    """Triangles equally spaced in mel = 2595 log10(1 + f / 700), [n_mels, n_fft / 2 + 1]."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, n_mels + 2, dtype=torch.float64) / 2595) - 1)
    hz = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (hz - low) / (mid - low), (high - hz) / (high - mid)
    return torch.minimum(rise, fall).clamp(min=0).float()


def log_mel(wave: Tensor, sample_rate: int = 24000) -> Tensor:
    """log10 of 64 mel amplitudes (window 1024, hop 256, floor 1e-4), [B, N] -> [B, 64, T]."""
    window = torch.hann_window(1024, device=wave.device)
    spec = torch.stft(wave, 1024, 256, window=window, pad_mode="constant", return_complex=True)
    return (mel_filters(64, 1024, sample_rate).to(wave.device) @ spec.abs()).clamp(min=1e-4).log10()


def _si_sdr(audio: Tensor, target: Tensor) -> Tensor:
    """SI-SDR of each row in dB, [B, N] -> [B]."""
    pairs = zip(target.cpu(), audio.cpu(), strict=True)
    return torch.tensor([si_sdr(t.numpy(), a.numpy()) for t, a in pairs], dtype=torch.float64)


@torch.no_grad()
def validate(
    model: nn.Module, crops: Tensor, batch_size: int, *, quantized: bool
) -> dict[str, float]:
    """Mean scores of a model (in eval mode) on crops [n, 1, N].

    Returns:
        ``val_si_sdr_raw`` without quantiser and, once the quantiser is on, ``val_si_sdr_6``,
        ``val_mel_6`` (mean absolute log10-mel difference) and the same at 12 stages.
    """
    settings: list[tuple[str, int | None]] = [("raw", None)]
    if quantized:
        stages = int(getattr(model, "n_codebooks", 12))
        settings += [(str(k), k) for k in (6, 12) if k <= stages]
    scores: dict[str, list[Tensor]] = {}
    for wav in crops.split(batch_size):
        target = wav[:, 0]
        for name, k in settings:
            n_codebooks = None if k is None else torch.full((len(wav),), k, device=wav.device)
            out = model(wav, n_codebooks=n_codebooks, quantize=k is not None)
            audio = out.audio[:, 0].float()
            scores.setdefault(f"val_si_sdr_{name}", []).append(_si_sdr(audio, target))
            if k is not None:
                mel = (log_mel(audio) - log_mel(target)).abs().mean((1, 2))
                scores.setdefault(f"val_mel_{name}", []).append(mel)
    return {name: float(torch.cat(parts).mean()) for name, parts in scores.items()}
