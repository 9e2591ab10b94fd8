"""Files that must be read, and written, in the same way for ever."""

import json
import re
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
import pytest
from helpers.streams import make_info, pairs, read_codes, write_stream
from minimal_decoder import constant_codes, decode

from eulerodec.bitstream import (
    ConstantCoder,
    ConstantCodes,
    RateControl,
    StreamInfo,
    read,
)

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests/golden").glob("bitstream_*.hex"))


def test_the_golden_files_are_there():
    assert len(GOLDEN) == 6


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_file(path):
    data = bytes.fromhex(path.read_text())
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    packets = [(n_frames, bytes.fromhex(text)) for n_frames, text in expected.pop("packets")]
    is_open = expected.pop("open")
    codes = [expected.pop(name, None) for name in ("levels", "codes")]

    file = read(data)
    info = file.info
    head, other = decode(data)
    assert pairs(file.packets) == packets == other
    assert head == expected
    if info.coding == "constant":
        assert list(constant_codes(head, other)) == codes
        assert [part.tolist() for part in read_codes(file)] == codes
        coder, start = ConstantCoder(info), 0
        for (n_frames, payload), level in zip(packets, codes[0], strict=True):
            part = np.array(codes[1])[:, :, start : start + n_frames]
            assert coder.encode(ConstantCodes(np.array(level), part)) == payload
            start += n_frames

    segments = [list(segment.values()) for segment in expected.pop("segments")]
    assert [list(astuple(segment)) for segment in info.segments] == segments
    metadata = {name: expected.pop(name) for name in ("title", "comment", "gain_db")}
    assert asdict(info.metadata) == metadata
    assert list(info.context) == expected.pop("context")
    assert info.weights_hash.hex() == expected.pop("weights_hash")
    assert {name: getattr(info, name) for name in expected} == expected

    # and the writer still makes these very bytes
    header = info.replace(n_samples=None, n_input_samples=None) if is_open else info
    assert write_stream(header, packets, (info.n_samples, info.n_input_samples)) == data


def blocks():
    text = (ROOT / "docs/bitstream.md").read_text(encoding="utf-8")
    for block in re.findall(r"```hex\n(.*?)```", text, re.DOTALL):
        lines = (re.split(r"\s{3,}", line)[0] for line in block.splitlines())
        yield bytes.fromhex("".join(lines))


def test_the_worked_example_of_the_specification():
    data, *_ = blocks()
    info = StreamInfo(
        model_id="demo",
        weights_hash=bytes.fromhex("0123456789abcdef"),
        input_sample_rate=48_000,
        n_codebooks=2,
        n_samples=500,
        n_input_samples=1000,
    )
    codes = ConstantCodes(np.array([200]), np.array([[[0, 1, 2047], [1024, 5, 1365]]]))
    assert write_stream(info, [(3, ConstantCoder(info).encode(codes))]) == data
    head, packets = decode(data)
    assert constant_codes(head, packets) == ([[200]], codes.codes.tolist())
    assert (head["n_samples"], head["n_input_samples"]) == (500, 1000)
    text = (ROOT / "docs/bitstream.md").read_text(encoding="utf-8")
    assert f"The file has {len(data)} bytes" in text


def test_the_table_of_sizes_in_the_specification():
    text = (ROOT / "docs/bitstream.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d.]+) s \| ([\d.]+) \| (\d+) \| ([\d ]+) \| ([\d.]+) \|", text, re.M)
    assert len(rows) == 6
    for seconds, kbps, frames, size, measured in rows:
        n_samples = round(float(seconds) * 24_000)
        info = make_info(
            model_id="eulerodec-24khz", bitrate_kbps=float(kbps), frames_per_packet=int(frames)
        ).with_counts(n_samples, n_samples)
        control, payloads, left = RateControl(info), [], -(-n_samples // 264) + 1
        while left:
            n = min(left, int(frames))
            payloads.append((n, bytes(control.budget(n))))
            control.spend(n, len(payloads[-1][1]))
            left -= n
        n_bytes = len(write_stream(info, payloads))
        assert n_bytes == int(size.replace(" ", ""))
        assert float(measured) == pytest.approx(n_bytes * 8 / float(seconds) / 1000, abs=6e-4)
        allowance = 64 - 36 * min(float(seconds) / 5, 1)
        assert n_bytes <= float(seconds) * float(kbps) * 125 + allowance
