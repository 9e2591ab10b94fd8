"""``python -m eulerodec.train RECIPE.toml --data FOLDER --out RUN``; or ``torchrun -m ...``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from eulerodec.errors import EuleroDecError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="eulerodec.train", description="Train a codec.")
    parser.add_argument("recipe", nargs="?", help="recipe, a TOML file")
    parser.add_argument("--data", nargs="+", default=[], help="folders, manifests or caches")
    parser.add_argument("--out", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--init-from", help="weights folder or checkpoint to start from")
    parser.add_argument("--time-limit", type=float, metavar="MIN", help="minutes in all")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--pack", metavar="CACHE", help="only decode --data into this folder")
    args = parser.parse_args(argv)
    if args.pack is None and not (args.recipe and args.out):
        parser.error("RECIPE and --out are needed (or --pack CACHE)")
    try:
        if args.pack is not None:
            from eulerodec.train.cache import pack

            pack(args.data, args.pack)
            return 0
        from eulerodec.train.loop import run

        run(
            args.recipe,
            data=args.data,
            out=args.out,
            resume=args.resume,
            init_from=args.init_from,
            time_limit=args.time_limit,
            overrides=args.set,
        )
    except EuleroDecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
