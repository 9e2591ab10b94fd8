"""Audio as it arrives in a pipe, and in blocks."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import soundfile
from helpers.cli import live_wav, speech

from eulerodec import audio
from eulerodec.errors import AudioError


def as_stdin(monkeypatch, raw) -> None:
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": raw}))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_wav_of_unknown_length_in_a_pipe(monkeypatch, size):
    x = speech(3000, channels=2)
    as_stdin(monkeypatch, io.BytesIO(live_wav(x, size)))
    with audio.open_reader("-") as source:
        assert (source.n_channels, source.n_samples) == (2, None)
        got = np.concatenate(list(source.blocks(999)), 1)
    assert np.array_equal(got, (np.round(x * 32767) / 32768).astype(np.float32))


def test_wav_of_known_length_in_a_pipe(monkeypatch):
    data = live_wav(speech(3000), 6000)
    as_stdin(monkeypatch, io.BytesIO(data + b"LIST\x04\0\0\0abcd"))
    assert audio.read("-")[0].shape == (1, 3000)
    as_stdin(monkeypatch, io.BytesIO(data[:-1000]))
    with pytest.raises(AudioError, match="cut short: its samples take 6000 bytes, 5000"):
        audio.read("-")


def test_other_formats_in_a_pipe(monkeypatch, tmp_path):
    soundfile.write(tmp_path / "a.flac", speech(5000).T, 24_000)
    expected = audio.read(tmp_path / "a.flac")[0]
    with open(tmp_path / "a.flac", "rb") as raw:
        as_stdin(monkeypatch, raw)
        assert np.array_equal(audio.read("-")[0], expected)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_blocks_of_a_file_are_the_file(kind):
    soundfile.write(f"a.{kind}", speech(50_000, channels=2).T, 24_000)
    whole, _ = audio.read(f"a.{kind}")
    with audio.open_reader(f"a.{kind}") as source:
        assert (source.sample_rate, source.n_channels, source.n_samples) == (24_000, 2, 50_000)
        assert np.array_equal(np.concatenate(list(source.blocks(999)), 1), whole)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 3])
def test_wav_in_a_pipe_is_read_as_libsndfile_reads_it(subtype, channels, monkeypatch):
    kind = "WAVEX" if channels > 2 else "WAV"
    soundfile.write("a.wav", speech(5000, channels=channels).T, 44_100, subtype, format=kind)
    expected, _ = soundfile.read("a.wav", dtype="float32", always_2d=True)
    with open("a.wav", "rb") as raw:
        as_stdin(monkeypatch, raw)
        got, rate = audio.read("-")
    assert rate == 44_100 and np.array_equal(got, expected.T)
