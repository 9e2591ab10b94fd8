"""Memory and speed of encoding and decoding against the length of the file.

    python benchmarks/long_files.py                     1, 10, 60 and 180 minutes
    python benchmarks/long_files.py --write docs/long_files.md
    python benchmarks/long_files.py --minutes 1 5 --tiny

Each file is the bundled clip over and over, a little louder or softer each time, 24 kHz, 16 bit.
The command line codes it in a fresh process on one thread; memory is the peak resident size of that
process (Linux: VmHWM), with Python, torch and the weights in it. Speed is seconds of audio per
second of processor time, file reading and writing included, less what the same command takes for a
second of audio (starting up). A file of three hours takes 0.5 GB of disk.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eulerodec import EuleroDec, ModelConfig, audio
from eulerodec.codec.weights import DEFAULT_WEIGHTS, load_codes, save_weights
from eulerodec.samples import SAMPLE

RATE = 24_000
# arguments: what to run, as JSON: the short command, which is run twice, then the long one
CODE = """if True:
    import json, re, sys, time
    from eulerodec.cli import main

    def seconds(argv):
        start = time.process_time()
        if main(argv):
            sys.exit("failed: " + " ".join(argv))
        return time.process_time() - start

    short, long = json.loads(sys.argv[1])
    seconds(short)
    spent = -seconds(short) + seconds(long)
    peak = re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]
    print(json.dumps({"seconds": spent, "peak_mb": int(peak) / 1000}))
"""
INTRODUCTION = """# Long files

Written by `python benchmarks/long_files.py --write docs/long_files.md`, which says how. Bundled
weights, {kbps:g} kbps, one thread, on a busy machine: what counts is that neither memory nor
speed depends on the length. Speeds are per second of processor time; the ratio is to the first row.

"""


def make_audio(path: Path, seconds: int) -> None:
    """A mono WAV: the clip, again and again at other levels."""
    wav, rate = audio.read(SAMPLE)
    clip = audio.resample(wav, rate, RATE)
    missing = seconds * RATE
    with audio.open_writer(path, RATE, 1, n_samples=missing) as out:
        for k in itertools.count():
            part = clip[:, :missing] * np.float32(1 - 0.01 * (k % 50))
            out.write(part)
            missing -= part.shape[1]
            if missing == 0:
                break


def run(verb: str, files: tuple[Path, Path], short: tuple[Path, Path], *more: str) -> Any:
    """Run the command line on one thread; processor seconds and peak memory."""
    commands = [
        [verb, str(source), "-o", str(target), "--threads", "1", *more]
        for source, target in (short, files)
    ]
    command = [sys.executable, "-c", CODE, json.dumps(commands)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def measure(minutes: float, folder: Path, weights: str, kbps: float) -> dict[str, Any]:
    """Numbers for one length."""
    seconds = max(1, round(60 * minutes))
    wav, eul, back = (folder / name for name in ("in.wav", "coded.eul", "out.wav"))
    short = [folder / f"short-{path.name}" for path in (wav, eul, back)]
    make_audio(wav, seconds)
    make_audio(short[0], 1)
    rate = ("--bitrate", str(kbps))
    encode = run("encode", (wav, eul), (short[0], short[1]), *rate, "--weights", weights)
    wav.unlink()
    decode = run("decode", (eul, back), (short[1], short[2]), "--weights", weights)
    with audio.open_reader(back) as result:
        assert result.n_samples == seconds * RATE
    back.unlink()
    return {
        "minutes": minutes,
        "bytes": eul.stat().st_size,
        "encode_speed": seconds / encode["seconds"],
        "encode_peak_mb": encode["peak_mb"],
        "decode_speed": seconds / decode["seconds"],
        "decode_peak_mb": decode["peak_mb"],
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = [
        "| minutes | file, kB | encode, x real time | ratio | peak, MB |"
        " decode, x real time | ratio | peak, MB |",
        "|" + " ---: |" * 8,
    ]
    first = rows[0]
    for row in rows:
        cells = [f"{row['minutes']:g}", f"{row['bytes'] / 1000:.0f}"]
        for verb in ("encode", "decode"):
            speed, peak = row[f"{verb}_speed"], row[f"{verb}_peak_mb"]
            cells += [f"{speed:.0f}", f"{speed / first[f'{verb}_speed']:.2f}", f"{peak:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def tiny_weights(folder: Path) -> str:
    """A directory of weights of a very small network with random values."""
    model = EuleroDec(ModelConfig.tiny(), load_codes(DEFAULT_WEIGHTS))
    save_weights(folder / "weights", model, name="random")
    return str(folder / "weights")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60, 180])
    parser.add_argument("--bitrate", type=float, default=6, help="kbps")
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS, help="name or directory")
    parser.add_argument("--tiny", action="store_true", help="a very small model, for tests")
    parser.add_argument("--json", action="store_true", help="numbers as JSON")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="the table as a page, too")
    args = parser.parse_args(argv)
    if not Path("/proc/self/status").exists():
        parser.error("memory is read from Linux's /proc, which is not here")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = tiny_weights(folder) if args.tiny else args.weights
        rows = [measure(minutes, folder, weights, args.bitrate) for minutes in args.minutes]
    print(json.dumps(rows, indent=2) if args.json else table(rows))
    if args.write:
        text = INTRODUCTION.format(kbps=args.bitrate) + table(rows) + "\n"
        args.write.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
