"""Systems: names, options, measured bytes, alignment; peers where they are installed."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pytest
from helpers.streams import lower

from eulerodec import audio
from eulerodec.codec import Encoded
from eulerodec.codec.streaming import FILE_BLOCK_FRAMES
from eulerodec.errors import AudioError, ConfigError, WeightsError
from eulerodec.evaluate import systems
from eulerodec.evaluate.align import align
from eulerodec.evaluate.systems import Absent, build, parse, parse_list
from eulerodec.evaluate.systems.base import run_tool
from eulerodec.evaluate.systems.opus import ogg_packets
from eulerodec.evaluate.systems.speech import amr_payload
from eulerodec.metrics import measure, select

RATE = 24_000


def tool(*names: str) -> None:
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")


def through(text: str, x: np.ndarray) -> tuple[systems.Coded, np.ndarray, int]:
    coded = build(parse(text)).code(x)
    y = audio.resample(coded.audio[None], coded.sample_rate, RATE)[0]
    return coded, *align(x, y, RATE)


def test_names_of_systems():
    spec = parse("runs/a b:6.5:beam=4")
    assert (spec.kind, spec.kbps, spec.options) == ("runs/a b", 6.5, {"beam": "4"})
    assert spec.text == "runs/a b:6.5:beam=4"
    assert parse("mine=runs/x:6:beam=2").text == "mine:6:beam=2"
    assert parse("mine=runs/x:6").kind == "runs/x"
    assert parse("runs/lr=1:6").text == "runs/lr=1:6" and parse("runs/lr=1:6").kind == "runs/lr=1"
    assert parse(r"C:\w:6").kind == r"C:\w"
    listed = parse_list("reference, opus:12:cbr:speech,opus:6")
    assert [s.text for s in listed] == ["reference", "opus:12:cbr:speech", "opus:6"]
    assert listed[1].options == {"cbr": "", "speech": ""}


@pytest.mark.parametrize("text", ["opus", "opus:", ":6", "opus:fast", "", ",", "opus:6,opus:6"])
def test_wrong_names_of_systems(text):
    with pytest.raises(ConfigError):
        parse_list(text)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("opsu:6", ConfigError, "no directory of weights and none of eulerodec"),
        ("codec2:6", ConfigError, "allowed: 0.7, 1.2"),
        ("amrwb:12", ConfigError, "6.6, 8.85, 12.65"),
        ("lyra:12", ConfigError, "3.2, 6, 9.2"),
        ("opus:3", ConfigError, "6 to 256"),
        ("opus:12:cbr:vbr", ConfigError, "one of cbr, vbr"),
        ("opus:12:fast", ConfigError, "no option 'fast'"),
        ("lyra:6", Absent, "--lyra-models"),
    ],
)
def test_wrong_rates_and_options(text, error, words):
    with pytest.raises(error, match=words):
        build(parse(text))


def test_weights_errors(tmp_path, weights):
    with pytest.raises(WeightsError, match="neither"):
        build(parse(f"{tmp_path}:6"))
    for options, words in (
        ("6:beam=0", "beam"),
        ("20", "from 1 to 16"),
        ("12:cut=0.5", "from 1 to 16"),
        ("12:cut=x", "cut=3"),
        ("0.5:constant", "n_codebooks"),
        ("6:constant=6", "takes no value"),
        ("6:entropy", "no option 'entropy'"),
    ):
        with pytest.raises(ConfigError, match=words):
            build(parse(f"{weights}:{options}"))


def test_peers_that_are_not_installed_are_absent(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for text, package in (("opus:6", "opus-tools"), ("codec2:3.2", "codec2"), ("amrwb:6.6", "ffm")):
        with pytest.raises(Absent, match=package):
            build(parse(text))
    with pytest.raises(Absent, match="soundstream_encoder"):
        build(parse("lyra:6"), lyra_models=tmp_path)


def test_own_rate_is_measured(weights, talk):
    coded, y, lag = through(f"{weights}:6", talk)
    seconds = len(talk) / RATE
    # all bytes but the header are what the rate holds, within the format's 64 bytes
    assert 5.7 * 125 * seconds < coded.payload_bytes <= coded.file_bytes <= 750 * seconds + 64
    assert 30 < coded.file_bytes - coded.payload_bytes < 120
    assert (y.shape, lag) == (talk.shape, lag)
    low = build(parse(f"{weights}:1")).code(talk)
    assert low.payload_bytes < coded.payload_bytes / 4


def test_own_results_are_those_of_the_codec(weights, codec, talk):
    got = build(parse(f"{weights}:3")).code(talk).audio
    wav = codec.decode(codec.encode(talk, RATE, bitrate_kbps=3), block_frames=FILE_BLOCK_FRAMES)
    assert np.array_equal(got, wav[0].numpy())
    beam = build(parse(f"{weights}:3:beam=1"))
    assert not np.array_equal(beam.code(talk).audio, got)
    assert beam.identity != build(parse(f"{weights}:3")).identity


def test_a_file_that_is_cut(weights, codec, talk):
    coded = build(parse(f"{weights}:12:cut=3")).code(talk)
    data = lower(codec.compress(talk, RATE, 12), 3)  # what `eulerodec rate` writes
    assert coded.file_bytes == len(data)
    want = codec.decode(Encoded.from_bytes(data), block_frames=FILE_BLOCK_FRAMES)
    assert np.array_equal(coded.audio, want[0].numpy())


def test_the_constant_coding(weights, talk):
    """The tiny weights have codes of 8 bits, 0.727 kbps; a packet has a head and a level too."""
    n_frames = len(talk) // 264 + 2  # the second half of the last frame lacks its partner
    n_packets = -(-n_frames // 248)
    for text, n_codebooks in (("6:constant", 8), ("6.5:constant", 8), ("8:constant:cut=3", 4)):
        coded = build(parse(f"{weights}:{text}")).code(talk)
        end = 6
        assert coded.payload_bytes == n_frames * n_codebooks + 9 * n_packets + end, text
    assert "8 codes a frame" in build(parse(f"{weights}:6:constant")).title


def test_weights_tell_systems_apart(weights, other_weights):
    one, other = (build(parse(f"{w}:6")).identity for w in (weights, other_weights))
    assert one["weights_sha256"] != other["weights_sha256"]


def test_the_reference_is_16_bit(talk):
    coded, y, lag = through("reference", talk)
    assert np.abs(y - talk).max() <= 0.5 / 32768 and lag == 0
    assert coded.payload_bytes == 2 * len(talk)


@pytest.mark.parametrize(("text", "kbps"), [("opus:12:cbr", 12.0), ("opus:24:cbr:speech", 24.0)])
def test_opus(text, kbps, talk):
    tool("opusenc", "opusdec")
    coded, y, lag = through(text, talk)
    assert coded.payload_bytes * 8e-3 / (len(talk) / RATE) == pytest.approx(kbps, rel=0.02)
    assert coded.file_bytes > coded.payload_bytes + 100
    assert abs(lag) <= 3  # opusdec takes off the delay
    values, _ = measure(talk, y, RATE, select(["si_sdr", "pc"]))
    assert values["si_sdr"] > 3 and values["pc"] > 0.9


def test_opus_is_vbr_unless_told(talk):
    tool("opusenc", "opusdec")
    one, other = build(parse("opus:12")), build(parse("opus:12:cbr"))
    assert "VBR" in one.title and "CBR" in other.title
    assert one.code(talk).payload_bytes != other.code(talk).payload_bytes


def test_amrwb(talk):
    tool("ffmpeg")
    try:
        coded, y, lag = through("amrwb:12.65", talk)
    except Absent as error:
        pytest.skip(str(error))
    assert coded.payload_bytes * 8e-3 / (len(talk) / RATE) == pytest.approx(12.8, rel=0.03)
    assert abs(lag) <= 2  # the known delay is right
    assert measure(talk, y, RATE, select(["si_sdr"]))[0]["si_sdr"] > 5


def test_codec2(talk):
    tool("c2enc", "c2dec")
    coded, y, _ = through("codec2:3.2", talk)
    assert coded.payload_bytes * 8e-3 / (len(talk) / RATE) == pytest.approx(3.2, rel=0.04)
    # it has no phase to compare; the level in time must agree
    envelopes = [np.convolve(np.abs(s), np.ones(480), "same") for s in (talk, y)]
    assert np.corrcoef(*envelopes)[0, 1] > 0.8
    late = [np.convolve(np.abs(s), np.ones(480), "same") for s in (talk, np.roll(y, 1200))]
    assert np.corrcoef(*envelopes)[0, 1] > np.corrcoef(*late)[0, 1] + 0.1


def page(lacing: bytes, body: bytes) -> bytes:
    return b"OggS" + bytes(22) + struct.pack("B", len(lacing)) + lacing + body


def test_ogg_packets_by_the_specification(tmp_path):
    """RFC 3533: a packet ends at the first lacing value below 255, and may span pages."""
    file = tmp_path / "a.ogg"
    file.write_bytes(
        page(b"\x13", bytes(19)) + page(b"\xff\xff", bytes(510)) + page(b"\x00\x05", bytes(5))
    )
    assert ogg_packets(file) == [19, 510, 5]
    file.write_bytes(b"OggS")
    with pytest.raises(AudioError, match="no Ogg page"):
        ogg_packets(file)


def test_amr_frames_by_the_specification():
    """RFC 4867: frame type in bits 3 to 6 of a byte; 12.65 kbps has 253 bits, silence 40."""
    speech, comfort, lost = bytes([2 << 3 | 4]) + bytes(32), bytes([9 << 3]) + bytes(5), b"\x7c"
    assert amr_payload(b"#!AMR-WB\n" + 2 * speech + comfort + lost) == 2 * 32 + 5
    with pytest.raises(AudioError):
        amr_payload(b"#!AMR\n")


def test_a_tool_that_fails_says_why():
    with pytest.raises(AudioError, match=r"exit code 3: no way"):
        run_tool(["sh", "-c", "echo first; echo no way >&2; exit 3"])
