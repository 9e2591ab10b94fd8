"""``python -m research.planes``: prepare audio, fit tables and codebooks, train, score."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .fit import PlaneRule


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="research.planes", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="analyse a folder of `eulerodec pack`")
    prepare.add_argument("cache", type=Path)
    prepare.add_argument("frames", type=Path, help="folder to write, 1.2 kB a frame")
    fit = commands.add_parser("fit", help="tables and codebooks, about an hour on one core")
    fit.add_argument("frames", type=Path)
    fit.add_argument("out", type=Path)
    train = commands.add_parser("train", help="a decoder for them")
    train.add_argument("frames", type=Path)
    train.add_argument("out", type=Path, help="folder with tables and codebooks")
    train.add_argument("--minutes", type=float, default=60.0)
    score = commands.add_parser("score", help="SI-SDR, PESQ and STOI beside the released codec")
    score.add_argument("clips", nargs="+", help="folders, manifests or files")
    score.add_argument("--out", type=Path, help="folder with tables, codebooks and decoder")
    score.add_argument("--limit", type=int, default=0, help="clips at most")
    args = parser.parse_args(argv)

    from eulerodec import Codec

    from . import recipe
    from .codec import FITTED, load_coder
    from .material import open_frames
    from .material import prepare as analyse

    model = Codec.from_pretrained().model
    if args.command == "prepare":
        analyse(model, args.cache, args.frames)
    elif args.command == "fit":
        rule = PlaneRule(energy_planes=(2, 4, 6, 8, 10, 12, 14, 16))
        recipe.fit(model, open_frames(args.frames), rule, recipe.FitSizes(), args.out)
    elif args.command == "train":
        coder = load_coder(model, args.out)
        recipe.train_decoder(
            model, open_frames(args.frames), coder,
            minutes=args.minutes, out=args.out / "decoder.safetensors",
        )  # fmt: skip
    else:
        _score(args.clips, args.out or FITTED, args.limit)


def _score(clips: Sequence[str], folder: Path, limit: int) -> None:
    from pesq import pesq
    from pystoi import stoi

    from eulerodec import Codec, audio
    from eulerodec.evaluate.clips import find_clips
    from eulerodec.metrics import si_sdr

    from .codec import HEAD, PlanesCodec

    codec, shipped = PlanesCodec(folder), Codec.from_pretrained()
    rows: dict[str, list[tuple[float, ...]]] = {}

    def add(name: str, kbps: float, x: np.ndarray, y: np.ndarray) -> None:
        low = [audio.resample(v[None], 24_000, 16_000)[0] for v in (x, y)]
        marks = (kbps, si_sdr(x, y), pesq(16_000, low[0], low[1], "wb"), stoi(x, y, 24_000))
        rows.setdefault(name, []).append(marks)

    found = [clip for source in clips for clip in find_clips(source)[0]]
    for clip in found[:limit] if limit else found:
        wav, rate = audio.read(clip.path)
        x = audio.resample(wav, rate, 24_000)[0]
        seconds = len(x) / 24_000
        packets = codec.encode(x, 12)
        for kbps in (6, 12):
            data = shipped.compress(x, 24_000, kbps)
            y = shipped.decompress(data)[0].numpy()[0]
            add(f"released {kbps}", len(data) / 125 / seconds, x, y)
            mine = packets if kbps == 12 else codec.encode(x, kbps)
            used = sum(HEAD + len(p) for _, p in mine)
            add(f"planes {kbps}", used / 125 / seconds, x, codec.decode(mine, len(x)))
        for kbps in (1, 3, 6, 8):
            y = codec.decode(codec.cut(packets, len(x), kbps), len(x))
            add(f"planes 12 cut to {kbps}", kbps, x, y)
    print("| | kbps | SI-SDR | PESQ-WB | STOI |\n|---|---|---|---|---|")
    for name, marks in rows.items():
        kbps, db, mos, intelligible = np.mean(marks, 0)
        print(f"| {name} | {kbps:.2f} | {db:.2f} | {mos:.2f} | {intelligible:.3f} |")


if __name__ == "__main__":
    main()
