"""The doctor: golden files, what it says of a sound installation, and of a broken one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eulerodec import audio
from eulerodec.bitstream import PacketCodes, PayloadCoder
from eulerodec.cli import main
from eulerodec.codec import Codec, Encoded, selftest
from eulerodec.codec.streaming import StreamEncoder
from eulerodec.samples import SAMPLE

pytestmark = pytest.mark.usefixtures("same_threads")
ROWS = [
    "golden codes", "golden planes", "golden audio", "file", "streaming", "block size", "batch",
    "threads",
]  # fmt: skip
FILES = ["golden.eul", "golden_planes.eul", "golden.f32", "golden.json"]


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory):
    """1.2 s in place of the bundled clip, for the tiny weights."""
    clip = tmp_path_factory.mktemp("clip") / "clip.wav"
    audio.write(clip, audio.read(SAMPLE)[0][:, 24_000:52_800], 24_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selftest, "SAMPLE", clip)
        yield


@pytest.fixture(scope="module")
def with_golden(weights, tmp_path_factory, short_clip):
    """A directory of weights with its golden files."""
    directory = tmp_path_factory.mktemp("golden") / "tiny"
    shutil.copytree(weights, directory)
    selftest.write_golden(directory)
    return directory


@pytest.fixture
def golden(with_golden, tmp_path):
    """A copy that may be spoilt."""
    return Path(shutil.copytree(with_golden, tmp_path / "copy"))


def outcome(report):
    return {check["name"]: check["status"] for check in report["checks"]}


def change_codes(path: Path, count: int) -> None:
    file = Encoded.open(path)
    codes = file.codes
    codes.view(-1)[:count] ^= 1
    Encoded.from_codes(codes, file.info, file.levels).save(path)


def test_a_sound_installation(with_golden, capsys):
    assert main(["doctor", "--weights", str(with_golden)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [name for name in ROWS if any(line.startswith(name) for line in lines)] == ROWS
    assert main(["doctor", "--weights", str(with_golden), "--json", "--threads", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and [check["name"] for check in report["checks"]] == ROWS
    found = outcome(report)
    for exact in ("golden codes", "golden planes", "file", "streaming"):
        assert found[exact] == selftest.OK
    assert set(found.values()) <= {selftest.OK, selftest.WITHIN}
    assert report["versions"].keys() >= {"eulerodec", "python", "torch", "numpy"}
    assert report["machine"]["threads"] == 1


@pytest.mark.usefixtures("short_clip")
def test_weights_without_golden_files(weights, capsys):
    assert main(["doctor", "--weights", str(weights)]) == 0
    out = capsys.readouterr().out
    assert out.count("not checked") == 3 and "no golden.json beside these weights" in out


@pytest.mark.parametrize(("count", "status"), [(5, selftest.WITHIN), (500, selftest.FAILED)])
def test_other_codes_than_the_golden_ones(golden, count, status):
    """Where two are equally near, rounding decides: a few may differ."""
    change_codes(golden / "golden.eul", count)
    report = selftest.examine(golden)
    assert outcome(report)["golden codes"] == status
    assert report["checks"][0]["codes_differ"] == count


def test_planes_must_come_back_exactly(golden, monkeypatch):
    """One code that is read differently is one too many; the audio of it hardly tells."""
    decode = PayloadCoder.decode

    def misread(self, payload, n_channels, n_frames):
        codes: PacketCodes = decode(self, payload, n_channels, n_frames)
        codes.latents[0, 2, 5] ^= 1
        return codes

    monkeypatch.setattr(PayloadCoder, "decode", misread)
    report = selftest.examine(golden)
    assert outcome(report)["golden planes"] == selftest.FAILED
    assert outcome(report)["streaming"] == selftest.OK  # spoilt alike


@pytest.mark.parametrize(
    ("by", "status"), [(3e-6, selftest.WITHIN), (1e-4, selftest.FAILED), (np.nan, selftest.FAILED)]
)
def test_other_audio_than_the_golden_one(golden, capsys, by, status):
    path = golden / "golden.f32"
    samples = np.frombuffer(path.read_bytes(), "<f4").copy()
    samples[100] += by
    path.write_bytes(samples.tobytes())
    code = main(["doctor", "--weights", str(golden), "--json"])
    out, err = capsys.readouterr()
    assert outcome(json.loads(out))["golden audio"] == status
    assert code == (status == selftest.FAILED)
    assert err == ("error: failed: golden audio\n" if code else "")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: (d / "golden.eul").write_bytes(b"no file"), "damaged golden file"),
        (lambda d: (d / "golden_planes.eul").write_bytes(b"no file"), "damaged golden file"),
        (lambda d: shutil.copy(d / "golden_planes.eul", d / "golden.eul"), "numbers of codes"),
        (lambda d: (d / "golden.f32").write_bytes(b"odd"), "damaged golden file"),
        (lambda d: (d / "golden.f32").write_bytes(b""), "shape [0], not"),
        (lambda d: (d / "golden.json").write_text("[1]"), "damaged golden file"),
        (lambda d: (d / "golden.json").write_text("{}"), "damaged golden file"),
        (lambda d: (d / "golden.json").write_text("{"), "damaged golden file"),
    ],
)
def test_damaged_golden_files(golden, spoil, words):
    spoil(golden)
    report = selftest.examine(golden)
    assert not report["ok"] and words in selftest.table(report)


def test_golden_files_of_other_weights(with_golden, other_weights, tmp_path):
    directory = shutil.copytree(other_weights, tmp_path / "other")
    for name in FILES:
        shutil.copy(with_golden / name, directory)
    report = selftest.examine(directory)
    assert not report["ok"] and "made with other weights" in report["checks"][0]["detail"]


def test_a_stream_must_be_exact(with_golden, monkeypatch):
    """Not even a packet with a byte more at its end, which sounds the same."""
    push = StreamEncoder.push
    monkeypatch.setattr(
        StreamEncoder,
        "push",  # only the streaming check comes with chunks
        lambda self, x: [replace(p, payload=p.payload + b"\0") for p in push(self, x)],
    )
    assert outcome(selftest.examine(with_golden))["streaming"] == selftest.FAILED
    monkeypatch.undo()
    streaming_decoder = Codec.streaming_decoder

    def a_bit_louder(self, info, **options):
        decoder = streaming_decoder(self, info, **options)
        push = decoder.push
        decoder.push = lambda packets: push(packets) * (1 + 2**-22)
        return decoder

    monkeypatch.setattr(Codec, "streaming_decoder", a_bit_louder)
    assert outcome(selftest.examine(with_golden))["streaming"] == selftest.FAILED


def test_golden_files_are_only_written_where_one_says(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--write-golden"]) == 2
    assert "--weights DIR" in capsys.readouterr().err
