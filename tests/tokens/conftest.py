"""Corpora of every kind, of the same clips."""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path

import pytest
from helpers.corpus import add_member, wav_bytes


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, list[str]]:
    """Inputs of each kind, with the keys of their clips 0, 1, ... in order."""
    folder = tmp_path / "corpus"
    (folder / "b").mkdir(parents=True)
    names = ["a0.wav", "a1.wav", "b/c2.wav", "b/c3.wav", "d4.wav"]
    names.sort(key=lambda name: ("/" in name, name))  # files of a folder before its subfolders
    for number, name in enumerate(names):
        (folder / name).write_bytes(wav_bytes(number))
    (folder / "notes.txt").write_text("no audio")
    with open(tmp_path / "list.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "path"])
        rows.writerows([f"id-{i}", f"corpus/{name}"] for i, name in enumerate(names))
    lines = [json.dumps({"path": f"corpus/{name}", "text": "words"}) for name in names]
    (tmp_path / "list.jsonl").write_text("\n\n".join(lines) + "\n")
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for number in range(len(names)):
            long = "x" * (200 if number == 3 else 1)  # a name that takes a header of its own
            add_member(tar, f"part/{long}{number}.mic.wav", wav_bytes(number))
            add_member(tar, f"part/{long}{number}.json", b"{}")
    keys = {
        "corpus": names,
        "list.csv": [f"id-{i}" for i in range(len(names))],
        "list.jsonl": [f"corpus/{name}" for name in names],
        "set.tar": [f"part/{'x' * (200 if i == 3 else 1)}{i}" for i in range(len(names))],
    }
    return {str(tmp_path / name): found for name, found in keys.items()}


@pytest.fixture
def parquet(tmp_path: Path) -> dict[str, list[str]]:
    """As ``datasets`` writes it, in several row groups; the last one has only a path."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "beside.wav").write_bytes(wav_bytes(4))
    values = [{"bytes": wav_bytes(i), "path": f"p{i}.wav"} for i in range(4)]
    values.append({"bytes": None, "path": "beside.wav"})
    table = pa.table({"text": ["words"] * 5, "sound": values})
    pq.write_table(table, tmp_path / "set.parquet", row_group_size=2)
    return {str(tmp_path / "set.parquet"): [value["path"] for value in values]}
