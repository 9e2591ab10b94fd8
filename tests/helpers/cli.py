"""What the tests of the command line share."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from eulerodec import audio
from eulerodec.cli import main


def speech(n: int = 12_000, rate: int = 24_000, channels: int = 1) -> np.ndarray:
    t = np.arange(n) / rate
    rows = [0.3 * np.sin(2 * np.pi * (200 + 50 * c) * t) * np.sin(9 * t) for c in range(channels)]
    return np.stack(rows).astype(np.float32)


def live_wav(x: np.ndarray, size: int) -> bytes:
    """16-bit mono WAV with a data size as programs write into pipes."""
    data = np.round(x * 32767).astype("<i2").T.tobytes()
    form = struct.pack("<IHHIIHH", 16, 1, x.shape[0], 24_000, 48_000 * x.shape[0], 2, 16)
    return (
        b"RIFF\xff\xff\xff\xffWAVEfmt " + form + b"LIST" + struct.pack("<I", 3) + b"abc\0"
        b"data" + struct.pack("<I", size) + data
    )  # fmt: skip


def put(path: str, n: int = 12_000, rate: int = 24_000, channels: int = 1) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    audio.write(path, speech(n, rate, channels), rate)


def tree() -> set[str]:
    return {p.relative_to(".").as_posix() for p in Path(".").rglob("*") if p.is_file()}


def fails(capsys: pytest.CaptureFixture, argv: list[str], code: int, *words: str) -> None:
    """The command ends with ``code`` and one line on standard error, and makes no file."""
    before = tree()
    assert main(argv) == code
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1, err
    for word in words:
        assert word in err
    assert out == "" and tree() == before


def run(*argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess:
    """In a process of its own, with as many threads as here: others may round otherwise."""
    command = [sys.executable, "-m", "eulerodec", *argv]
    env = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(command, input=stdin, capture_output=True, check=False, env=env)


def second_packet(data: bytes) -> int:
    """Where the second packet starts, by the written specification of the format."""
    body = struct.unpack(">H", data[5:7])[0]
    first = 7 + body + 4
    return first + 8 + struct.unpack(">H", data[first + 3 : first + 5])[0]


def newer(data: bytes) -> bytes:
    """The same header with version 3 and a right checksum."""
    end = 7 + struct.unpack(">H", data[5:7])[0]
    head = data[:4] + b"\x03" + data[5:end]
    return head + struct.pack(">I", zlib.crc32(head)) + data[end + 4 :]


def flip(data: bytes) -> bytes:
    """One bit of the second packet's payload is wrong."""
    at = second_packet(data) + 300
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
