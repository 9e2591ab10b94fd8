"""``eulerodec.read``: audio and .eul files, whole and in parts."""

from __future__ import annotations

import io
import os
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.cli import flip, put, speech

import eulerodec
from eulerodec import Codec, audio
from eulerodec.errors import AudioError, AudioWarning, BitstreamError, ConfigError, WeightsError

pytestmark = pytest.mark.usefixtures("here")

KINDS = ["wav", "flac", "aiff", "ogg", "mp3"]


def test_whole_files_are_what_the_codec_and_the_audio_reader_give(codec: Codec):
    put("a.wav", 30_000, 16_000, 2)
    wav, rate = audio.read("a.wav")
    data = codec.compress(wav, rate)
    Path("a.eul").write_bytes(data)
    heard = codec.decompress(data)[0].numpy()
    for sources, want, error in (
        (["a.wav", Path("a.wav"), Path("a.wav").read_bytes()], wav, 0.0),
        (["a.eul", Path("a.eul"), data, bytearray(data), memoryview(data)], heard, 1e-5),
    ):
        for source in [*sources, io.BytesIO(bytes(sources[2]))]:
            x, got = eulerodec.read(source, codec=codec)
            assert x.dtype == np.float32 and x.shape == (2, 30_000) and got == 16_000
            np.testing.assert_allclose(x, want, rtol=0, atol=error)
    with open("a.eul", "rb") as file:
        file.seek(50)
        assert eulerodec.read(file, codec=codec)[0].shape == (2, 30_000)
        assert not file.closed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("offset", "duration"), [(0, 0.5), (0.7, 0.3), (1.1, None), (1.9, 7)])
def test_a_part_of_an_audio_file(kind, offset, duration):
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (44_100, 2)).cumsum(0) % 1 - 0.5
    soundfile.write(f"a.{kind}", x[:44_100], 22_050, format=kind.upper())
    whole = audio.read(f"a.{kind}")[0]
    start = round(offset * 22_050)
    stop = None if duration is None else start + round(duration * 22_050)
    for source in (f"a.{kind}", Path(f"a.{kind}").read_bytes()):
        part, rate = eulerodec.read(source, offset_s=offset, duration_s=duration)
        assert rate == 22_050 and np.array_equal(part, whole[:, start:stop])


def test_a_part_of_joined_recordings():
    put("a.wav", 9_000)
    put("b.wav", 7_000)
    for name, end in (("j.wav", ".wav"), ("j.flac", ".flac")):
        for part in "ab":
            x, rate = audio.read(f"{part}.wav")
            audio.write(f"{part}{end}", x, rate)
        Path(name).write_bytes(Path(f"a{end}").read_bytes() + Path(f"b{end}").read_bytes())
        whole = audio.read(name)[0]
        for start, n in ((100, 500), (8_000, 3_000), (9_000, 10), (12_000, 4_000)):
            part, _ = eulerodec.read(
                name, offset_s=Fraction(start, 24_000), duration_s=Fraction(n, 24_000)
            )
            assert np.array_equal(part, whole[:, start : start + n])


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_what_is_before_a_part_is_not_decoded(kind, monkeypatch):
    put("a.wav", 240_000)
    audio.write(f"b.{kind}", *audio.read("a.wav"))
    decoded = []
    module = audio.wav if kind == "wav" else soundfile.SoundFile
    name = "_samples" if kind == "wav" else "read"
    original = getattr(module, name)

    def counting(*arguments, **options):
        x = original(*arguments, **options)
        decoded.append(max(x.shape))
        return x

    monkeypatch.setattr(module, name, counting)
    eulerodec.read(f"b.{kind}", offset_s=8, duration_s=1)
    assert sum(decoded) <= 2 * 24_000


@pytest.mark.parametrize(("offset", "duration"), [(0, 0.5), (1.25, 1), (2.5, None), (2.9, 100)])
@pytest.mark.parametrize("options", [{"bitrate_kbps": 6}, {"n_codebooks": 4}])
def test_a_part_of_an_eul_file(codec: Codec, offset, duration, options):
    data = codec.compress(speech(48_000, 16_000, 2), 16_000, **options)
    whole = eulerodec.read(data, codec=codec)[0]
    start = round(offset * 16_000)
    stop = None if duration is None else start + round(duration * 16_000)
    part, rate = eulerodec.read(data, offset_s=offset, duration_s=duration, codec=codec)
    assert rate == 16_000 and part.shape == whole[:, start:stop].shape
    np.testing.assert_allclose(part, whole[:, start:stop], rtol=0, atol=1e-4)


