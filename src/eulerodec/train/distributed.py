"""One process or many: what differs between the two lives here."""

from __future__ import annotations

import inspect
import os
import platform
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ..errors import ConfigError

__all__ = ["World"]


class World:
    """Rank, number of processes and device, from the variables that ``torchrun`` sets.

    The process group is formed by :meth:`join`, not before, so that the first process can prepare
    the model alone without any collective call of its layers waiting for the others.
    """

    def __init__(self, rank: int, size: int, device: torch.device):
        self.rank, self.size, self.device = rank, size, device
        self.joined = False

    @classmethod
    def from_environment(cls, device: str = "auto") -> World:
        """Raises ConfigError if the asked-for device is not there."""
        local = int(os.environ.get("LOCAL_RANK", 0))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            chosen = torch.device(device)
        except RuntimeError:
            raise ConfigError(f"device = {device!r}; allowed: auto, cpu, cuda, cuda:N") from None
        if chosen.type == "cuda":
            if not torch.cuda.is_available():
                raise ConfigError("device = 'cuda', but torch finds no CUDA device")
            if chosen.index is None:
                chosen = torch.device("cuda", local)
            torch.cuda.set_device(chosen)
        return cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)), chosen)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def join(self) -> None:
        if self.size > 1:
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=timedelta(hours=1))
            self.joined = True

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        if self.joined:
            dist.destroy_process_group()

    def broadcast(self, model: nn.Module) -> None:
        """Give every process the parameters and buffers of the first."""
        if self.joined:
            for tensor in (*model.parameters(), *model.buffers()):
                dist.broadcast(tensor.data, 0)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over processes; its statistics it reduces itself."""
        if not self.joined or not any(p.requires_grad for p in model.parameters()):
            return model
        ddp = nn.parallel.DistributedDataParallel
        # buffers are equal already; the name of the switch changed after torch 2.11
        known = inspect.signature(ddp.__init__).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        switch: dict[str, Any] = {name: False}
        ids = [self.device] if self.device.type == "cuda" else None
        return ddp(model, device_ids=ids, **switch)

    def maximum(self, *values: float) -> list[float]:
        """Elementwise maximum over processes."""
        if not self.joined:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.tolist()

    def all_true(self, value: bool) -> bool:
        """Whether it holds in every process."""
        return self.maximum(0.0 if value else 1.0)[0] == 0.0

    def barrier(self) -> None:
        if self.joined:
            dist.barrier()

    def machine(self) -> str:
        """Kind of processor, for the record."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.is_file() else []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        kind = names[0] if names else platform.processor() or platform.machine()
        return f"{kind}, {torch.get_num_threads()} threads"
