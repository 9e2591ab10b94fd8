"""One training step: forward, loss, backward, update; a step with non-finite numbers is undone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import TrainingError
from .data import Batch
from .guard import first_nonfinite, restore_buffers
from .optim import frozen_prefixes, learning_rate, set_frozen, set_lr
from .setup import State

__all__ = ["Report", "Stepper"]


@dataclass(frozen=True)
class Report:
    """What a step was: ``values`` to be averaged (none if it was skipped), the learning ``rate``,
    and the model's ``stats``."""

    rate: float
    values: dict[str, Tensor] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)


class Stepper:
    """Does the steps of a run; ``say`` gets a line about each one that is skipped."""

    def __init__(self, state: State, say: Callable[[str], None] = lambda text: None) -> None:
        self.state, self.say = state, say
        self.autocast = torch.autocast(
            state.world.device.type,
            dtype=torch.bfloat16,
            enabled=state.recipe.train.precision == "bf16",
        )
        self._frozen: frozenset[str] | None = None
        self._net = state.model
        self._bad_in_a_row = 0

    def step(self, step: int, batch: Batch, progress: float) -> Report:
        """Step number ``step``; ``progress`` is the share of the run that is done.

        Raises:
            TrainingError: too many steps in a row had non-finite numbers.
        """
        state, device = self.state, self.state.world.device
        self._freeze(step)
        rate = learning_rate(state.recipe.optim, step, progress)
        set_lr(state.optimizer, rate)
        # draws inside the model (dropout, revival of codes) follow the step, as the data do
        torch.manual_seed(state.recipe.train.seed * 1_000_003 + step)
        wav = torch.from_numpy(batch.audio).to(device, non_blocking=True)
        bitrate_kbps = torch.from_numpy(batch.bitrate_kbps).to(device, non_blocking=True)
        forward = partial(self._forward, wav, bitrate_kbps)

        state.optimizer.zero_grad(set_to_none=True)
        output = forward(self._net)
        total, terms = self._loss(output, wav)
        total.backward()
        clip = state.recipe.train.grad_clip or math.inf
        norm = nn.utils.clip_grad_norm_(state.model.parameters(), clip)
        finite = math.isfinite(total.item()) and math.isfinite(norm.item())
        if not state.world.all_true(finite):
            self._skip(step, forward, wav, {"total": total, **terms})
            return Report(rate)
        self._bad_in_a_row = 0
        state.optimizer.step()
        state.average.update(state.model)
        named = {f"loss_{name}": value.float() for name, value in terms.items()}
        return Report(rate, {"loss": total.detach(), "grad_norm": norm, **named}, output.stats)

    def _freeze(self, step: int) -> None:
        prefixes = frozen_prefixes(self.state.recipe.optim, step)
        if prefixes != self._frozen:
            self._frozen = prefixes
            set_frozen(self.state.model, prefixes)
            self._net = self.state.world.wrap(self.state.model)

    def _forward(self, wav: Tensor, bitrate_kbps: Tensor, net: nn.Module) -> Any:
        with self.autocast:
            return net(wav, bitrate_kbps=bitrate_kbps)

    def _loss(self, output: Any, wav: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the audio and the model's own terms, each by its weight in ``[loss]``."""
        total, terms = self.state.loss(output.audio.float(), wav)
        for name, value in output.losses.items():
            terms = {**terms, name: value.detach()}
            weight = getattr(self.state.recipe.loss, name)
            if weight:
                total = total + weight * value
        return total, terms

    def _skip(
        self,
        step: int,
        forward: Callable[[nn.Module], object],
        wav: Tensor,
        losses: dict[str, Tensor],
    ) -> None:
        """Name what was not finite, and undo what it did to buffers."""
        state = self.state
        self._bad_in_a_row += 1
        state.progress.skipped += 1
        bad = restore_buffers(state.model, state.average.model)
        name = first_nonfinite(state.model, partial(forward, state.model), wav, losses)
        text = f"step {step}: non-finite numbers, first in {name}; step skipped"
        self.say(text + (f"; {len(bad)} buffers restored ({bad[0]}, ...)" if bad else ""))
        if self._bad_in_a_row >= state.recipe.train.max_bad_steps:
            raise TrainingError(
                f"{self._bad_in_a_row} non-finite steps in a row, the last at step {step}, first in"
                f" {name}; lower optim.lr or train.grad_clip, or use precision fp32"
            )
