"""Audio files, against the standard library's wave module and soundfile."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
import soundfile

from eulerodec import audio
from eulerodec.errors import AudioError, AudioWarning

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
