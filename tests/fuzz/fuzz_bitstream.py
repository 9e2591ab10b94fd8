"""Fuzzing by hand, for as long as you like.

    python tests/fuzz/fuzz_bitstream.py --seconds 600
    python tests/fuzz/fuzz_bitstream.py --target weights --seconds 600
    python tests/fuzz/fuzz_bitstream.py --replay crash.eul

Guided by coverage if ``atheris`` is installed, else by the mutations of ``mutate_stream.py``
alone. What breaks a rule (any error but the package's own, too slow, results that disagree) is
saved beside its message, and the exit code is 1. Memory is limited, so that a file that asks for
much fails.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import random
import resource
import sys
import tempfile
import time
import traceback
import zlib
from pathlib import Path

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
sys.path[:0] = [str(HERE), str(HERE.parent)]

from fuzz_weights import mutate_weights  # noqa: E402
from helpers.streams import concat, cut, make_constant, make_stream  # noqa: E402
from mutate_stream import mutate_stream  # noqa: E402
from stream_targets import check_stream  # noqa: E402


def seeds() -> list[bytes]:
    """Sound files of every kind."""
    files = [bytes.fromhex(p.read_text()) for p in sorted(GOLDEN.glob("bitstream_*.hex"))]
    for live in (False, True):
        files.append(make_constant(40, live=live, n_codebooks=2)[0])
        files.append(make_stream(60, live=live, input_sample_rate=44_100)[0])
    parts = [cut(files[-1], start, start + 4000) for start in (2000, 20_000)]
    return [*files, parts[0], concat(*parts)]


def fuzz_streams(seconds: float, seed: int, folder: Path) -> int:
    rng, corpus = random.Random(seed), seeds()
    end, n_done, n_failed = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        data = mutate_stream(rng.choice(corpus), rng)
        try:
            check_stream(data, zlib.crc32(data))
        except Exception:
            n_failed += 1
            path = folder / f"crash-{seed}-{n_done}.eul"
            path.write_bytes(data)
            print(f"{path}\n{traceback.format_exc()}", flush=True)
            if n_failed == 10:
                break
        n_done += 1
    print(f"{n_done} files, {n_failed} failures, {peak_mib()} MiB at most")
    return int(n_failed > 0)


def fuzz_weights(seconds: float, seed: int, folder: Path) -> int:
    from helpers.models import build

    from eulerodec.codec.weights import load_weights, save_weights
    from eulerodec.errors import WeightsError

    source = folder / "sound"
    save_weights(source, build(seed=0), name="tiny")
    rng, end, n_done = random.Random(seed), time.monotonic() + seconds, 0
    target = folder / "mutated"
    target.mkdir(exist_ok=True)
    while time.monotonic() < end:
        mutate_weights(source, target, rng)
        with contextlib.suppress(WeightsError):
            load_weights(target)
        n_done += 1
    print(f"{n_done} directories of weights, {peak_mib()} MiB at most")
    return 0


def fuzz_with_atheris(seconds: float, folder: Path) -> int:
    import atheris  # type: ignore[import-not-found]

    atheris.instrument_all()

    def one(data: bytes) -> None:
        check_stream(data, zlib.crc32(data))

    def custom(data: bytes, max_size: int, seed: int) -> bytes:
        return mutate_stream(data, random.Random(seed))[:max_size]

    corpus = folder / "corpus"  # grows by what reaches new code
    corpus.mkdir(exist_ok=True)
    for i, data in enumerate(seeds()):
        (corpus / f"{i}.eul").write_bytes(data)
    # Its traces of the code grow by 2 kB a file (without them memory stays at 73 MiB), and what
    # breaks the limit would be called a failure: room for two million files.
    limits = [f"-max_total_time={int(seconds)}", "-max_len=70000", "-rss_limit_mb=4096"]
    argv = [sys.argv[0], str(corpus), *limits, f"-artifact_prefix={folder}/"]
    atheris.Setup(argv, one, custom_mutator=custom)
    atheris.Fuzz()
    return 0


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=("stream", "weights"), default="stream")
    parser.add_argument("--memory", type=int, default=2048, help="limit in MiB, of a stream")
    parser.add_argument("--out", type=Path, help="folder for what fails")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--replay", type=Path, help="run one saved file")
    options = parser.parse_args()
    if options.replay:
        data = options.replay.read_bytes()
        check_stream(data, zlib.crc32(data))
        return 0
    folder = options.out or Path(tempfile.mkdtemp(prefix="eul-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    if options.target == "weights":
        return fuzz_weights(options.seconds, options.seed, folder)
    if importlib.util.find_spec("atheris") and not options.plain:
        return fuzz_with_atheris(options.seconds, folder)
    limit = options.memory << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return fuzz_streams(options.seconds, options.seed, folder)


if __name__ == "__main__":
    sys.exit(main())
