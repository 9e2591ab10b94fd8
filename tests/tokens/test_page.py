"""What docs/tokens.md shows, runs."""

import re
from pathlib import Path

import numpy as np
import pytest

from eulerodec import audio
from eulerodec.samples import SAMPLE
from eulerodec.tokens import Vocabulary, job, to_delayed, to_flat, to_parallel

PAGE = (Path(__file__).parents[2] / "docs/tokens.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)


def test_the_example_runs():
    assert len(PYTHON) == 2
    exec(compile(PYTHON[0], "docs/tokens.md", "exec"), {"__name__": "page"})


def test_shards_are_read_as_shown(codec, here):
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    job.tokenize([SAMPLE], "tokens", lambda: codec, n_codebooks=5)
    names = {"__name__": "page"}
    exec(compile(PYTHON[1], "docs/tokens.md", "exec"), names)
    want = codec.encode(*audio.read(SAMPLE), n_codebooks=5).codes[0]
    assert np.array_equal(names["codes"], want)
    table = PAGE.split("| column |")[1].split("\n\n")[0]
    described = set(
        re.findall(r"`(\w+)`", "".join(x.split("|")[1] for x in table.splitlines()[2:]))
    )
    assert described == set(names["row"])


def test_the_table_shows_what_the_patterns_do():
    v = Vocabulary(3, 2)
    names = {v.pad: ".", v.bos: "<", v.eos: ">"}
    names |= {start + t: f"{'abc'[k]}{t + 1}" for k, start in enumerate(v.offsets) for t in (0, 1)}
    codes = np.array([[[0, 1]] * 3])
    for name, work in (("flat", to_flat), ("parallel", to_parallel), ("delayed", to_delayed)):
        rows = np.atleast_2d(work(codes, v)[0])
        shown = ", ".join(f"`{' '.join(names[i] for i in row)}`" for row in rows.tolist())
        line = next(x for x in PAGE.splitlines() if x.startswith(f"| {name} |"))
        assert line.endswith(f" | {shown} |")
