"""``python -m eulerodec.research``: run the study, collect its logs, write its pages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eulerodec.errors import EuleroDecError
from eulerodec.research.study import VARIANTS


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="eulerodec.research", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train and score all variants; resumes")
    run.add_argument("--data", nargs="+", required=True, help="training audio or packed cache")
    run.add_argument("--clips", required=True, help="folder or manifest of evaluation clips")
    run.add_argument("--per-set", type=int, default=2, help="clips of each set (default 2)")
    run.add_argument("--out", type=Path, required=True, help="folder of the runs")
    run.add_argument("--recipes", type=Path, default=Path("recipes/research"))
    run.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args(argv)
    try:
        if args.command == "run":
            from eulerodec.research.run import run_study

            run_study(
                args.recipes,
                args.variants,
                args.seeds,
                data=args.data,
                clips=args.clips,
                per_set=args.per_set,
                out=args.out,
            )
    except EuleroDecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
