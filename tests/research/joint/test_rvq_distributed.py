"""Two processes keep equal codebooks, and those of one process on the joined batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from research.joint import ResidualVQ

pytestmark = pytest.mark.numeric

WORKER = """
import sys
import torch, torch.distributed as dist
sys.path[:0] = [{here!r}, {root!r}]
from test_rvq_distributed import batches, start
rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method={init!r}, rank=rank, world_size=2)
for name, dead in (("alive", 0.0), ("revived", 0.2)):
    rvq = start(dead)
    torch.manual_seed(rank)  # each rank draws other candidates
    for step in batches():
        z, stages = (t.chunk(2)[rank] for t in step)
        out = rvq(z, stages)
    torch.save((dict(rvq.state_dict()), out.stats), f"{{folder}}/{{name}}{{rank}}.pt")
dist.destroy_process_group()
"""


def start(dead_threshold):
    torch.manual_seed(0)
    return ResidualVQ(2, 3, 32, decay=0.9, dead_threshold=dead_threshold).train()


def batches():
    generator = torch.Generator().manual_seed(1)
    for step in range(4):
        # in step 2 the first rank uses only stage one: its tensors must be reduced all the same
        stages = [1, 1, 3, 3] if step == 2 else [3, 2, 1, 3]
        yield torch.randn(4, 4, 20, generator=generator), torch.tensor(stages)


def test_two_processes_equal_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        init = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    here = Path(__file__).parent
    code = WORKER.format(here=str(here), root=str(here.parents[2]), init=init)
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(rank), str(tmp_path)], env=env)
        for rank in range(2)
    ]
    try:
        assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    states = {
        name: [torch.load(tmp_path / f"{name}{rank}.pt", weights_only=True) for rank in range(2)]
        for name in ("alive", "revived")
    }
    for (first, stats), (second, other) in states.values():
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert stats == other
    one = start(0.0)
    for step in batches():
        one(*step)
    for key, value in one.state_dict().items():
        # sums are added in another order, which may also decide between codes that are as near
        close = torch.isclose(value, states["alive"][0][0][key], rtol=1e-4, atol=1e-5)
        assert close.float().mean() > 0.9
    # with revival on, codes did come back, and to both alike
    assert not torch.equal(states["revived"][0][0]["codebooks"], one.codebooks)
