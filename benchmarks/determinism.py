"""What changes codes and audio, and by how much: threads, batch, block size, machine, torch.

    python benchmarks/determinism.py                        within this installation
    python benchmarks/determinism.py --save here.npz        keep the results
    python benchmarks/determinism.py --against here.npz     ... and compare another installation's
    python benchmarks/determinism.py --files a.wav b.flac   other audio than the bundled clip

Everything is compared with one thread and the default blocks, all codes of the constant coding.
Codes are compared for the same audio, audio for the same codes (those of the reference); blocks are
the decoder's. The bundled clip is repeated at
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
from eulerodec.codec.streaming import StreamDecoder, StreamEncoder
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
    rate, codes, info = codec.sample_rate, reference.codes, reference.info

    def encoded(wav: np.ndarray) -> Encoded:
        return codec.encode(wav, rate, n_codebooks=info.n_codebooks)

    def blocks(block_frames: int) -> tuple[Tensor, Tensor]:
        return codes, codec.decode(reference, block_frames=block_frames)

    def again() -> tuple[Tensor, Tensor]:
        return encoded(wav).codes, codec.decode(reference)

    def threads(count: int) -> tuple[Tensor, Tensor]:
        torch.set_num_threads(count)
        try:
            return again()
        finally:
            torch.set_num_threads(1)

    def batch(size: int) -> tuple[Tensor, Tensor]:
        rows = encoded(np.concatenate([np.roll(wav, 1000 * k, 1) for k in range(size)]))
        known = torch.cat([codes, rows.codes[1:]])
        levels = torch.cat([reference.levels, rows.levels[1:]])
        return rows.codes[:1], codec.decode(Encoded.from_codes(known, rows.info, levels))[:1]

    def chunks(size: int) -> tuple[Tensor, Tensor]:
        encoder, decoder = StreamEncoder(codec.model, info), StreamDecoder(codec.model, info)
        packets = []
        for part in np.split(wav, range(size, wav.shape[1], size), 1):
            packets += encoder.push(part)
        packets += encoder.flush()
        parts = [decoder.push(packet) for packet in reference.packets]
        sound = torch.cat([*parts, decoder.flush(wav.shape[1])], -1)
        return Encoded(tuple(packets), info).codes, sound

    steps: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "again": again,
        "stream, chunks of 999 samples": lambda: chunks(999),
        "2 threads": lambda: threads(2),
        "4 threads": lambda: threads(4),
        "batch of 3": lambda: batch(3),
        **{f"blocks of {n} frames": lambda n=n: blocks(n) for n in (1, 16, 128, 256)},
    }
    return [compare(name, *step(), codes, sound) for name, step in steps.items()]


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
    reference = codec.encode(wav, codec.sample_rate, n_codebooks=codec.info.n_codebooks)
    sound = codec.decode(reference)
    if args.save:
        codes, levels = reference.codes, reference.levels
        np.savez(args.save, wav=wav, codes=codes, levels=levels, sound=sound, made_by=here)
    if args.against:
        with np.load(args.against, allow_pickle=False) as saved:
            if not np.array_equal(saved["wav"], wav):
                parser.error(f"{args.against} was made from other audio")
            codes = torch.from_numpy(saved["codes"])
            # audio of the saved codes, so that a code that differs is not counted twice
            own = codec.decode(Encoded.from_codes(codes, reference.info, saved["levels"]))
            name = f"{here}, against {saved['made_by']}"
            rows = [compare(name, reference.codes, own, codes, torch.from_numpy(saved["sound"]))]
    else:
        rows = variations(codec, wav, reference, sound)
    print(f"{here}, weights {codec.weights_sha256[:16]}, {wav.shape[1] / codec.sample_rate:.0f} s")
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
