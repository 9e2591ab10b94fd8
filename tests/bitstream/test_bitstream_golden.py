"""Files that must be read, and written, in the same way for ever."""

import io
import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from minimal_decoder import decode

from eulerodec.bitstream import EntropyTables, EulWriter, StreamInfo, add_tables, dumps, loads

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests/golden").glob("bitstream_*.hex"))
TABLES = (ROOT / "tests/golden/entropy_tables.safetensors").read_bytes()


def test_the_golden_files_are_there():
    assert len(GOLDEN) >= 5


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_file(path):
    data = bytes.fromhex(path.read_text())
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    codes = expected.pop("codes")

    add_tables(EntropyTables.from_bytes(TABLES))
    info, got = loads(data)
    assert got.tolist() == codes
    head, other, *counts = decode(data, tables=TABLES)
    assert head["tables"] == expected.pop("entropy_tables", "")
    assert head["tables"] == (info.entropy_tables or b"").hex()
    segments = expected.pop("segments", [])
    assert [list(segment._values()) for segment in info.segments] == head["segments"] == segments
    metadata = expected.pop("metadata", {"title": "", "comment": "", "gain_db": 0.0})
    assert asdict(info.metadata) == metadata == {name: head[name] for name in metadata}
    assert list(info.context) == list(head["context"]) == expected.pop("context", [64, 32])
    fields = {name: getattr(info, name) for name in expected if name != "weights_hash"}
    assert {**fields, "weights_hash": info.weights_hash.hex()} == expected

    assert other == codes and counts == [expected["n_samples"], expected["n_input_samples"]]
    assert head["weights_hash"] == expected["weights_hash"]

    sink = io.BytesIO()  # and the writer still makes these very bytes
    known = int.from_bytes(data[31:36], "big") != 2**40 - 1
    counts = (info.n_samples, info.n_input_samples)
    header = info if known else info.replace(n_samples=None, n_input_samples=None)
    writer = EulWriter(sink, header)
    writer.write(np.array(codes, np.int64).reshape(info.n_channels, info.n_codebooks, -1))
    writer.close(*counts)
    assert sink.getvalue() == data


def test_the_worked_example_of_the_specification():
    text = (ROOT / "docs/bitstream.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```hex\n(.*?)```", text, re.DOTALL)
    lines = (re.split(r"\s{3,}", line)[0] for line in block.splitlines())
    data = bytes.fromhex("".join(lines))
    info = StreamInfo(
        model_id="demo",
        weights_hash=bytes.fromhex("0123456789abcdef"),
        input_sample_rate=48_000,
        n_codebooks=2,
        n_samples=500,
        n_input_samples=1000,
    )
    codes = [[[0, 1, 2047], [1024, 5, 1365]]]
    assert dumps(info, codes) == data and len(data) == 81
    assert decode(data)[1:] == (codes, 500, 1000)


def test_the_table_of_sizes_in_the_specification():
    text = (ROOT / "docs/bitstream.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) s \| (\d+) \| ([\d ]+) \| ([\d.]+) \| ([\d.]+) % \|", text, re.M)
    assert len(rows) == 4
    for seconds, stages, size, kbps, above in rows:
        n_samples, k = int(seconds) * 24_000, int(stages)
        info = StreamInfo(
            model_id="eulerodec-24khz",
            weights_hash=bytes(8),
            input_sample_rate=24_000,
            n_codebooks=k,
            n_samples=n_samples,
            n_input_samples=n_samples,
        )
        n_bytes = len(dumps(info, np.zeros((1, k, -(-n_samples // 264) + 1), np.int64)))
        assert n_bytes == int(size.replace(" ", ""))
        measured = n_bytes * 8 / int(seconds) / 1000
        assert float(kbps) == pytest.approx(measured, abs=6e-4)
        assert float(above) == pytest.approx((measured / k - 1) * 100, abs=6e-3)
