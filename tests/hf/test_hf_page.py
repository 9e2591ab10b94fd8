"""What docs/integrations.md shows of transformers, runs; the hub as AutoModel sees it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.cli import speech
from helpers.fake_hub import serve

pytest.importorskip("transformers", reason="transformers is not installed")

PAGE = (Path(__file__).parents[2] / "docs/integrations.md").read_text(encoding="utf-8")


def test_the_example_runs(here):
    section = PAGE.split("## transformers")[1].split("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```$", section, flags=re.M | re.S)
    names = {"wavs": [speech(30_000)[0], speech(12_345)[0]]}
    exec(compile(code, "integrations.md", "exec"), names)
    assert names["coded"].audio_codes.shape[:2] == (2, 8)
    assert names["coded"].levels.shape == (2, 1)
    assert names["heard"].shape == (2, 1, 30_000)


def test_models_of_a_hub(weights, tmp_path):
    code = """
import sys
from transformers import AutoFeatureExtractor, AutoModel
import eulerodec.hf
from eulerodec.hf import EuleroDecModel

EuleroDecModel.from_pretrained(sys.argv[1]).push_to_hub("user/tiny")
for name in ("user/tiny", sys.argv[1]):
    model = eulerodec.hf.EuleroDecModel.from_pretrained(name)
    print(type(model).__name__, model.codec.weights_sha256)
model = AutoModel.from_pretrained("user/tiny", revision="main")
print(type(model).__name__, model.codec.weights_sha256)
print(AutoFeatureExtractor.from_pretrained("user/tiny").sampling_rate)
"""
    with serve() as hub:
        env = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path),
            "HF_TOKEN": "hf_none",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        command = [sys.executable, "-c", code, str(weights)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | env)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == lines[1] == lines[2] and lines[0].startswith("EuleroDecModel ")
    assert lines[3] == "24000"
