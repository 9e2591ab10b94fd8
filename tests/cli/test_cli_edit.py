"""Work on .eul files without encoding again: cut, concat, rate, and info of them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.cli import fails, flip, run, second_packet

from eulerodec.bitstream import Metadata, StreamInfo, concat_files, cut_file, dumps, loads
from eulerodec.cli import main

pytestmark = pytest.mark.usefixtures("here")


def stream(n_frames: int = 600, stages: int = 6, seed: int = 0, **changes: object) -> bytes:
    fields = {"model_id": "m", "weights_hash": bytes(8), "input_sample_rate": 48_000}
    info = StreamInfo(**{**fields, "n_codebooks": stages, **changes})
    return dumps(info, np.random.default_rng(seed).integers(0, 2048, (1, stages, n_frames)))


def expected_cut(data: bytes, start: int, stop: int | None) -> bytes:
    sink = io.BytesIO()
    cut_file(io.BytesIO(data), sink, start, stop)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("times", "start", "stop"),
    [
        (["--from", "1.5", "--to", "2.25"], 72_000, 108_000),
        (["--from", "0:01.5", "--to", "0:00:02.25"], 72_000, 108_000),
        (["--from", "5"], 240_000, None),
        (["--to", "0.00001"], 0, 0),
        (["--to", "99:00:00"], 0, None),
        ([], 0, None),
    ],
)
def test_cut(capsys, times, start, stop):
    data = stream()
    Path("a.eul").write_bytes(data)
    argv = ["cut", "a.eul", "-o", "b.eul", *times]
    if stop == 0:
        fails(capsys, argv, 3, "a.eul: 0.000 s to 0.000 s has nothing of the file, it is 6.600")
        return
    assert main(argv) == 0
    made = Path("b.eul").read_bytes()
    assert made == expected_cut(data, start, stop)
    err = capsys.readouterr().err
    seconds = loads(made)[0].duration_s
    assert f"a.eul -> b.eul  {len(made)} bytes, {seconds:.2f} s" in err


def test_pieces_joined(capsys):
    data = stream()
    Path("a.eul").write_bytes(data)
    assert main(["cut", "a.eul", "--to", "1:.5", "-o", "x.eul"]) == 2  # no such time
    assert main(["cut", "a.eul", "--to", "3", "-o", "x.eul"]) == 0
    assert main(["cut", "a.eul", "--from", "3", "-o", "y.eul"]) == 0
    capsys.readouterr()
    assert main(["concat", "x.eul", "y.eul", "-o", "z.eul", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)["files"]
    info, _ = loads(Path("z.eul").read_bytes())
    assert info.n_input_samples == loads(data)[0].n_input_samples == facts["samples"]
    sink = io.BytesIO()
    parts = [Path(name).read_bytes() for name in ("x.eul", "y.eul")]
    concat_files([io.BytesIO(part) for part in parts], sink)
    assert Path("z.eul").read_bytes() == sink.getvalue()
    assert facts["bytes"] == len(sink.getvalue())


def test_rate(capsys):
    data = stream(stages=6)
    Path("in/deep").mkdir(parents=True)
    Path("in/deep/a.eul").write_bytes(data)
    Path("in/b.eul").write_bytes(data)
    assert main(["rate", "in", "-o", "out", "--bitrate", "2"]) == 0
    low = loads(Path("out/deep/a.eul").read_bytes())
    assert low[0].n_codebooks == 2 and np.array_equal(low[1], loads(data)[1][:, :2])
    assert Path("out/b.eul").read_bytes() == Path("out/deep/a.eul").read_bytes()
    for wrong in ("7", "0", "2.5", "nan", "inf"):
        argv = ["rate", "in/b.eul", "-o", "c.eul", "--bitrate", wrong]
        capsys.readouterr()
        fails(capsys, argv, 2, f"in/b.eul: bitrate {wrong} kbps", "1, 2, 3, 4, 5, 6")


def test_pipes():
    data = stream()
    done = run("cut", "-", "--from", "2", "-o", "-", stdin=data)
    assert done.stdout == expected_cut(data, 96_000, None) and done.returncode == 0
    low = run("rate", "-", "--bitrate", "1", "-o", "-", stdin=data)
    assert loads(low.stdout)[0].n_codebooks == 1
    Path("a.eul").write_bytes(data)
    both = run("concat", "a.eul", "-", "-o", "-", stdin=data)
    assert loads(both.stdout)[0].n_input_samples == 2 * loads(data)[0].n_input_samples


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["cut", "a.eul", "-o", "a.eul"], 2, "overwrite the input"),
        (["concat", "b.eul", "a.eul", "-o", "a.eul"], 2, "overwrite the input"),
        (["concat", "-", "-", "-o", "c.eul"], 2, "only once"),
        (["concat", "a.eul", "low.eul", "-o", "c.eul"], 3, "low.eul does not fit to a.eul: stages"),
        (["concat", "a.eul", "gone.eul", "-o", "c.eul"], 3, "gone.eul: no such file"),
        (["concat", "a.eul", "bad.eul", "-o", "c.eul"], 3, "wrong; `decode --recover` reads"),
        (["concat", "-o", "c.eul"], 2, "Missing argument"),
        (["cut", ".", "-o", "c.eul"], 3, "is a directory"),
        (["cut", "gone.eul", "-o", "c.eul"], 3, "error: gone.eul: no such file"),
        (["rate", "gone.eul", "-o", "c.eul", "--bitrate", "3"], 3, "error: gone.eul: no such file"),
        (["cut", "a.eul", "--from", "-1", "-o", "c.eul"], 2, "no time"),
        (["cut", "a.eul", "--from", "1e9999", "-o", "c.eul"], 2, "no time"),
        (["cut", "a.eul", "--from", "1/2", "-o", "c.eul"], 2, "no time"),
        (["cut", "a.eul", "--from", "9", "-o", "c.eul"], 3, "9.000 s to 9.000 s has nothing"),
        (["cut", "bad.eul", "--from", "2.9", "--to", "3", "-o", "c.eul"], 3, "bad.eul: packet 1"),
        (["cut", "text.eul", "-o", "c.eul"], 3, "text.eul: not an .eul file"),
        (["rate", "a.eul", "-o", "c.eul"], 2, "bitrate"),
        (["rate", "bad.eul", "-o", "c.eul", "--bitrate", "1"], 3, "decode --recover"),
        (["cut", "a.eul", "-o", "-", "--json"], 2, "standard output"),
        (["cut", "a.eul", "-o", "gone/c.eul"], 1, "gone/c.eul: No such file"),
    ],
)
def test_wrong_use(capsys, argv, code, words):
    data = stream()
    Path("a.eul").write_bytes(data)
    Path("b.eul").write_bytes(data)
    Path("low.eul").write_bytes(stream(stages=2))
    Path("bad.eul").write_bytes(flip(data))
    Path("text.eul").write_text("hello world")
    fails(capsys, argv, code, words)


def test_a_cut_around_damage():
    data = stream()
    Path("bad.eul").write_bytes(flip(data))  # in the second of three packets
    assert main(["cut", "bad.eul", "--to", "1.5", "-o", "c.eul"]) == 0
    assert Path("c.eul").read_bytes() == expected_cut(data, 0, 72_000)


def test_info_shows_metadata_and_parts(capsys):
    data = stream()
    info, codes = loads(data)
    metadata = Metadata(title="A title", comment="two\nlines", gain_db=-3.5)
    Path("a.eul").write_bytes(dumps(info.with_metadata(metadata), codes))
    assert main(["cut", "a.eul", "--from", "2", "-o", "b.eul"]) == 0
    assert main(["info", "b.eul", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["title"], facts["comment"], facts["gain_db"]) == ("A title", "two\nlines", -3.5)
    assert facts["parts"] == 1 and facts["seconds"] == pytest.approx(4.6)
    assert facts["input_sample_rate"] == 48_000
    assert main(["info", "b.eul"]) == 0
    out = capsys.readouterr().out
    assert "title                A title\n" in out and "two\n" + 21 * " " + "lines\n" in out
    Path("plain.eul").write_bytes(data)
    assert main(["info", "plain.eul"]) == 0
    assert "title" not in capsys.readouterr().out


def test_info_says_how_much_is_lost(capsys):
    data = stream()
    Path("bad.eul").write_bytes(flip(data))
    assert main(["info", "bad.eul", "--json"]) == 3
    facts = json.loads(capsys.readouterr().out)
    assert facts["lost_packets"] == 1 and facts["lost_seconds"] == pytest.approx(256 * 0.011)
    Path("cut.eul").write_bytes(data[: second_packet(data) + 9])
    assert main(["info", "cut.eul", "--json"]) == 3
    facts = json.loads(capsys.readouterr().out)
    assert facts["lost_seconds"] == pytest.approx(6.6 - 256 * 0.011)
