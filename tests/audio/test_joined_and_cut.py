"""Recordings that were joined, cut short or damaged: read whole, or told of, never lost silently.

Every input is a sound one by soundfile or the standard library, changed byte by byte.
"""

from __future__ import annotations

import io
import struct
import wave
import zlib

import numpy as np
import pytest
import soundfile

from eulerodec import audio
from eulerodec.errors import AudioError, AudioWarning

RATE = 24_000
N = 3 * RATE


def sound(n: int = N, hz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz / RATE * np.arange(n))).astype(np.float32)


def coded(
    kind: str, x: np.ndarray | None = None, rate: int = RATE, subtype: str | None = None
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound() if x is None else x, rate, subtype, format=kind)
    return buffer.getvalue()


def read(data: bytes, **options) -> np.ndarray:
    x, rate = audio.read(io.BytesIO(data), **options)
    assert rate == RATE
    return x


# --- WAV


def wav(data: bytes, claimed: int | None = None, riff: int | None = None) -> bytes:
    """16-bit mono samples under a header that may say anything of their length."""
    claimed = len(data) if claimed is None else claimed
    riff = min(36 + claimed, 0xFFFFFFFF) if riff is None else riff
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + form
    return head + b"data" + struct.pack("<I", claimed) + data


INTEGERS = np.round(sound() * 32767).astype("<i2")
SAMPLES = INTEGERS.tobytes()


@pytest.mark.parametrize("riff", [0, 36, None])
def test_a_recorder_that_died_left_a_header_of_0_bytes(riff):
    with pytest.warns(AudioWarning, match="its header says 0 bytes"):
        got = read(wav(SAMPLES, 0, riff))
    assert np.array_equal(got[0], INTEGERS / np.float32(32768))


def test_a_wav_that_is_empty_is_empty():
    assert read(wav(b"")).shape == (1, 0)
    assert read(wav(b"") + b"LIST\x04\0\0\0INFO").shape == (1, 0)


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFF000, 0xFFFFFFFF - 36])
def test_a_wav_of_a_pipe_saved_as_a_file(claimed):
    assert read(wav(SAMPLES, claimed)).shape == (1, N)


def test_a_header_that_claims_too_much():
    data = wav(SAMPLES)[:-1001]
    with pytest.raises(AudioError, match="144000 bytes, 142999 of them") as caught:
        read(data)
    assert caught.value.recoverable
    with pytest.warns(AudioWarning, match="142999 of them are there"):
        got = read(data, recover=True)
    assert np.array_equal(got[0], INTEGERS[:71_499] / np.float32(32768))


def test_a_header_that_claims_too_little():
    data = wav(SAMPLES, 1000)
    with pytest.warns(AudioWarning, match="143000 bytes behind the samples are not read"):
        assert read(data).shape == (1, 500)
    with pytest.warns(AudioWarning, match="says 1000 bytes of samples, 144000 are read"):
        assert read(data, recover=True).shape == (1, N)


def test_what_may_follow_the_samples_of_a_wav():
    tag = b"TAG" + bytes(125)
    chunk = b"id3 " + struct.pack("<I", 5) + b"hello\0"
    for tail in (tag, chunk, chunk + tag, b"\0\0"):
        assert read(wav(SAMPLES) + tail).shape == (1, N)


def test_joined_wavs_are_read_whole():
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setparams((1, 3, RATE, 0, "NONE", ""))
        out.writeframes(bytes(3 * 501))  # an odd number of bytes
    got = read(wav(SAMPLES) + buffer.getvalue() + wav(SAMPLES))
    assert got.shape == (1, 2 * N + 501)
    assert np.array_equal(got[0, -N:], INTEGERS / np.float32(32768))


