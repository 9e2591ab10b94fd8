"""The backend for lhotse, by the library itself."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.cli import put, speech

from eulerodec import audio

LINE = "eulerodec.adapters.lhotse needs lhotse: pip install 'eulerodec[lhotse]'"


def test_without_lhotse_a_line_says_what_to_install():
    code = "import sys; sys.modules['lhotse'] = None; import eulerodec.adapters.lhotse"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == f"ImportError: {LINE}"


@pytest.fixture
def lhotse(codec, here):
    """The library with the backend in use."""
    lhotse = pytest.importorskip("lhotse", reason="lhotse is not installed")
    from eulerodec.adapters.lhotse import EulBackend

    with lhotse.audio_backend(EulBackend(codec)):
        yield lhotse


@pytest.fixture
def heard(codec, here):
    """What ``a.eul``, 2 s at 16 kHz of two channels, decodes to."""
    data = codec.compress(speech(32_000, 16_000, 2), 16_000)
    Path("a.eul").write_bytes(data)
    return codec.decompress(data)[0].numpy()


def close(x, y):
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, y, rtol=0, atol=1e-4)


def test_recordings_and_cuts(lhotse, heard):
    recording = lhotse.Recording.from_file("a.eul")
    assert (recording.num_samples, recording.sampling_rate) == (32_000, 16_000)
    assert recording.num_channels == 2 and recording.duration == 2.0
    close(recording.load_audio(), heard)
    close(recording.load_audio(offset=0.5, duration=0.75), heard[:, 8_000:20_000])
    cut = recording.to_cut().truncate(offset=1.2, duration=0.3)
    close(cut.load_audio(), heard[:, 19_200:24_000])


def test_recordings_in_memory(lhotse, heard):
    recording = lhotse.Recording.from_bytes(Path("a.eul").read_bytes(), "a")
    assert recording.num_samples == 32_000
    close(recording.load_audio(offset=0.5, duration=0.75), heard[:, 8_000:20_000])


def test_other_files_are_left_to_lhotse(lhotse):
    put("a.wav", 9_000, 16_000)
    recording = lhotse.Recording.from_file("a.wav")
    assert recording.num_samples == 9_000
    close(recording.load_audio(), audio.read("a.wav")[0])
    data = io.BytesIO(Path("a.wav").read_bytes()).getvalue()
    close(lhotse.Recording.from_bytes(data, "a").load_audio(), audio.read("a.wav")[0])


def test_cuts_are_saved(lhotse, codec):
    from eulerodec.adapters.lhotse import EulBackend

    put("a.wav", 48_000)
    cut = lhotse.Recording.from_file("a.wav").to_cut()
    with lhotse.audio_backend(EulBackend(codec, bitrate_kbps=3)):
        saved = cut.save_audio("b.eul")
        cut.save_audio("b.flac")
    want = codec.encode(*audio.read("a.wav"), bitrate_kbps=3).to_bytes()
    assert Path("b.eul").read_bytes() == want
    close(saved.load_audio(), codec.decompress(want)[0].numpy())
    close(audio.read("b.flac")[0], audio.read("a.wav")[0])


def test_problems_name_the_file(lhotse, heard):
    Path("bad.eul").write_bytes(Path("a.eul").read_bytes()[:60])
    for name in ("bad.eul", "gone.eul"):
        with pytest.raises(Exception, match=name):
            lhotse.Recording.from_file(name)
