"""Tables fitted to codes, and entropy coded files from the API and the command line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from helpers.cli import fails, put, speech

from eulerodec import Codec
from eulerodec.bitstream import loads, tables
from eulerodec.bitstream.entropy import encode_packet
from eulerodec.cli import main
from eulerodec.errors import AudioError, ConfigError
from eulerodec.train.entropy_tables import fit_tables

SIZE = 256


def walks(n_clips=6, n_frames=600, seed=0):
    """Codes [2, T]: a walk of small steps on a circle, and a second stage close to the first."""
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(n_clips):
        first = np.cumsum(rng.integers(-3, 4, n_frames)) % SIZE
        second = (first + rng.integers(0, 4, n_frames)) % SIZE
        clips.append(np.stack([first, second]))
    return clips


@pytest.fixture(scope="module")
def vectors():
    angle = 2 * np.pi * np.arange(SIZE) / SIZE
    circle = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)], 1)
    return np.stack([circle, 0.5 * circle]).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(vectors):
    return fit_tables(walks(), vectors, 150)


def test_new_codes_of_the_same_kind_get_small(fitted):
    """log2 7 and 2 bits a code would be the best; 8 bits is fixed width."""
    (codes,) = walks(1, 256, seed=1)
    for n_codebooks, most in ((2, 5.0), (1, 5.5)):
        payload = encode_packet(codes[None, :n_codebooks], fitted, 1000)
        bits = 8 * len(payload) / (256 * n_codebooks)
        assert 2.4 < bits < most


def test_codes_of_another_kind_cost_no_more_than_they_must(fitted):
    codes = np.random.default_rng(0).integers(0, SIZE, (1, 2, 256))
    assert len(encode_packet(codes, fitted, 4000)) < 3 * 2 * 256
    assert encode_packet(codes, fitted, 2 * 256) is None


def test_equal_input_gives_equal_tables(vectors):
    one, two = (fit_tables(walks(), vectors, 3) for _ in range(2))
    assert one.to_bytes() == two.to_bytes() and one.hash == two.hash


def test_too_little_audio(vectors):
    with pytest.raises(AudioError, match="too little audio"):
        fit_tables(walks(1, 100), vectors, 3)


@pytest.fixture(scope="module")
def with_tables(weights, tmp_path_factory):
    """A copy of the tiny weights, with tables."""
    directory = tmp_path_factory.mktemp("with tables") / "tiny"
    shutil.copytree(weights, directory)
    data = directory.parent / "data"
    put(str(data / "a.wav"), 24_000 * 15)
    argv = ["entropy-tables", str(directory), "--data", str(data), "--steps", "10"]
    assert main(argv) == 0
    assert (directory / tables.TABLES_FILE).is_file()
    return directory


def test_the_api(with_tables, tmp_path):
    codec = Codec.from_pretrained(with_tables)
    wav = speech(72_000)
    fixed = codec.compress(wav, 24_000, 6)
    data = codec.compress(wav, 24_000, 6, entropy_coding=True)
    assert len(data) < 0.9 * len(fixed)
    assert np.array_equal(loads(data)[1], loads(fixed)[1])
    assert np.array_equal(codec.decompress(data)[0], codec.decompress(fixed)[0])
    codec.save_pretrained(tmp_path)
    again = Codec.from_pretrained(tmp_path)
    assert again.compress(wav, 24_000, 6, entropy_coding=True) == data


def test_weights_without_tables(codec):
    with pytest.raises(ConfigError, match=r"'tiny' have no tables.*entropy-tables"):
        codec.compress(speech(), 24_000, 6, entropy_coding=True)


def test_the_command_line(with_tables, here, capsys, monkeypatch):
    put("in.wav", 48_000)
    w = ["--weights", str(with_tables)]
    assert main(["encode", "in.wav", "-o", "fixed.eul", *w]) == 0
    assert main(["encode", "in.wav", "-o", "small.eul", "--entropy", *w]) == 0
    for name in ("fixed", "small"):
        assert main(["decode", f"{name}.eul", "-o", f"{name}.wav", *w]) == 0
    assert (here / "small.wav").read_bytes() == (here / "fixed.wav").read_bytes()
    assert (here / "small.eul").stat().st_size < 0.9 * (here / "fixed.eul").stat().st_size
    for name in ("fixed", "small"):
        argv = ["rate", f"{name}.eul", "-o", f"{name}3.eul", "--bitrate", "3", *w]
        assert main(argv) == 0
    codes = [loads((here / f"{name}3.eul").read_bytes())[1] for name in ("fixed", "small")]
    assert np.array_equal(*codes)
    capsys.readouterr()
    assert main(["info", "small.eul", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["coding"] == "entropy coded"

    monkeypatch.setattr(tables, "_known", {})  # as in a process that has not seen the weights
    fails(capsys, ["rate", "small.eul", "-o", "x.eul", "--bitrate", "1"], 3, "'tiny'", "--weights")
    assert main(["rate", "small.eul", "-o", "x.eul", "--bitrate", "1", *w]) == 0
