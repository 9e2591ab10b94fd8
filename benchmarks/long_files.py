"""Memory and speed of encoding and decoding against the length of the file.

    python benchmarks/long_files.py                     1, 10, 60 and 180 minutes
    python benchmarks/long_files.py --minutes 1 5 --tiny

Each file is made of noise bursts with pauses, 24 kHz, 16 bit. The command line codes it in a fresh
process on one thread; memory is the peak resident size of that process (Linux: VmHWM), with Python,
torch and the weights in it. Speed is seconds of audio per second, file reading and writing
included. A file of three hours takes 0.5 GB of disk, twice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eulerodec import EuleroDec, ModelConfig, audio, pretrained
from eulerodec.errors import WeightsError

RATE = 24_000
CODE = """
import re, sys
from eulerodec.cli import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""


def make_audio(path: Path, seconds: int) -> None:
    """A mono WAV, second by second."""
    generator = np.random.default_rng(0)
    with audio.open_output(path, RATE, 1, n_samples=seconds * RATE) as out:
        for second in range(seconds):
            level = 0.0 if second % 7 == 6 else 0.02 + 0.2 * generator.random()
            out.write((level * generator.standard_normal((1, RATE))).astype(np.float32))


def run(*argv: str) -> dict[str, Any]:
    """Run the command line on one thread; its result and its peak memory."""
    command = [sys.executable, "-c", CODE, *argv, "--threads", "1", "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    (result,) = json.loads(done.stdout)["files"]
    return result | {"peak_mb": int(done.stderr.split()[-1]) / 1000}


def measure(minutes: float, folder: Path, weights: str, kbps: int) -> dict[str, Any]:
    """Numbers for one length."""
    seconds = max(1, round(60 * minutes))
    wav, eul, back = (folder / name for name in ("in.wav", "coded.eul", "out.wav"))
    make_audio(wav, seconds)
    encode = run(
        "encode", str(wav), "-o", str(eul), "--bitrate", str(kbps), "--weights", weights
    )  # fmt: skip
    wav.unlink()
    decode = run("decode", str(eul), "-o", str(back), "--weights", weights)
    assert decode["samples"] == seconds * RATE
    back.unlink()
    return {
        "minutes": minutes,
        "bytes": encode["bytes"],
        "encode_speed": encode["speed"],
        "encode_peak_mb": encode["peak_mb"],
        "decode_speed": decode["speed"],
        "decode_peak_mb": decode["peak_mb"],
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"{'minutes':>8}{'file, kB':>10}{'encode, x real time':>21}{'peak, MB':>10}"
        f"{'decode, x real time':>21}{'peak, MB':>10}"
    ]
    lines += [
        f"{row['minutes']:>8g}{row['bytes'] / 1000:>10.0f}{row['encode_speed']:>21.1f}"
        f"{row['encode_peak_mb']:>10.0f}{row['decode_speed']:>21.1f}{row['decode_peak_mb']:>10.0f}"
        for row in rows
    ]
    return "\n".join(lines)


def find_weights(given: str | None, tiny: bool, folder: Path) -> str:
    """A name or directory for the command line; random weights if none are bundled."""
    if not tiny:
        name = given or pretrained.DEFAULT_WEIGHTS
        try:
            pretrained.find_weights(name)
            return str(name)
        except WeightsError:
            if given is not None:
                raise
    config = ModelConfig.tiny() if tiny else ModelConfig()
    pretrained.save(folder / "weights", EuleroDec(config), name="random")
    return str(folder / "weights")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60, 180])
    parser.add_argument("--bitrate", type=int, default=6, help="kbps")
    parser.add_argument("--weights", help="name or directory; bundled or random by default")
    parser.add_argument("--tiny", action="store_true", help="a very small model, for tests")
    parser.add_argument("--json", action="store_true", help="numbers as JSON")
    args = parser.parse_args(argv)
    if not Path("/proc/self/status").exists():
        parser.error("memory is read from Linux's /proc, which is not here")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = find_weights(args.weights, args.tiny, folder)
        rows = [measure(minutes, folder, weights, args.bitrate) for minutes in args.minutes]
    print(json.dumps(rows, indent=2) if args.json else table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
