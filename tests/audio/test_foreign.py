"""Formats that PyAV or the ffmpeg program reads, against the samples they were made from."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eulerodec import audio
from eulerodec.errors import AudioError, AudioWarning

RATE = 24_000
N = 3 * RATE
FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="makes its input by ffmpeg")
KINDS = ("m4a", "mp4", "webm", "mka", "wma", "aac", "mov")
DELAYED = ("wma", "aac")  # raw streams keep the silence that the encoder puts in front
LOSSY = 0.02


def sound() -> np.ndarray:
    t = np.arange(N) / RATE
    return (0.3 * np.sin(2 * np.pi * 440 * t) * np.sin(np.pi * t / 3)).astype(np.float32)


@pytest.fixture(params=["av", "ffmpeg"])
def backend(request, monkeypatch) -> str:
    """Only one of the two can be found."""
    name = request.param
    if name == "av" and importlib.util.find_spec("av") is None:
        pytest.skip("PyAV is not installed")
    if name == "av":
        monkeypatch.setattr(shutil, "which", lambda program: None)
    else:
        hide_av(monkeypatch)
    return name


def hide_av(monkeypatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "av" else find(name)
    )


def make(path: Path, *options: str) -> Path:
    assert FFMPEG is not None
    audio.write(path.with_suffix(".wav"), sound(), RATE)
    source = ["-i", str(path.with_suffix(".wav"))]
    subprocess.run([FFMPEG, "-y", "-v", "error", *source, *options, str(path)], check=True)
    return path


def mean_error(x: np.ndarray, rate: int) -> float:
    y = audio.resample(x, rate, RATE)[0][:N]
    return float(np.abs(y - sound()[: len(y)]).mean())


@needs_ffmpeg
@pytest.mark.parametrize("kind", KINDS)
def test_the_samples_are_those_that_were_coded(tmp_path, backend, kind):
    path = make(tmp_path / f"a.{kind}", "-ar", "48000")
    with audio.open_reader(path) as reader:
        x = np.concatenate(list(reader.blocks(1000)), 1)
        assert (reader.n_channels, reader.n_samples) == (1, x.shape[1])
    assert x.shape[1] / reader.sample_rate == pytest.approx(3, abs=0.1)
    if kind not in DELAYED:
        assert mean_error(x, reader.sample_rate) < LOSSY
    assert np.array_equal(audio.read(io.BytesIO(path.read_bytes()))[0], x)


@needs_ffmpeg
def test_the_first_sound_of_a_film_and_its_channels(tmp_path, backend):
    picture = ["-f", "lavfi", "-i", "testsrc=d=5:s=64x64:r=5", "-shortest"]
    path = make(tmp_path / "a.mp4", *picture, "-af", "pan=stereo|c0=c0|c1=c0")
    x, rate = audio.read(path)
    assert x.shape[0] == 2 and mean_error(x[:1], rate) < LOSSY


@needs_ffmpeg
def test_a_film_without_sound(tmp_path, backend):
    path = make(tmp_path / "a.mp4", "-f", "lavfi", "-i", "testsrc=d=1:s=64x64", "-map", "1:v")
    with pytest.raises(AudioError, match=r"a\.mp4: cannot be read as audio") as caught:
        audio.read(path)
    assert "\n" not in str(caught.value)


@needs_ffmpeg
def test_tags(tmp_path, backend):
    path = make(
        tmp_path / "a.m4a", "-metadata", "title=Ein Lied", "-metadata", "comment=Zwei Wörter"
    )
    with audio.open_reader(path) as reader:
        assert reader.tags == audio.Tags("Ein Lied", "Zwei Wörter")


@needs_ffmpeg
@pytest.mark.parametrize(
    ("kind", "options"),
    [("webm", []), ("wma", []), ("m4a", ["-movflags", "+faststart"]), ("mka", ["-c:a", "flac"])],
)
@pytest.mark.filterwarnings("default::eulerodec.errors.AudioWarning")
def test_cut_files(tmp_path, backend, kind, options):
    path = make(tmp_path / f"a.{kind}", *options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match=r"cut short|damaged") as caught:
        audio.read(path)
    assert caught.value.recoverable
    with pytest.warns(AudioWarning, match="cut short|damaged"):
        x, rate = audio.read(path, recover=True)
    assert 0.5 < x.shape[1] / rate < 2.5


@needs_ffmpeg
def test_an_mp4_without_its_index(tmp_path, backend):
    path = make(tmp_path / "a.m4a")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(AudioError, match="its index is missing"):
        audio.read(path, recover=True)


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["m4a", "wma"])
def test_joined_files_are_refused_with_the_way_out(tmp_path, backend, kind):
    path = make(tmp_path / f"a.{kind}")
    whole, _ = audio.read(path)
    first = path.read_bytes()
    path.write_bytes(first + first)
    with pytest.raises(AudioError, match="another recording follows") as caught:
        audio.read(path)
    at = int(str(caught.value).split("tail -c +")[1].split()[0]) - 1
    assert path.read_bytes()[at:] == first
    assert np.array_equal(audio.read(io.BytesIO(path.read_bytes()[at:]))[0], whole)


@pytest.mark.parametrize(
    "head",
    [b"\0\0\0\x20ftypM4A ", b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81", b"\xff\xf1\x50\x80\x02\x1f\xfc"],
)
def test_without_either_the_error_names_the_way_out(tmp_path, monkeypatch, head):
    hide_av(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (tmp_path / "talk.m4a").write_bytes(head + bytes(99))
    with pytest.raises(AudioError) as caught:
        audio.read(tmp_path / "talk.m4a")
    line = str(caught.value)
    assert "pip install 'eulerodec[formats]'" in line and "\n" not in line
    assert f"ffmpeg -i {tmp_path / 'talk.m4a'} -f wav - | eulerodec encode - -o talk.eul" in line


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x08free\0\0\0\x20moov", b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81"]
)
def test_what_neither_can_read(tmp_path, backend, head):
    if backend == "ffmpeg" and FFMPEG is None:
        pytest.skip("ffmpeg is not there")
    (tmp_path / "a.mka").write_bytes(head + bytes(999))
    with pytest.raises(AudioError, match=r"a\.mka: cannot be read as audio: \w+") as caught:
        audio.read(tmp_path / "a.mka")
    assert "\n" not in str(caught.value)


@needs_ffmpeg
def test_a_name_that_looks_like_an_option_or_an_address(tmp_path, backend, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = make(Path("a.m4a"))
    for name in ("-i.m4a", "http:x.m4a", "concat:a|b.m4a"):
        shutil.copy(path, tmp_path / name)
        assert audio.read(name)[0].shape[1] >= N


@needs_ffmpeg
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads Linux's /proc")
def test_memory_does_not_grow_with_the_file(tmp_path, backend):
    """20 minutes of silence decode to 115 MB of floats."""
    path = tmp_path / "long.m4a"
    silence = ["-f", "lavfi", "-i", "anullsrc=r=24000:cl=mono", "-t", "1200"]
    subprocess.run([FFMPEG, "-v", "error", *silence, "-b:a", "8k", str(path)], check=True)
    hide = "sys.modules['av'] = None; importlib.util.find_spec = lambda name: None;"
    code = f"""if True:
        import importlib.util, re, sys
        {hide if backend == "ffmpeg" else ""}
        from eulerodec import audio
        def peak():
            return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
        with audio.open_reader(sys.argv[1]) as reader:
            before = peak()
            assert sum(x.shape[1] for x in reader.blocks()) == reader.n_samples > 28_000_000
        print(peak() - before)
    """
    run = [sys.executable, "-c", code, str(path)]
    grown = int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert grown < 50_000  # kB
