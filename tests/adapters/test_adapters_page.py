"""What docs/integrations.md shows of loaders, runs."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from eulerodec import Codec, Encoded, audio
from eulerodec.samples import SAMPLE

PAGE = (Path(__file__).parents[2] / "docs/integrations.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)


@pytest.fixture
def talk_eul(here):
    Codec.from_pretrained().encode_file(SAMPLE, "talk.eul")
    with tarfile.open("shard.tar", "w") as tar:
        data = Path("talk.eul").read_bytes()
        entry = tarfile.TarInfo("0000.eul")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize("library", ["webdataset", "lhotse"])
def test_the_example_runs(library, talk_eul):
    """In a process of its own: it sets what all of the process uses, and leaves files open."""
    pytest.importorskip(library, reason=f"{library} is not installed")
    (code,) = (code for code in PYTHON if f"import {library}\n" in code)
    code += "print(*wav.shape)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    n = 3 * 24_000 if library == "lhotse" else audio.read(SAMPLE)[0].shape[1]
    assert run.stdout == f"1 {n}\n"
    if library == "lhotse":
        part = Encoded.open("part.eul")
        assert part.n_samples == n and part.bitrate_kbps == 12
