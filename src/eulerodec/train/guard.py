"""Find out where a number stopped being finite, and undo what it did to the buffers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["first_nonfinite", "restore_buffers"]


@torch.no_grad()
def restore_buffers(model: nn.Module, good: nn.Module) -> list[str]:
    """Give every module that holds a non-finite buffer all its buffers of ``good`` back.

    Codebooks and running statistics are updated inside the forward pass, so a bad step may have
    reached them before the loss told. Returns the names of the buffers that were bad.
    """
    bad = [name for name, buffer in model.named_buffers() if not finite(buffer)]
    sources = dict(good.named_modules())
    for owner in {name.rpartition(".")[0] for name in bad}:
        source = dict(sources[owner].named_buffers(recurse=False))
        for name, buffer in model.get_submodule(owner).named_buffers(recurse=False):
            buffer.copy_(source[name])
    return bad


def first_nonfinite(
    model: nn.Module,
    forward: Callable[[], object],
    audio: Tensor,
    losses: Mapping[str, Tensor],
) -> str:
    """Name the earliest non-finite tensor of a step.

    Looks, in the order in which numbers flow, at the input, the parameters, the output of every
    module (``forward`` is run once more, buffers are put back afterwards), the losses, and the
    gradients, of which the one nearest to the loss is named.
    """
    if not finite(audio):
        return "input batch"
    for name, param in model.named_parameters():
        if not finite(param):
            return f"parameter {name}"
    name = _first_activation(model, forward)
    if name:
        return f"activation, output of {name}"
    for name, value in losses.items():
        if not finite(value):
            return f"loss {name}"
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not finite(p.grad)]
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        return f"gradient of {bad[-1]}{more}"
    return "nothing that persists: the step was finite when run again"


@torch.no_grad()
def _first_activation(model: nn.Module, forward: Callable[[], object]) -> str:
    found: list[str] = []

    def hook(name: str):
        def check(_module: nn.Module, _inputs: object, output: object) -> None:
            if not found and not all(finite(t) for t in _tensors(output)):
                found.append(name)

        return check

    saved = {name: buffer.clone() for name, buffer in model.named_buffers()}
    # modules finish inside out, so the first report is the innermost and earliest one
    handles = [m.register_forward_hook(hook(n or "the model")) for n, m in model.named_modules()]
    try:
        forward()
    finally:
        for handle in handles:
            handle.remove()
        for name, buffer in model.named_buffers():
            buffer.copy_(saved[name])
    return found[0] if found else ""


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    elif not isinstance(value, list | tuple):
        value = list(vars(value).values()) if hasattr(value, "__dict__") else []
    return [t for v in value for t in _tensors(v)] if isinstance(value, list | tuple) else []


def finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
