"""Mutated weights: shared by the test and by ``fuzz_bitstream.py --target weights``."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

ODD_VALUES: list[Any] = [
    0, 1, -1, 2, 3, 7, 16, 255, 256, 2**16, 2**20, 2**31, 2**63, 10**30, 0.5, -1.5, 1e300,
    float("nan"), float("inf"), True, None, "", "x", "split", [], [1], [1, 2], [-1, 2**40],
    [1, "a"], {}, {"a": 1},
]  # fmt: skip


def mutate_weights(source: Path, target: Path, rng: random.Random) -> None:
    """Write a mutated copy of a directory of weights."""
    config = json.loads((source / "config.json").read_text())
    names = "model.safetensors", "codes.safetensors"
    files = {name: (source / name).read_bytes() for name in names}
    if rng.random() < 0.8:
        config.pop("weights_sha256", None)  # or nothing behind the checksum is reached
    kind, name = rng.randrange(4), rng.choice(names)
    if kind == 0:
        for _ in range(rng.randint(1, 3)):
            config[rng.choice([*config, "codes"])] = rng.choice(ODD_VALUES)
    elif kind == 1:
        size = int.from_bytes(files[name][:8], "little")
        head = json.loads(files[name][8 : 8 + size])
        _mutate_header(head, rng)
        text = json.dumps(head).encode()
        files[name] = len(text).to_bytes(8, "little") + text + files[name][8 + size :]
    elif kind == 2:
        files[name] = mutate_bytes(files[name], rng)
    text = json.dumps(config).encode()
    if kind == 3:
        text = mutate_bytes(text, rng)
    (target / "config.json").write_bytes(text)
    for name, data in files.items():
        (target / name).write_bytes(data)


def _mutate_header(head: dict[str, Any], rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(list(head))
        entry = head[name]
        action = rng.randrange(5)
        if action == 0:
            del head[name]
            head[name + "x" * rng.randrange(2)] = entry
        elif action == 1 or not isinstance(entry, dict):
            head[name] = rng.choice(ODD_VALUES)
        elif action == 2:
            entry["dtype"] = rng.choice(["F64", "F16", "BF16", "I64", "BOOL", "F8_E4M3", 5, None])
        elif action == 3:
            entry["shape"] = rng.choice(ODD_VALUES)
        else:
            entry["data_offsets"] = rng.choice([[0, 4], [4, 0], [0, 2**62], [-1, 1], [], None])


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, removed, repeated or put in, mostly near the start."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        span = len(out) if rng.random() < 0.5 else min(len(out), 200)
        at = rng.randrange(span + 1)
        count = rng.choice([1, 1, 2, 4, 11, 40])
        action = rng.randrange(5)
        if action == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            out[at : at + count] = rng.randbytes(count)
        elif action == 2:
            del out[at : at + count]
        elif action == 3:
            out[at:at] = out[at : at + count]
        else:
            del out[at:]
    return bytes(out)
