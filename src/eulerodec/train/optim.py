"""AdamW with parameter groups, the learning-rate schedule, freezing, and averaged weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..settings import nearest
from .recipe import OptimConfig

__all__ = ["WeightAverage", "learning_rate", "make_optimizer", "set_frozen", "set_lr"]


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW with one group per (rate multiplier, weight decay).

    Decay touches matrices and kernels only: complex weights carry (re, im) last, so those have
    three dimensions or more, while biases, scales and gains have fewer.

    Raises:
        ConfigError: a prefix of ``lr_multipliers`` or ``freeze_until`` matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in config.lr_multipliers:
        if not any(name.startswith(prefix) for name in names):
            known = {".".join(n.split(".")[:depth]) for n in names for depth in (1, 2, 3)}
            raise ConfigError(f"no parameter starts with {prefix!r}; {nearest(prefix, known)}")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, param in model.named_parameters():
        matching = [p for p in config.lr_multipliers if name.startswith(p)]
        factor = config.lr_multipliers[max(matching, key=len)] if matching else 1.0
        decay = config.weight_decay if param.ndim >= 3 else 0.0
        groups.setdefault((factor, decay), []).append(param)
    return torch.optim.AdamW(
        [
            {"params": params, "lr_factor": factor, "weight_decay": decay}
            for (factor, decay), params in groups.items()
        ],
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        fused=True,
    )


def learning_rate(config: OptimConfig, step: int, progress: float) -> float:
    """Linear warm-up over ``warmup_steps``, times a cosine from ``lr`` to ``lr_min``.

    Args:
        config: the recipe's ``[optim]``.
        step: steps done so far.
        progress: share of the run that is done, by steps or by time, in [0, 1].
    """
    progress = min(max(progress, 0.0), 1.0)
    rate = config.lr_min + (config.lr - config.lr_min) * 0.5 * (1 + math.cos(math.pi * progress))
    return rate * min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else rate


def set_lr(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]


def frozen_prefixes(config: OptimConfig, step: int) -> frozenset[str]:
    """Prefixes that are frozen at this step."""
    return frozenset(p for p, until in config.freeze_until.items() if until < 0 or step < until)


def set_frozen(model: nn.Module, prefixes: Iterable[str]) -> None:
    """Put the model in training mode, except for what starts with one of ``prefixes``.

    A frozen parameter needs no gradient (backward stops there, which saves its time); a frozen
    module is in eval mode, so that running statistics and codebooks are frozen as well.

    Raises:
        ConfigError: a prefix matches neither a parameter nor a module.
    """
    prefixes = tuple(prefixes)
    names = [n for n, _ in model.named_parameters()] + [n for n, _ in model.named_modules()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise ConfigError(
                f"freeze_until: nothing starts with {prefix!r}; "
                f"{nearest(prefix, {n.split('.')[0] for n in names if n})}"
            )
    model.train()
    for name, param in model.named_parameters():
        param.requires_grad_(not name.startswith(prefixes))
        if not param.requires_grad:
            param.grad = None
    for name, module in model.named_modules():
        if prefixes and name.startswith(prefixes):
            module.eval()


class WeightAverage:
    """Exponential moving average of all parameters and floating-point buffers.

    ``model`` is a full copy in eval mode, used for validation and export. The decay rises as
    (1 + n) / (10 + n) over the first updates, so early weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        mine, theirs = _float_state(self.model), _float_state(model)
        values = [theirs[k] for k in mine]
        # one fused call; public spelling: mine[k].lerp_(theirs[k], 1 - decay) for every k
        torch._foreach_lerp_(list(mine.values()), values, 1 - decay)  # pyright: ignore
        buffers = dict(model.named_buffers())
        for name, buffer in self.model.named_buffers():
            if not buffer.is_floating_point():  # counters and flags
                buffer.copy_(buffers[name])


def _float_state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent floating-point buffers by name, not copied."""
    state: Mapping[str, Tensor] = model.state_dict()
    return {name: value for name, value in state.items() if value.is_floating_point()}
