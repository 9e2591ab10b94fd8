"""``python -m research``: run the study, collect its logs, write its pages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eulerodec.errors import EuleroDecError
from research.study import VARIANTS


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="research", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train and score all variants; resumes")
    run.add_argument("--data", nargs="+", required=True, help="training audio or packed cache")
    run.add_argument("--clips", required=True, help="folder or manifest of evaluation clips")
    run.add_argument("--per-set", type=int, default=2, help="clips of each set (default 2)")
    run.add_argument("--out", type=Path, required=True, help="folder of the runs")
    run.add_argument("--recipes", type=Path, default=Path("recipes/research"))
    run.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    run.add_argument("--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", dest="overrides")
    gather = commands.add_parser("collect", help="tables of all finished runs")
    gather.add_argument("runs", type=Path)
    gather.add_argument("out", type=Path)
    gather.add_argument(
        "--others", type=Path, nargs="+", help="folders of runs with other settings"
    )
    speed = commands.add_parser("speed", help="processor time of a step, variants in turns")
    speed.add_argument("out", type=Path)
    speed.add_argument("--recipes", type=Path, default=Path("recipes/research"))
    pages = commands.add_parser("pages", help="pages and figures from FOLDER/data")
    pages.add_argument("folder", type=Path)
    rq1 = commands.add_parser("rq1", help="page of question 1 from a folder of `evaluate`")
    rq1.add_argument("results", type=Path)
    rq1.add_argument("folder", type=Path)
    worst = commands.add_parser("worst", help="picture of the worst clips of an evaluation")
    worst.add_argument("results", type=Path)
    worst.add_argument("clips")
    worst.add_argument("figure", type=Path, help="PNG file")
    worst.add_argument("--systems", nargs="+", default=["eulerodec:6", "eulerodec:12"])
    args = parser.parse_args(argv)
    try:
        if args.command == "run":
            from research.run import run_study

            run_study(
                args.recipes,
                args.variants,
                args.seeds,
                data=args.data,
                clips=args.clips,
                per_set=args.per_set,
                out=args.out,
                overrides=args.overrides,
            )
        elif args.command == "collect":
            from research.collect import collect, collect_others

            print(f"{collect(args.runs, args.out)} runs")
            if args.others:
                collect_others([args.runs, *args.others], args.out)
        elif args.command == "speed":
            from research.collect import measure_speed

            measure_speed(args.recipes, list(VARIANTS), args.out)
        elif args.command == "rq1":
            from research.rq1 import write_rq1

            print(write_rq1(args.results, args.folder))
        elif args.command == "worst":
            from research.worst import draw_worst

            print(*draw_worst(args.results, args.clips, args.figure, args.systems), sep="\n")
        else:
            from research.pages import write_pages

            print(*write_pages(args.folder), sep="\n")
    except EuleroDecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
