"""`python -m research.accelerator decode | fit | train`: see README.md."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from eulerodec.codec.weights import build_network, load_tensors
from eulerodec.model import Bands
from eulerodec.quantize import CodeBook
from eulerodec.train.material import PACKET, Analysis
from eulerodec.train.recipe import load_recipe

from . import codes as fit
from .decoder import Packets, Settings, Training
from .workers import (
    CHUNK,
    Store,
    decode,
    fields,
    in_pool,
    make_synthetic,
    write_crops,
    write_layouts,
)

BEGIN = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGIN:7.1f} {text}", flush=True)


def add_codes(args: argparse.Namespace) -> None:
    """Crops, energies, codebooks, codes."""
    work, device = Path(args.work), args.device
    old = CodeBook.from_bytes(Path(args.codes).read_bytes())
    recipe = load_recipe(args.recipe)
    config = build_network({"codes": str(Path(args.codes).parent)}).config
    n_samples = round(recipe.data.crop_seconds * config.sample_rate)
    wanted = fields(old, n_samples)
    sets = {"train": args.crops, "val": args.val}
    for name, n in sets.items():
        Store(work / name, wanted, n)
        tasks = [(args.recipe, args.caches, str(work / name), name == "val", k)
                 for k in range(0, n, CHUNK)]  # fmt: skip
        for _ in in_pool(write_crops, tasks, args.jobs):
            pass
    say(f"crops {sets}")
    analysis = Analysis(config)
    analysis.bands.to(device)
    analysis._stft.to(device)
    analysis._matrix = analysis._matrix.to(device)
    stores = {name: Store(work / name) for name in sets}
    for store in stores.values():
        for k in range(0, len(store), 512):
            audio = torch.from_numpy(np.asarray(store["audio"][k : k + 512])).to(device)
            bands = analysis(audio.float() / 32768.0)[1].transpose(1, 2)
            assert bands.shape[1] == PACKET
            store["bands"][k : k + 512] = bands.cpu().numpy()
    say("analysed")
    bands = Bands(config.sample_rate, config.hop_length)
    tables = fit.energy_tables(stores["train"], bands, old, say, device)
    weight = torch.where(bands.centres < fit._DEAF_FROM, 1.0, 0.6).float().numpy()
    first = work / "first.safetensors"
    first.write_bytes(replace(old, tables=tables, energy_weight=weight).to_bytes())
    for name, store in stores.items():
        tasks = [(str(work / name), str(first), k) for k in range(0, len(store), CHUNK)]
        for _ in in_pool(write_layouts, tasks, args.jobs):
            pass
    say("layouts")
    until = time.monotonic() + args.fit_seconds

    def latents(store: Store, first: int, count: int) -> torch.Tensor:
        rows = slice(first, first + count)
        return fit.unit_latents(
            store["audio"][rows], store["gain"][rows], lambda wav: analysis(wav)[0], device
        )

    z = latents(stores["train"], 0, args.crops)
    loudness = stores["train"].tensor("loudness").flatten().to(device)
    books = fit.latent_books(
        z.flatten(0, 1), loudness, len(old.codebooks), old.codebooks.shape[1], say,
        lambda: until - time.monotonic(),
    )  # fmt: skip
    del z
    coded = {}
    for name, store in stores.items():
        parts = []
        for k in range(0, len(store), 4096):
            z = latents(store, k, 4096)
            parts.append(fit.encode(z.flatten(0, 1), books, 4, args.rows).view(*z.shape[:2], -1))
        coded[name] = torch.cat(parts)
        save_file({"codes": coded[name].cpu()}, work / f"codes-{name}.safetensors")
    say("coded")
    tables = fit.counted(tables, stores["train"], coded["train"])
    book = CodeBook(tables, books.cpu(), weight)
    out = Path(args.out)
    (work / "codes.safetensors").write_bytes(book.to_bytes())
    data = (work / "codes.safetensors").read_bytes()
    half = len(data) // 2
    (out / "codes.0").write_bytes(data[:half])
    (out / "codes.1").write_bytes(data[half:])
    say(f"codes {book.sha256[:16]}")


def add_decoder(args: argparse.Namespace) -> None:
    """Trains a decoder and writes its averaged weights."""
    work, device = Path(args.work), args.device
    recipe = load_recipe(args.recipe)
    model = build_network({**recipe.model, "codes": str(work)})
    load_tensors(model, args.start)
    model.to(device)
    packets, held_out = (
        Packets(Store(work / name), load_file(work / f"codes-{name}.safetensors")["codes"],
                model, device)
        for name in ("train", "val")
    )  # fmt: skip
    say(f"{len(packets)} packets, {len(held_out)} held out")
    settings = Settings(
        args.seconds, batch_size=args.batch, rate=args.rate, ema=args.ema, warmup=args.warmup
    )
    training = Training(model, recipe, packets, held_out, settings, say)
    say(f"before: {training.score(6.0):.3f} / {training.score(12.0):.3f} dB")
    training.run()
    state = {
        k: v.half().cpu().contiguous() if v.is_floating_point() else v.cpu()
        for k, v in training.average.state_dict().items()
    }
    save_file(state, Path(args.out) / f"{args.name}.safetensors")
    say(f"{args.name} written")


def main() -> None:
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("decode")
    one.add_argument("manifest", type=Path)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--jobs", type=int, default=16)
    one = commands.add_parser("synthetic")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--minutes", type=int, default=54)
    one.add_argument("--jobs", type=int, default=16)
    one = commands.add_parser("fit")
    one.add_argument("caches", nargs="+")
    one.add_argument("--codes", required=True, help="of the codes whose shapes are kept")
    one.add_argument("--recipe", required=True)
    one.add_argument("--work", required=True, help="a folder for what training needs")
    one.add_argument("--out", required=True)
    one.add_argument("--crops", type=int, default=72_000)
    one.add_argument("--val", type=int, default=256)
    one.add_argument("--rows", type=int, default=16_384)
    one.add_argument("--jobs", type=int, default=16)
    one.add_argument("--device", default="cuda")
    one.add_argument("--fit-seconds", type=float, default=120)
    one = commands.add_parser("train")
    one.add_argument("--recipe", required=True)
    one.add_argument("--start", required=True, help="weights to start from")
    one.add_argument("--name", required=True)
    one.add_argument("--work", required=True)
    one.add_argument("--out", required=True)
    one.add_argument("--seconds", type=float, required=True)
    one.add_argument("--device", default="cuda")
    one.add_argument("--batch", type=int, default=64)
    one.add_argument("--rate", type=float, default=6e-4)
    one.add_argument("--ema", type=float, default=0.9995)
    one.add_argument("--warmup", type=int, default=200)
    args = parser.parse_args()
    if args.command == "decode":
        decode(args.manifest, args.out, args.jobs)
    elif args.command == "synthetic":
        make_synthetic(args.out, args.minutes, args.jobs)
    elif args.command == "fit":
        add_codes(args)
    else:
        add_decoder(args)


if __name__ == "__main__":
    sys.exit(main())
