"""Checkpoints from anywhere: no code runs, nothing is allocated by what they claim."""

from __future__ import annotations

import zipfile

import pytest
import torch

from eulerodec.errors import TrainingError
from eulerodec.train.checkpoint import load_checkpoint


@pytest.fixture
def path(tmp_path):
    torch.save({"format": 1, "model": {"w": torch.zeros(100_000)}}, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt")["model"]["w"].shape == (100_000,)
    return tmp_path / "a.pt"


def test_one_that_unpacks_to_more_than_it_is(path, tmp_path):
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as sink:
        for part in source.infolist():
            sink.writestr(part.filename, source.read(part))
    assert bomb.stat().st_size < 10_000
    with pytest.raises(TrainingError, match=r"bomb\.pt: its parts claim 40\d{4} bytes"):
        load_checkpoint(bomb)


@pytest.mark.parametrize("keep", [0, 100, 200_000])
def test_one_that_is_cut_short(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TrainingError, match="cannot read checkpoint"):
        load_checkpoint(path)


def test_one_with_code_inside(tmp_path):
    torch.save({"format": 1, "model": print}, tmp_path / "a.pt")
    with pytest.raises(TrainingError, match="cannot read checkpoint"):
        load_checkpoint(tmp_path / "a.pt")


def test_another_file(tmp_path):
    (tmp_path / "a.pt").write_text("text")
    with pytest.raises(TrainingError, match="cannot read checkpoint"):
        load_checkpoint(tmp_path / "a.pt")
