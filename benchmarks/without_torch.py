"""The codec by onnxruntime beside the codec by torch: start and speed, in one run.

    python benchmarks/without_torch.py FOLDER       # made by `eulerodec export -o FOLDER`

One thread, CPU time. Start: a process that decodes a second. Speed: the bundled clip, the median of
turns that alternate.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

TURNS, KBPS = 5, 6

_START = {
    "torch": "from eulerodec import Codec; codec = Codec.from_pretrained()",
    "onnxruntime": (
        "from eulerodec.runtime import OnnxCodec; codec = OnnxCodec({folder!r}, threads=1)"
    ),
}


def start_seconds(code: str, clip: str) -> float:
    """CPU seconds of a process that loads a codec and decodes a file."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = f"{code}; codec.decode_file({clip!r}, {clip + '.wav'!r})"
    subprocess.run([sys.executable, "-c", program], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def alternating(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median CPU seconds of each call, the first turn left out."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(TURNS + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if turn:
                times[name].append(time.process_time() - start)
    return {name: median(values) for name, values in times.items()}


def main(folder: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from eulerodec import Codec, audio
    from eulerodec.runtime import OnnxCodec
    from eulerodec.samples import SAMPLE

    torch.set_num_threads(1)
    wav, rate = audio.read(SAMPLE)
    seconds = wav.shape[1] / rate
    theirs, ours = Codec.from_pretrained(), OnnxCodec(folder, threads=1)
    data = theirs.compress(wav, rate, KBPS)
    encode = alternating({
        "torch": lambda: theirs.compress(wav, rate, KBPS),
        "onnxruntime": lambda: ours.compress(wav, rate, KBPS),
    })  # fmt: skip
    decode = alternating({
        "torch": lambda: theirs.decompress(data),
        "onnxruntime": lambda: ours.decompress(data),
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        clip = str(Path(work) / "clip.eul")
        Path(clip).write_bytes(theirs.compress(wav[:, :rate], rate, KBPS))
        start = {
            name: median(start_seconds(code.format(folder=folder), clip) for _ in range(3))
            for name, code in _START.items()
        }
    error = abs(ours.decompress(data)[0] - theirs.decompress(data)[0].numpy()).max()
    print("| | decode 1 s, all of the process (CPU s) | encode (x) | decode (x) |")
    print("|---|---|---|---|")
    for name in start:
        fast = (f"{seconds / times[name]:.0f}" for times in (encode, decode))
        print(f"| {name} | {start[name]:.2f} | {' | '.join(fast)} |")
    print(f"\nlargest difference of the audio: {error:.1e} of full scale")
    for path in sorted(Path(folder).iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1])
