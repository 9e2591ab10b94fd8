"""What is written: by soundfile and the standard library, and by hand where they cannot."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from eulerodec import audio
from eulerodec.audio import wav
from eulerodec.errors import AudioError, AudioWarning

RATE = 24_000
RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 0.99, (2, 5000)).astype(np.float32)
INTEGERS = np.rint(X * 32768).astype(np.int16)
TAGS = audio.Tags("A título", "one\ntwo")


# --- FLAC


@pytest.mark.parametrize("n_samples", [None, 5000])
def test_flac_has_the_integers_of_the_wav(tmp_path, n_samples):
    path = tmp_path / "a.flac"
    with audio.open_writer(path, RATE, 2, n_samples=n_samples) as out:
        for start in range(0, 5000, 1001):
            out.write(X[:, start : start + 1001])
            out.flush()
        assert list(tmp_path.glob("*.flac")) == []  # not before it is complete
    got, rate = soundfile.read(path, dtype="int16", always_2d=True)
    info = soundfile.info(path)
    assert rate == RATE and np.array_equal(got.T, INTEGERS)
    assert (info.format, info.subtype, info.frames) == ("FLAC", "PCM_16", 5000)


def test_flac_holds_no_floats_and_no_nine_channels(tmp_path):
    with pytest.raises(AudioError, match=r"a\.flac: FLAC holds integers.*\.wav"):
        audio.write(tmp_path / "a.flac", X, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.flac: FLAC cannot hold 9 channels"):
        audio.write(tmp_path / "a.flac", np.zeros((9, 10)), RATE)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_flac_is_refused(tmp_path):
    with pytest.raises(AudioError, match=r"a\.flac: a FLAC without samples.*WAV"):
        audio.write(tmp_path / "a.flac", np.zeros((1, 0)), RATE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_leaves_no_flac(tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "import numpy as np; from eulerodec import audio\n"
        "x = np.random.default_rng(0).uniform(-1, 0.9, 200_000)\n"
        "try: audio.write(sys.argv[1], x, 24000)\n"
        "except OSError as e: print(e.filename, e.strerror)"
    )
    path = str(tmp_path / "a.flac")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path} File too large\n", "")
    assert list(tmp_path.iterdir()) == []


# --- file objects


def test_a_file_object_gets_a_wav_behind_what_it_has():
    file = io.BytesIO(b"before")
    file.seek(0, io.SEEK_END)
    with audio.open_writer(file, RATE, 2) as out:
        out.write(X)
    data = file.getvalue()
    assert data[:6] == b"before" and not file.closed
    got, rate = soundfile.read(io.BytesIO(data[6:]), dtype="int16")
    assert rate == RATE and np.array_equal(got.T, INTEGERS)


# --- RF64


@pytest.fixture
def small_limit(monkeypatch):
    """WAVs may have 10000 bytes of samples."""
    monkeypatch.setattr(wav, "_LIMIT", 10_000)


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("n_samples", [None, 5000])
def test_what_is_too_long_for_a_wav_becomes_an_rf64(tmp_path, subtype, n_samples):
    path = tmp_path / "a.wav"
    with audio.open_writer(path, RATE, 2, subtype=subtype, n_samples=n_samples, tags=TAGS) as out:
        out.write(X)
    data = path.read_bytes()
    size = X.size * (2 if subtype == "PCM_16" else 4)
    assert data[:4] == b"RF64" and data[12:16] == b"ds64"
    # ITU-R BS.2088: sizes of the file, of the samples and their number, in 64 bits
    assert struct.unpack("<IQQQI", data[16:48]) == (28, len(data) - 8, size, 5000, 0)
    assert data[-size - 4 : -size] == b"\xff\xff\xff\xff"
    info = soundfile.info(path)
    assert (info.format, info.frames) == ("RF64", 5000)
    expected = X if subtype == "FLOAT" else INTEGERS / np.float32(32768)
    assert np.array_equal(soundfile.read(path, dtype="float32")[0].T, expected)
    assert np.array_equal(audio.read(path)[0], expected)
    assert np.array_equal(audio.read(Pipe(data))[0], expected)


@pytest.mark.usefixtures("small_limit")
def test_what_is_not_too_long_stays_a_wav(tmp_path):
    with audio.open_writer(tmp_path / "a.wav", RATE, 2) as out:
        out.write(X[:, :2500])
    data = (tmp_path / "a.wav").read_bytes()
    assert data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") == len(data) - 8
    assert soundfile.info(tmp_path / "a.wav").format == "WAV"
    assert np.array_equal(audio.read(tmp_path / "a.wav")[0], INTEGERS[:, :2500] / np.float32(32768))


def test_sizes_beyond_4_gib_are_in_the_header_of_an_rf64():
    n = 3 * 2**30
    file = io.BytesIO()
    wav.WavWriter(file, 48_000, 1, n_samples=n)
    header = wav.parse_header(io.BytesIO(file.getvalue()), None)
    assert header is not None and header.n_samples == n and file.getvalue()[:4] == b"RF64"


class Pipe(io.BytesIO):
    def seekable(self):
        return False

    def seek(self, *args):
        raise io.UnsupportedOperation("seek")


def test_a_pipe_of_unknown_length():
    file = Pipe()
    with audio.open_writer(file, RATE, 2) as out:
        out.write(X)
    data = file.getvalue()
    assert data[:8] == b"RIFF\xff\xff\xff\xff" and data[40:44] == b"\xff\xff\xff\xff"
    assert np.array_equal(audio.read(Pipe(data))[0], INTEGERS / np.float32(32768))


# --- clipping


def test_clipped_output_is_counted(tmp_path):
    x = np.zeros((2, 1000), np.float32)
    x[0, :10], x[1, -5:] = 1.5, -1.001
    x[0, 20], x[1, 20] = 1.0, -1.0  # full scale itself
    for name in ("a.wav", "a.flac"):
        with pytest.warns(AudioWarning, match=rf"{name}: 15 samples are clipped \(0\.75 %\)"):
            audio.write(tmp_path / name, x, RATE)
        assert soundfile.read(tmp_path / name, dtype="int16")[0].max() == 32767
    audio.write(tmp_path / "b.wav", x, RATE, subtype="FLOAT")  # no warning: nothing is clipped


def test_clipped_input_is_counted(tmp_path):
    x = np.clip(2 * np.sin(np.arange(5000) * 0.05), -1, 32767 / 32768)
    full = np.count_nonzero((x == -1) | (x == 32767 / 32768))
    soundfile.write(tmp_path / "a.wav", x, RATE)
    text = rf"a\.wav: the input is clipped: {full} samples \({full / 50:.3g} %\)"
    with pytest.warns(AudioWarning, match=text):
        audio.read(tmp_path / "a.wav")
    with audio.open_reader(tmp_path / "a.wav") as reader:
        with pytest.warns(AudioWarning, match=text):
            list(reader.blocks(7))
        assert reader.n_clipped == full


def test_peaks_and_floats_beyond_full_scale_are_not_clipped(tmp_path):
    x = np.zeros((1, 100), np.float32)
    x[0, [3, 4, 50]] = 1
    x[0, 60:70] = 1.5
    audio.write(tmp_path / "a.wav", x, RATE, subtype="FLOAT")
    audio.read(tmp_path / "a.wav")  # no warning


@given(
    rows=st.lists(st.text("01", min_size=30, max_size=30), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 30), max_size=12),
)
def test_runs_are_counted_whatever_the_blocks(rows, cuts):
    counter = audio.ClipCounter(len(rows))
    x = np.array([[float(c) for c in row] for row in rows], np.float32)
    for part in np.split(x, sorted(cuts), axis=1):
        counter.add(part, float(part.max(initial=0)))
    runs = [len(run) for row in rows for run in row.split("0")]
    assert counter.n_clipped == sum(run for run in runs if run >= 3)
    assert counter.n_values == x.size


# --- tags


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_tags_are_written_and_read_back(tmp_path, name):
    audio.write(tmp_path / name, X, RATE, tags=TAGS)
    with soundfile.SoundFile(tmp_path / name) as sound:
        assert (sound.title, sound.comment) == (TAGS.title, TAGS.comment)
        assert np.array_equal(sound.read(dtype="int16").T, INTEGERS)
    with audio.open_reader(tmp_path / name) as reader:
        assert reader.tags == TAGS


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF"])
def test_tags_of_other_programs(tmp_path, kind):
    path = tmp_path / "a"
    with soundfile.SoundFile(path, "w", RATE, 1, format=kind) as sound:
        sound.title, sound.comment = "Lied 1", "ein Satz"
        sound.write(np.zeros(1000))
    with audio.open_reader(path) as reader:
        assert reader.tags == audio.Tags("Lied 1", "ein Satz")


def test_tags_behind_the_samples_and_in_latin_1(tmp_path):
    audio.write(tmp_path / "a.wav", X, RATE)
    body = b"INFOINAM" + struct.pack("<I", 5) + b"M\xfcll\0\0"
    chunk = b"LIST" + struct.pack("<I", len(body)) + body
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes() + chunk)
    with audio.open_reader(tmp_path / "a.wav") as reader:
        assert reader.tags == audio.Tags("Müll")


def test_tags_are_printable_and_can_be_cut():
    tags = audio.Tags("a\x1b[31m\nb\0", " one\r\ntwo\x07 ")
    assert (tags.title, tags.comment) == ("a [31m b", "one\ntwo")
    assert audio.Tags("äöü", "äöü").limited(3, 4) == audio.Tags("ä", "äö")


def test_a_file_without_tags_is_the_file_of_before(tmp_path):
    audio.write(tmp_path / "a.wav", X, RATE)
    audio.write(tmp_path / "b.wav", X, RATE, tags=audio.Tags())
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert os.path.getsize(tmp_path / "a.wav") == 44 + 2 * X.size


def test_the_disk_is_asked_for_a_name(tmp_path: Path):
    with pytest.raises(OSError, match="nowhere"):
        audio.write(tmp_path / "nowhere" / "a.flac", X, RATE)