def test_only_the_packets_of_a_part_are_read(codec: Codec):
    """Damage elsewhere does not matter."""
    data = codec.compress(speech(240_000), 24_000)
    whole = eulerodec.read(data, codec=codec)[0]
    part, _ = eulerodec.read(flip(data), offset_s=8, duration_s=1, codec=codec)
    np.testing.assert_allclose(part, whole[:, 192_000:216_000], rtol=0, atol=1e-4)
    with pytest.raises(BitstreamError, match=r"the input: .*packet"):
        eulerodec.read(flip(data), codec=codec)


def test_the_length_of_a_part_depends_on_its_duration_alone():
    put("a.wav", 44_100, 44_100)
    for offset in np.linspace(0, 0.5, 60):
        x, _ = eulerodec.read("a.wav", offset_s=float(offset), duration_s=0.123456)
        assert x.shape[1] == round(0.123456 * 44_100)


def test_a_named_pipe_is_read_once(codec: Codec):
    data = codec.compress(speech(), 24_000)
    put("a.wav")
    for content in (data, Path("a.wav").read_bytes()):
        os.mkfifo("pipe")
        thread = threading.Thread(target=Path("pipe").write_bytes, args=(content,))
        thread.start()
        assert eulerodec.read("pipe", codec=codec)[0].shape == (1, 12_000)
        thread.join()
        os.remove("pipe")


def test_files_without_samples(codec: Codec):
    audio.write("a.wav", np.zeros((2, 0), np.float32), 8_000)
    assert eulerodec.read("a.wav")[0].shape == (2, 0)
    data = codec.compress(np.zeros((2, 0), np.float32), 8_000)
    assert eulerodec.read(data, codec=codec)[0].shape == (2, 0)


def test_problems_have_one_line(codec: Codec, other_weights: Path):
    put("a.wav")
    Path("a.eul").write_bytes(codec.compress(speech(), 24_000))
    Path("cut.wav").write_bytes(Path("a.wav").read_bytes()[:9_000])
    for error, words, source, options in (
        (AudioError, "gone.eul: no such file", "gone.eul", {}),
        (AudioError, "it is a directory, an audio or .eul file is needed", ".", {}),
        (AudioError, "cannot be read as audio", b"neither this nor that", {}),
        (AudioError, "audio: the file is empty", b"", {}),
        (AudioError, "cut.wav: cut short", "cut.wav", {}),
        (AudioError, r"a.wav: 1.000 s to 2.000 s has nothing .* 0.500 s long", "a.wav",
         {"offset_s": 1, "duration_s": 1}),
        (AudioError, "has nothing of the file", "a.wav", {"duration_s": 0}),
        (BitstreamError, r"a.eul: 1.000 s to .* has nothing", "a.eul", {"offset_s": 1}),
        (BitstreamError, "has nothing of the file", "a.eul", {"duration_s": 0}),
        (ConfigError, "must not be negative: -1 s", "a.wav", {"offset_s": -1}),
        (ConfigError, "must not be negative", "a.eul", {"duration_s": -1}),
        (ConfigError, "a time must be a number", "a.wav", {"offset_s": "one"}),
        (WeightsError, "a.eul: made with the codes", "a.eul",
         {"codec": Codec.from_pretrained(other_weights)}),
    ):  # fmt: skip
        with pytest.raises(error, match=words) as caught:
            eulerodec.read(source, **{"codec": codec} | options)
        assert "\n" not in str(caught.value)


def test_a_clipped_recording_is_told_of():
    audio.write("a.wav", np.ones((1, 1_000), np.float32), 24_000)
    with pytest.warns(AudioWarning, match="the input is clipped"):
        eulerodec.read("a.wav")


def test_bundled_weights_are_loaded_once(monkeypatch):
    codec = Codec.from_pretrained()
    data = codec.compress(speech(2_000), 24_000)
    for _ in range(2):
        x, _ = eulerodec.read(data)
        np.testing.assert_allclose(x, codec.decompress(data)[0].numpy(), rtol=0, atol=1e-5)
        monkeypatch.setattr(Codec, "from_pretrained", None)  # a second time would fail
