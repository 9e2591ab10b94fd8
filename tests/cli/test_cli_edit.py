"""Work on .eul files without encoding again: cut, concat, rate, and info of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.cli import fails, flip, run, second_packet
from helpers.streams import concat, encode_planes, lower, make_constant, make_info, split
from helpers.streams import cut as expected_cut

from eulerodec.bitstream import Metadata, dumps, read
from eulerodec.cli import main

pytestmark = pytest.mark.usefixtures("here")


def stream(n_frames: int = 600, kbps: float = 6, size: int = 200, **changes: object) -> bytes:
    """6.6 s in three packets, as full as the bitrate allows."""
    info = make_info(frames_per_packet=size, bitrate_kbps=kbps, input_sample_rate=48_000, **changes)
    info = info.with_counts(n_frames * 264, n_frames * 528)
    return encode_planes(info, [(n, 9000) for n in split(n_frames, size)])[0]


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
    seconds = read(made).info.duration_s
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
    made = Path("z.eul").read_bytes()
    assert made == concat(*(Path(name).read_bytes() for name in ("x.eul", "y.eul")))
    assert read(made).info.n_input_samples == read(data).info.n_input_samples == facts["samples"]
    assert facts["bytes"] == len(made)


def test_rate(capsys):
    data = stream(kbps=12)
    Path("in/deep").mkdir(parents=True)
    Path("in/deep/a.eul").write_bytes(data)
    Path("in/b.eul").write_bytes(data)
    assert main(["rate", "in", "-o", "out", "--bitrate", "7.3", "--json"]) == 0
    (facts, _) = json.loads(capsys.readouterr().out)["files"]
    low = Path("out/deep/a.eul").read_bytes()
    assert low == Path("out/b.eul").read_bytes() == lower(data, 7.3)
    assert facts["bitrate_kbps"] == 7.3 and facts["bytes"] == len(low) <= 7300 / 8 * 6.6 + 64
    assert main(["rate", "in/b.eul", "-o", "same.eul", "--bitrate", "16"]) == 0
    assert Path("same.eul").read_bytes() == data
    capsys.readouterr()
    for wrong in ("0", "-3", "nan", "inf"):
        argv = ["rate", "in/b.eul", "-o", "c.eul", "--bitrate", wrong]
        fails(capsys, argv, 2, f"--bitrate must be above 0, not {wrong}")
    argv = ["rate", "in/b.eul", "-o", "c.eul", "--codebooks", "3"]
    fails(capsys, argv, 2, "in/b.eul: --codebooks: the file has as many codes")


def test_rate_of_a_constant_number_of_codebooks(capsys):
    data = make_constant(n_codebooks=6)[0]
    Path("a.eul").write_bytes(data)
    for options in (["--codebooks", "2"], ["--bitrate", "2.9"]):
        assert main(["rate", "a.eul", "-o", "b.eul", *options]) == 0
        assert Path("b.eul").read_bytes() == lower(data, n_codebooks=2)
    capsys.readouterr()
    argv = ["rate", "a.eul", "-o", "c.eul"]
    fails(capsys, [*argv, "--codebooks", "7"], 2, "a.eul: --codebooks must be a whole")
    fails(capsys, [*argv, "--bitrate", "0.5"], 2, "a.eul: 0.5 kbps is less than one codebook")
    fails(capsys, argv, 2, "either --bitrate or --codebooks")
    fails(capsys, [*argv, "--bitrate", "3", "--codebooks", "3"], 2, "either")


def test_pipes():
    data = stream()
    done = run("cut", "-", "--from", "2", "-o", "-", stdin=data)
    assert done.stdout == expected_cut(data, 96_000, None) and done.returncode == 0
    low = run("rate", "-", "--bitrate", "1", "-o", "-", stdin=data)
    assert low.stdout == lower(data, 1)
    Path("a.eul").write_bytes(data)
    both = run("concat", "a.eul", "-", "-o", "-", stdin=data)
    assert both.stdout == concat(data, data)


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["cut", "a.eul", "-o", "a.eul"], 2, "overwrite the input"),
        (["concat", "b.eul", "a.eul", "-o", "a.eul"], 2, "overwrite the input"),
        (["concat", "-", "-", "-o", "c.eul"], 2, "only once"),
        (
            ["concat", "a.eul", "two.eul", "-o", "c.eul"],
            3,
            "two.eul does not fit to a.eul: channels",
        ),
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
    Path("two.eul").write_bytes(stream(n_channels=2))
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
    file = read(data)
    metadata = Metadata(title="A title", comment="two\nlines", gain_db=-3.5)
    Path("a.eul").write_bytes(dumps(file.info.replace(metadata=metadata), file.packets))
    assert main(["cut", "a.eul", "--from", "2", "-o", "b.eul"]) == 0
    assert main(["info", "b.eul", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["title"], facts["comment"], facts["gain_db"]) == ("A title", "two\nlines", -3.5)
    assert facts["parts"] == 1 and facts["seconds"] == pytest.approx(4.6)
    assert facts["input_sample_rate"] == 48_000
    assert main(["info", "b.eul"]) == 0
    out = capsys.readouterr().out
    assert "title                A title\n" in out and "two\n" + 21 * " " + "lines\n" in out


def test_info_of_both_codings(capsys):
    data = stream(kbps=7.3, n_channels=2)
    Path("plain.eul").write_bytes(data)
    assert main(["info", "plain.eul", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["measured_kbps"] == pytest.approx(len(data) * 8 / 6600 / 2)
    del facts["measured_kbps"]
    assert facts == {
        "file": "plain.eul", "bytes": len(data), "model_id": "test-model",
        "codes_hash": "0001020304050607", "seconds": 6.6, "seconds_in_header": 6.6,
        "input_sample_rate": 48_000, "samples": 316_800, "channels": 2, "coding": "planes",
        "n_codebooks": None, "bitrate_kbps": 7.3, "model_sample_rate": 24_000, "hop_length": 264,
        "frames": 600, "packets": 3, "frames_per_packet": 200, "parts": 1, "title": "",
        "comment": "", "gain_db": 0.0, "lost_packets": 0, "lost_seconds": 0, "damage": [],
    }  # fmt: skip
    assert main(["info", "plain.eul"]) == 0
    out = capsys.readouterr().out
    assert "coding               planes\n" in out and "bitrate_kbps         7.3\n" in out
    assert "n_codebooks" not in out and "title" not in out
    Path("constant.eul").write_bytes(make_constant(n_codebooks=6)[0])
    assert main(["info", "constant.eul"]) == 0
    out = capsys.readouterr().out
    assert "coding               constant\nn_codebooks          6\nbitrate_kbps         6\n" in out


def test_info_says_how_much_is_lost(capsys):
    data = stream()
    Path("bad.eul").write_bytes(flip(data))
    assert main(["info", "bad.eul", "--json"]) == 3
    facts = json.loads(capsys.readouterr().out)
    assert facts["lost_packets"] == 1 and facts["lost_seconds"] == pytest.approx(200 * 0.011)
    Path("cut.eul").write_bytes(data[: second_packet(data) + 9])
    assert main(["info", "cut.eul", "--json"]) == 3
    facts = json.loads(capsys.readouterr().out)
    assert facts["lost_seconds"] == pytest.approx(6.6 - 200 * 0.011)
