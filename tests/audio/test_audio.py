"""Audio files and resampling, against the standard library's wave module and known signals."""

from __future__ import annotations

import io
import math
import os
import stat
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from eulerodec import audio
from eulerodec.errors import AudioError, AudioWarning, EuleroDecError
from eulerodec.files import atomic_output, write_bytes

RNG = np.random.default_rng(0)


def wav_bytes(x: np.ndarray, rate: int) -> bytes:
    """int16 [C, N] as a WAV file, by the standard library."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(x.shape[0])
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(x.T.astype("<i2").tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("n", [0, 1, 999])
def test_read_gives_the_samples_of_a_16_bit_wav(tmp_path, rate, channels, n):
    x = RNG.integers(-32768, 32768, (channels, n))
    (tmp_path / "a.wav").write_bytes(wav_bytes(x, rate))
    y, got = audio.read(tmp_path / "a.wav")
    assert got == rate and y.dtype == np.float32
    assert np.array_equal(y, x / 32768)


def test_write_16_bit_returns_what_was_read_and_clips(tmp_path):
    x = np.array([[-32768, -1, 0, 1, 32767], [5, 4, 3, 2, 1]])
    audio.write(tmp_path / "a.wav", x / 32768, 16_000)
    assert (tmp_path / "a.wav").read_bytes() == wav_bytes(x, 16_000)
    with pytest.warns(AudioWarning, match=r"b\.wav: 2 samples are clipped \(100 %\)"):
        audio.write(tmp_path / "b.wav", np.array([-3.0, 3.0]), 16_000)
    assert (tmp_path / "b.wav").read_bytes() == wav_bytes(np.array([[-32768, 32767]]), 16_000)


def test_write_float_changes_nothing(tmp_path):
    x = (RNG.standard_normal((2, 500)) * 3).astype(np.float32)
    audio.write(tmp_path / "a.wav", x, 48_000, subtype="FLOAT")
    y, rate = audio.read(tmp_path / "a.wav")
    assert rate == 48_000 and np.array_equal(x, y)


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "AIFF"])
def test_read_other_formats(tmp_path, kind):
    x = 0.5 * np.sin(np.arange(24_000) * 0.05)
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, x, 24_000, format=kind)
    y, rate = audio.read(path)
    assert rate == 24_000 and y.shape == (1, 24_000)
    assert np.abs(y[0] - x).max() < (0.05 if kind == "OGG" else 1e-4)


def flac_bytes() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, RNG.uniform(-0.1, 0.1, 50_000), 24_000, format="FLAC")
    return buffer.getvalue()


def float_wav(x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, x.T, 24_000, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


GOOD = wav_bytes(np.ones((1, 1000), int), 24_000)
BAD = float_wav(np.array([[0.0, 1.0, np.nan], [0.0, np.inf, 0.0]]))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["empty"]),
        (b"this is no audio at all\n" * 9, ["cannot be read"]),
        (GOOD[:-100], ["cut short", "2000", "1900"]),
        (GOOD[:40], ["cut short"]),
        (GOOD[:30], ["cut short"]),
        (flac_bytes()[:20_000], ["cut short"]),
        (BAD, ["2 samples", "NaN or infinite", "sample 1 of channel 1"]),
        (wav_bytes(np.zeros((1, 9), int), 100), ["100 Hz", "outside"]),
        (b"\0\0\0\x20ftypM4A " + bytes(200), ["cannot be read"]),
    ],
)
def test_bad_files(tmp_path, data, words):
    path = tmp_path / "clip.wav"
    path.write_bytes(data)
    with pytest.raises(AudioError) as caught:
        audio.read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for word in words:
        assert word in message


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav: no such file"):
        audio.read(tmp_path / "gone.wav")
    with pytest.raises(AudioError, match="directory"):
        audio.read(tmp_path)


def test_wav_of_a_pipe_with_unknown_length_is_read(tmp_path):
    at = GOOD.index(b"data") + 4
    (tmp_path / "a.wav").write_bytes(GOOD[:at] + b"\xff\xff\xff\xff" + GOOD[at + 4 :])
    assert audio.read(tmp_path / "a.wav")[0].shape == (1, 1000)


def test_odd_chunks_before_the_samples_are_skipped(tmp_path):
    at = GOOD.index(b"data")
    junk = b"LIST" + (5).to_bytes(4, "little") + b"abcde\0"
    (tmp_path / "a.wav").write_bytes(GOOD[:at] + junk + GOOD[at:])
    assert audio.read(tmp_path / "a.wav")[0].shape == (1, 1000)


def test_only_wav_and_flac_are_written(tmp_path):
    for name in ("a.mp3", "a.ogg", "a.m4a"):
        with pytest.raises(AudioError, match=r"must end in \.wav or \.flac"):
            audio.write(tmp_path / name, np.zeros(9), 24_000)
    with pytest.raises(AudioError, match="NaN"):
        audio.write(tmp_path / "a.wav", np.array([np.nan]), 24_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [0, 999, 10**6, 24_000.5, "24000", None, float("nan")])
def test_bad_sample_rates(rate):
    with pytest.raises(AudioError):
        audio.check_sample_rate(rate)


@pytest.mark.parametrize("rate", [24_000, 24_000.0, np.int32(24_000), np.float64(24_000)])
def test_good_sample_rates(rate):
    got = audio.check_sample_rate(rate)
    assert got == 24_000 and type(got) is int


# --- resampling

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000])


@given(n=st.integers(0, 3000), a=RATES, b=RATES)
def test_resampled_length_is_the_ceiling_and_the_way_back_is_exact(n, a, b):
    x = np.ones((1, n), np.float32)
    y = audio.resample(x, a, b)
    assert y.shape == (1, math.ceil(Fraction(n * b, a)))
    assert audio.resample(y, b, a, n).shape == (1, n)


@pytest.mark.parametrize(
    ("a", "b"), [(44_100, 24_000), (8_000, 24_000), (24_000, 44_100), (192_000, 24_000)]
)
def test_resampled_sine_is_the_sine(a, b):
    def tone(rate: int) -> np.ndarray:
        t = np.arange(rate) / rate
        return np.sin(2 * np.pi * 1000 * t) * np.sin(np.pi * t) ** 2  # silent at both ends

    y = audio.resample(tone(a)[None].astype(np.float32), a, b)
    assert np.abs(y[0] - tone(b)).max() < 1e-6  # no delay, no gain


def test_resampling_keeps_channels_apart_and_removes_what_does_not_fit():
    x = np.zeros((2, 48_000), np.float32)
    x[0] = np.sin(2 * np.pi * 15_000 / 48_000 * np.arange(48_000))
    y = audio.resample(x, 48_000, 24_000)
    assert not y[1].any()
    assert np.abs(y[0, 500:-500]).max() < 1e-5


# --- output files


def test_output_replaces_only_when_complete(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(EuleroDecError), atomic_output(path) as sink:
        sink.write(b"half")
        raise EuleroDecError("failed")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_output_keeps_mode_and_symbolic_link(tmp_path):
    path, link = tmp_path / "a.bin", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_bytes(link, b"new")
    assert link.is_symlink() and path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_new_output_has_the_usual_mode(tmp_path):
    write_bytes(tmp_path / "a.bin", b"")
    (tmp_path / "b.bin").write_bytes(b"")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "b.bin").stat().st_mode


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_device_is_written_to_not_replaced():
    write_bytes(os.devnull, b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(OSError, match="No space left") as caught:
        write_bytes("/dev/full", b"x")
    assert caught.value.filename == "/dev/full"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_leaves_nothing(tmp_path: Path):
    """The limit on the size of a file fails the write as a full disk does."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "import numpy as np; from eulerodec import audio\n"
        "try: audio.write(sys.argv[1], np.zeros(5000), 24000)\n"
        "except OSError as e: print(e.filename)"
    )
    path = str(tmp_path / "a.wav")
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == path
    assert list(tmp_path.iterdir()) == []


def test_output_directory_missing_or_a_directory_itself(tmp_path):
    with pytest.raises(OSError, match="nowhere") as caught:
        write_bytes(tmp_path / "nowhere" / "a.bin", b"")
    assert caught.value.filename == str(tmp_path / "nowhere" / "a.bin")
    with pytest.raises(IsADirectoryError):
        write_bytes(tmp_path, b"")
