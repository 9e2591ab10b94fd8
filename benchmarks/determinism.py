"""What changes codes and audio, and by how much: threads, batch, block size, machine, torch.

    python benchmarks/determinism.py                        within this installation
    python benchmarks/determinism.py --save here.npz        keep the results
    python benchmarks/determinism.py --against here.npz     ... and compare another installation's
    python benchmarks/determinism.py --files a.wav b.flac   other audio than the bundled clip

Everything is compared with one thread and the default blocks, all stages. Codes are compared for
the same audio, audio for the same codes (those of the reference). The bundled clip is repeated at
other levels and starting at other samples, so that it is not the same frames again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eulerodec import Codec, Encoded, audio
from eulerodec.codec.streaming import BLOCK_FRAMES, StreamDecoder, StreamEncoder
from eulerodec.samples import SAMPLE

SHIFT = 53  # samples that each repetition of the clip lacks at its start


class Row(NamedTuple):
    """``codes`` that differ of ``total``, in so many ``frames``; ``error`` of the audio."""

    name: str
    codes: int
    total: int
    frames: int
    error: float


def material(files: Sequence[Path], seconds: float, rate: int) -> np.ndarray:
    """Mono audio float32 [1, N] of at most that length."""
    parts, missing, k = [], int(seconds * rate), 0
    sources = [audio.resample(*_first_channel(path), rate) for path in files or [SAMPLE]]
    while missing > 0 and (not files or k < len(files)):
        source = sources[k % len(sources)]
        if not files:
            source = source[:, k * SHIFT :] * np.float32(0.8 ** (k % 8))
        parts.append(source[:, :missing])
        missing -= parts[-1].shape[1]
        k += 1
    return np.concatenate(parts, 1)


def _first_channel(path: Path) -> tuple[np.ndarray, int]:
    wav, rate = audio.read(path)
    return wav[:1], rate


def variations(codec: Codec, wav: np.ndarray, reference: Encoded, sound: Tensor) -> list[Row]:
    """All that can be varied inside one process."""
    rate, stages = codec.sample_rate, codec.model.n_codebooks

    def whole(block_frames: int) -> tuple[Tensor, Tensor]:
        encoded = codec.encode(wav, rate, n_codebooks=stages, block_frames=block_frames)
        return encoded.codes, codec.decode(reference, block_frames=block_frames)

    def threads(count: int) -> tuple[Tensor, Tensor]:
        torch.set_num_threads(count)
        try:
            return whole(BLOCK_FRAMES)
        finally:
            torch.set_num_threads(1)

    def batch(size: int) -> tuple[Tensor, Tensor]:
        rows = np.concatenate([np.roll(wav, 1000 * k, 1) for k in range(size)])
        encoded = codec.encode(rows, rate, n_codebooks=stages)
        codes = torch.cat([reference.codes, encoded.codes[1:]])
        return encoded.codes[:1], codec.decode(Encoded(codes, encoded.info))[:1]

    def chunks(size: int) -> tuple[Tensor, Tensor]:
        encoder = StreamEncoder(codec.model, stages)
        decoder = StreamDecoder(codec.model, stages)
        codes = [encoder.push(part) for part in np.split(wav, range(size, wav.shape[1], size), 1)]
        codes.append(encoder.flush())
        parts = [decoder.push(part) for part in reference.codes.split(7, -1)]
        return torch.cat(codes, -1), torch.cat([*parts, decoder.flush(wav.shape[1])], -1)

    def at_once() -> tuple[Tensor, Tensor]:
        codes = codec.model.encode(torch.from_numpy(wav)[None])
        return codes, codec.model.decode(reference.codes, wav.shape[1])[0]

    steps: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "again": lambda: whole(BLOCK_FRAMES),
        "stream, chunks of 999 samples": lambda: chunks(999),
        "2 threads": lambda: threads(2),
        "4 threads": lambda: threads(4),
        "batch of 3": lambda: batch(3),
        **{f"blocks of {n} frames": lambda n=n: whole(n) for n in (1, 16, 64, 128, 256)},
        "all frames at once": at_once,
    }
    return [compare(name, *step(), reference.codes, sound) for name, step in steps.items()]


def compare(name: str, codes: Tensor, sound: Tensor, codes_0: Tensor, sound_0: Tensor) -> Row:
    """Codes [C, K, T] and audio [C, N] with those of the reference."""
    other = codes != codes_0
    error = float((sound - sound_0).abs().max())
    return Row(name, int(other.sum()), other.numel(), int(other.any(1).sum()), error)


def table(rows: Sequence[Row]) -> str:
    lines = ["| | codes that differ | frames with one | largest difference of audio |"]
    lines += ["| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {row.name} | {row.codes} of {row.total} | {row.frames} |"
        f" {f'{row.error:.1e}' if row.error else '0'} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=Path, nargs="+", default=[], help="audio; a bundled clip")
    parser.add_argument("--seconds", type=float, default=60, help="of audio")
    parser.add_argument("--weights", default="eulerodec-24khz", help="name or directory")
    parser.add_argument("--save", type=Path, metavar="FILE.npz")
    parser.add_argument("--against", type=Path, metavar="FILE.npz")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    codec = Codec.from_pretrained(args.weights)
    here = f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
    wav = material(args.files, args.seconds, codec.sample_rate)
    reference = codec.encode(wav, codec.sample_rate, n_codebooks=codec.model.n_codebooks)
    sound = codec.decode(reference)
    if args.save:
        np.savez(args.save, wav=wav, codes=reference.codes, sound=sound, made_by=here)
    if args.against:
        with np.load(args.against, allow_pickle=False) as saved:
            if not np.array_equal(saved["wav"], wav):
                parser.error(f"{args.against} was made from other audio")
            codes = torch.from_numpy(saved["codes"])
            # audio of the saved codes, so that a code that differs is not counted twice
            own = codec.decode(Encoded(codes, reference.info))
            name = f"{here}, against {saved['made_by']}"
            rows = [compare(name, reference.codes, own, codes, torch.from_numpy(saved["sound"]))]
    else:
        rows = variations(codec, wav, reference, sound)
    print(f"{here}, weights {codec.weights_sha256[:16]}, {wav.shape[1] / codec.sample_rate:.0f} s")
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