def test_joined_wavs_in_a_pipe_are_refused():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    data = wav(SAMPLES) + b"LIST\x04\0\0\0INFO" + wav(SAMPLES)
    with pytest.raises(AudioError, match="another WAV follows in the pipe"):
        audio.read(Pipe(data))
    with pytest.warns(AudioWarning, match="another WAV follows"):
        assert audio.read(Pipe(data), recover=True)[0].shape == (1, N)


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_wavs_that_libsndfile_reads_are_checked_too(subtype):
    data = coded("WAV", subtype=subtype)
    whole = read(data)
    assert np.abs(whole[0, :N] - sound()).mean() < 0.02
    assert np.array_equal(read(data + data), np.concatenate([whole, whole], 1))
    with pytest.raises(AudioError, match="cut short"):
        read(data[:-5000])
    with pytest.warns(AudioWarning, match="cut short"):
        assert read(data[:-5000], recover=True).shape[1] > N // 2


# --- Ogg, FLAC, MP3 and others


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", None), ("MP3", None), ("AIFF", None),
     ("W64", None), ("CAF", None), ("AU", None)],
)  # fmt: skip
def test_joined_files_are_read_whole(kind, subtype):
    first, second = coded(kind, sound(), subtype=subtype), coded(kind, sound(hz=880), RATE, subtype)
    apart = [read(data) for data in (first, second, first)]
    assert apart[0].shape[1] >= N
    assert np.array_equal(read(first + second + first), np.concatenate(apart, 1))


@pytest.mark.parametrize("kind", ["OGG", "FLAC", "MP3"])
def test_parts_of_other_rates_are_refused(kind):
    data = coded(kind) + coded(kind, rate=48_000)
    with pytest.raises(AudioError, match=r"24000 and 48000 Hz.*ffmpeg -i IN"):
        audio.read(io.BytesIO(data))


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", None), ("MP3", None), ("AIFF", None),
     ("W64", None), ("AU", None)],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_cut_files(kind, subtype, share):
    x = np.random.default_rng(0).uniform(-0.1, 0.1, 10 * RATE)  # costs the same bytes everywhere
    data = coded(kind, x, subtype=subtype)
    cut = data[: int(share * len(data))]
    whole = read(data)
    with pytest.raises(AudioError, match="cut short") as caught:
        read(cut)
    assert caught.value.recoverable
    with pytest.warns(AudioWarning, match="cut short"):
        got = read(cut, recover=True)
    n = got.shape[1]
    assert share * 10 * RATE - 2 * RATE < n < whole.shape[1]  # Ogg has pages of about a second
    heard = n - 2 * 1152  # the last frames of MP3 need what is missing
    assert np.allclose(got[:, :heard], whole[:, :heard], atol=1e-4)


def mp3_frame(data: bytes, start: int) -> int:
    """Where the next frame of an MP3 begins whose header is like that of the first one."""
    first = data.index(b"\xff\xf3") if b"\xff\xf3" in data else data.index(b"\xff\xfb")
    return data.index(data[first : first + 2], start)


def test_mp3_without_the_frame_that_states_a_length_is_joined_too():
    data = coded("MP3")
    bare = data[mp3_frame(data, mp3_frame(data, 0) + 4) :]  # the first one states the length
    n = read(bare).shape[1]
    assert read(bare + bare).shape[1] == pytest.approx(2 * n, abs=1152)
    # the first states its length, the second one is beyond that
    assert read(data + bare).shape[1] == pytest.approx(read(data).shape[1] + n, abs=1152)


def test_mp3_with_tags_in_front_behind_and_between():
    data = coded("MP3")
    front = b"ID3\x04\0\0\0\0\x02\x01" + b"\xff\xf3\xe4\xc4" * 64 + b"\0"  # like frames inside
    back = b"TAG" + bytes(125)
    whole = read(data)
    assert np.array_equal(read(front + data + back), whole)
    twice = read(front + data + back + front + data + back)
    assert np.array_equal(twice, np.concatenate([whole, whole], 1))


