"""A part of a file, and title and gain, through the command line and the Python API."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cli import fails, flip, put, run, speech

from eulerodec import audio
from eulerodec.bitstream import EulReader, Metadata, plan_range, read
from eulerodec.cli import main
from eulerodec.codec import Codec
from eulerodec.codec.encoded import Encoded

pytestmark = pytest.mark.usefixtures("here", "same_threads")


def decode(name: str, *options: str) -> np.ndarray:
    assert main(["decode", name, "-o", "out.wav", "--float", *options]) == 0
    return audio.read("out.wav")[0]


@pytest.mark.parametrize(
    ("times", "start", "stop"),
    [
        (["--from", "3.25", "--to", "0:03.75"], 3.25, 3.75),
        (["--from", "5"], 5, 6),
        (["--to", "0.5"], 0, 0.5),
        (["--from", "5.5", "--to", "99:00:00"], 5.5, 6),
        (["--from", "0"], 0, 6),
    ],
)
@pytest.mark.parametrize("rate", [24_000, 44_100])
def test_a_part_has_the_samples_of_the_whole(codec, w, times, start, stop, rate):
    Path("a.eul").write_bytes(codec.compress(speech(6 * rate, rate), rate, 2))
    whole, part = decode("a.eul", *w), decode("a.eul", *times, *w)
    expected = whole[:, round(start * rate) : round(stop * rate)]
    assert part.shape == expected.shape
    np.testing.assert_allclose(part, expected, rtol=0, atol=1e-5)


def test_a_part_of_joined_files_and_of_a_pipe(codec, w, stream):
    Path("a.eul").write_bytes(stream)
    assert main(["cut", "a.eul", "--from", "1", "--to", "2", "-o", "b.eul"]) == 0
    assert main(["concat", "b.eul", "a.eul", "-o", "c.eul"]) == 0
    part = decode("c.eul", "--from", "0.9", "--to", "1.2", *w)
    expected = decode("c.eul", *w)[:, 21_600:28_800]
    np.testing.assert_allclose(part, expected, rtol=0, atol=1e-5)
    done = run("decode", "-", "-o", "p.wav", "--float", "--from", "5.5", *w, stdin=stream)
    assert done.returncode == 0
    expected = decode("a.eul", "--from", "5.5", *w)  # for a part the pipe is read as a whole
    np.testing.assert_array_equal(audio.read("p.wav")[0], expected)


class Watched:
    """A file that can seek and remembers which of its bytes were read."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.seen: set[int] = set()

    def read(self, size: int, /) -> bytes:
        at = self.file.tell()
        data = self.file.read(size)
        self.seen.update(range(at, at + len(data)))
        return data

    def __getattr__(self, name: str):
        return getattr(self.file, name)