def test_bytes_within_an_mp3_that_are_no_frames():
    data = coded("MP3")
    at = mp3_frame(data, len(data) // 2)
    with pytest.warns(AudioWarning, match="are no MP3 frames"):
        got = read(data[:at] + b"no frames at all" * 9 + data[at:])
    assert got.shape[1] >= N - 3 * 1152


def test_blocks_of_an_mp3_are_the_samples_of_the_whole():
    data = coded("MP3", np.random.default_rng(0).uniform(-0.1, 0.1, N))
    whole, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    with audio.open_reader(io.BytesIO(data)) as reader:
        got = np.concatenate(list(reader.blocks(1000)), 1)
    assert np.allclose(got[0], whole, rtol=0, atol=1e-6)


def ogg_pages(data: bytes) -> list[int]:
    return [i for i in range(len(data)) if data[i : i + 5] == b"OggS\0"]


def test_an_ogg_page_that_is_damaged():
    data = bytearray(coded("OGG", np.random.default_rng(0).uniform(-0.1, 0.1, 10 * RATE)))
    data[(ogg_pages(bytes(data))[5] + len(data)) // 2] ^= 1
    with pytest.raises(AudioError, match=r"damaged: bytes .* are no pages"):
        read(bytes(data))
    with pytest.warns(AudioWarning, match="damaged: bytes"):
        assert read(bytes(data), recover=True).shape[1] > 5 * RATE


def test_an_ogg_page_that_is_missing_and_one_that_says_it_is_the_last():
    data = coded("OGG", np.random.default_rng(0).uniform(-0.1, 0.1, 10 * RATE))
    pages = ogg_pages(data)
    with pytest.warns(AudioWarning, match=f"pages are missing before byte {pages[5]}"):
        read(data[: pages[5]] + data[pages[6] :])
    with pytest.warns(AudioWarning, match="no last page"):
        read(data[: pages[-1]])


def test_the_checksum_of_an_ogg_page_is_the_one_of_the_format():
    """Bit by bit, by RFC 3533: polynomial 0x04c11db7, from 0, nothing inverted or reflected."""
    from eulerodec.audio import ogg

    data = b"123456789" + zlib.compress(b"any bytes")
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x104C11DB7 if crc & 0x80000000 else 0)
    assert ogg._checksum(data) == crc


def test_a_flac_that_states_no_length():
    """STREAMINFO of a stream that was written into a pipe: 0 samples in all."""
    data = bytearray(coded("FLAC"))
    whole = read(bytes(data))
    # 36 bits of the count begin in the low half of byte 21
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert np.array_equal(read(bytes(data)), whole)


# --- no audio, and no header


@pytest.mark.parametrize("name", ["x.raw", "x.pcm"])
def test_samples_without_a_header(tmp_path, name):
    (tmp_path / name).write_bytes(SAMPLES)
    with pytest.raises(AudioError, match=r"raw samples have no header.*ffmpeg -f s16le") as caught:
        audio.read(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.txt", "x.wav", "x.xyz", "x"])
@pytest.mark.parametrize("data", [b"\0" * 999, b"hello, world\n" * 99, bytes(range(256)) * 9])
def test_what_is_no_audio(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AudioError, match="cannot be read as audio") as caught:
        audio.read(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_a_wav_by_another_name(tmp_path):
    (tmp_path / "x.raw").write_bytes(wav(SAMPLES))
    assert audio.read(tmp_path / "x.raw")[0].shape == (1, N)


# --- file objects


def test_a_file_object_stays_open_and_is_read_from_its_start():
    file = io.BytesIO(coded("FLAC"))
    with audio.open_reader(file) as reader:
        assert (reader.sample_rate, reader.n_channels, reader.n_samples) == (RATE, 1, N)
        assert sum(x.shape[1] for x in reader.blocks()) == N
    assert not file.closed


def test_a_warning_is_given_once_and_kept():
    with pytest.warns(AudioWarning) as caught:
        reader = audio.open_reader(io.BytesIO(wav(SAMPLES, 0)))
    list(reader.blocks())
    assert reader.warnings == [str(w.message) for w in caught.list] and len(reader.warnings) == 1