def test_only_the_packets_of_the_part_are_read(codec, w, capsys):
    data = codec.compress(speech(24_000 * 20), 24_000, 1)
    Path("a.eul").write_bytes(data)
    watched = Watched(data)
    reader = EulReader(watched)
    _, ((first, last),) = plan_range(reader, 24_000 * 10, 24_000 * 10 + 12_000)
    packets = list(reader.packets_between(first, last))
    assert [packet.index for packet in packets] == list(range(first // 92, (last - 1) // 92 + 1))
    heads = 8 * len(read(data).packets)  # all before the part are stepped over
    expected = sum(len(packet.payload or b"") for packet in packets) + heads + 64
    assert len(watched.seen) <= expected < len(data) / 3
    argv = ["decode", "a.eul", "-o", "out.wav", "--from", "10", "--to", "10.5", "--json", *w]
    assert main(argv) == 0
    (facts,) = json.loads(capsys.readouterr().out)["files"]
    assert facts["seconds"] == 0.5 and facts["bytes"] <= expected


def test_damage_before_the_part_does_not_matter_and_inside_it_is_concealed(w, stream, capsys):
    Path("bad.eul").write_bytes(flip(stream))  # packet 1, 1.01 s to 2.02 s
    Path("a.eul").write_bytes(stream)
    for part in (["--to", "0.4"], ["--from", "5"]):
        sound = decode("a.eul", *part, *w)
        np.testing.assert_array_equal(decode("bad.eul", *part, *w), sound)
    capsys.readouterr()
    assert main(["decode", "bad.eul", "-o", "x.wav", "--from", "1.2", "--to", "2", *w]) == 3
    assert "bad.eul: packet 1" in capsys.readouterr().err
    rest = decode("bad.eul", "--from", "0.8", "--to", "2", "--recover", *w)
    assert rest.shape == (1, 28_800)
    assert np.abs(rest[:, -7200:]).max() < 1e-4  # faded out, as far as random weights can
    assert "packet 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("times", "code", "words"),
    [
        (["--from", "7"], 3, "a.eul: 7.000 s to 7.000 s has nothing of the file, it is 6.000 s"),
        (["--from", "7", "--to", "8"], 3, "a.eul: 7.000 s to 8.000 s has nothing of the file"),
        (["--from", "3", "--to", "2"], 3, "a.eul: 3.000 s to 2.000 s has nothing of the file"),
        (["--from", "-1"], 2, "no time"),
    ],
)
def test_a_range_that_is_not_there(w, capsys, stream, times, code, words):
    Path("a.eul").write_bytes(stream)
    fails(capsys, ["decode", "a.eul", "-o", "out.wav", *times, *w], code, words)


# --- title and gain


def test_title_and_gain_through_the_command_line(w, capsys):
    put("a.wav")
    assert main(["encode", "a.wav", "-o", "plain.eul", *w]) == 0
    argv = ["encode", "a.wav", "-o", "a.eul", "--title", "A talk", "--gain", "-6.5", *w]
    assert main(argv) == 0
    capsys.readouterr()
    assert main(["info", "a.eul"]) == 0
    out = capsys.readouterr().out
    assert "title                A talk\n" in out and "gain_db              -6.5\n" in out
    plain = decode("plain.eul", *w)
    np.testing.assert_array_equal(decode("a.eul", *w), plain)
    quiet = decode("a.eul", "--apply-gain", *w)
    np.testing.assert_allclose(quiet, plain * 10 ** (-6.5 / 20), rtol=1e-6, atol=0)
    part = decode("a.eul", "--apply-gain", "--from", "0.1", "--to", "0.2", *w)
    np.testing.assert_allclose(part, quiet[:, 2400:4800], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--title", "a\nb"], "title must be printable"),
        (["--title", "x" * 256], "title of 256 bytes is too long"),
        (["--gain", "200"], "gain must be -127 to 127 dB"),
        (["--gain", "nan"], "gain must be"),
    ],
)
def test_title_and_gain_that_cannot_be_written(w, capsys, options, words):
    put("a.wav")
    fails(capsys, ["encode", "a.wav", "-o", "a.eul", *options, *w], 2, words)


def test_metadata_in_python(codec: Codec):
    metadata = Metadata(title="A title", comment="two\nlines", gain_db=3.0)
    wav = speech()
    encoded = codec.encode(wav, 24_000, metadata=metadata)
    assert encoded.metadata == metadata
    assert codec.stream_info(metadata=metadata).metadata == metadata
    data = codec.compress(wav, 24_000, metadata=metadata)
    assert data == encoded.to_bytes() and Encoded.from_bytes(data).metadata == metadata
    plain = codec.encode(wav, 24_000)
    assert plain.metadata == Metadata() and plain.packets == encoded.packets
    audio_plain = codec.decode(plain)
    assert torch.equal(codec.decode(encoded), audio_plain)
    assert torch.equal(codec.decode(plain, apply_gain=True), audio_plain)
    louder = codec.decode(encoded, apply_gain=True)
    torch.testing.assert_close(louder, audio_plain * 10 ** (3 / 20), rtol=1e-6, atol=0)
