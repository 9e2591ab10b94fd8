"""Codes from a little synthetic audio: what is drawn, what is held out, what the command writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from eulerodec.cli import main
from eulerodec.errors import ConfigError, TrainingError
from eulerodec.model import ModelConfig
from eulerodec.quantize import CodeBook, PacketCoder
from eulerodec.train.cache import Cache, Item, pack
from eulerodec.train.fit import FitSizes, write_codes
from eulerodec.train.material import PACKET, Analysis, Material, synthetic, synthetic_cache
from eulerodec.train.recipe import Recipe
from eulerodec.train.tables import PlaneRule

RATE = 24_000
CONFIG = ModelConfig(hop_length=240, latent_dim=8)
SIZES = FitSizes(
    energy_packets=40, latent_packets=30, count_packets=4, codebook_size=256, energy_stages=2,
    rule=PlaneRule(energy_planes=(2, 4), n_latents=3),
)  # fmt: skip


def cache_of(*seconds: float) -> Cache:
    """Synthetic recordings of these lengths."""
    waves = [np.rint(synthetic(s, RATE, k) * 32767).astype(np.int16) for k, s in enumerate(seconds)]
    ends = np.cumsum([len(wave) for wave in waves])
    items = [
        Item(path=f"{k}.wav", offset=int(end) - len(wave), n=len(wave))
        for k, (end, wave) in enumerate(zip(ends, waves, strict=True))
    ]
    return Cache(np.concatenate(waves), RATE, items)


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> dict[str, Path]:
    """One recording, and two."""
    root = tmp_path_factory.mktemp("fit")
    for k in range(2):
        soundfile.write(root / f"{k}.wav", synthetic(8.0, RATE, k), RATE)
    one, both = [root / "0.wav"], [root / "0.wav", root / "1.wav"]
    return {
        name: pack(paths, root / name, sample_rate=RATE, quiet=True)
        for name, paths in (("one", one), ("both", both))
    }


def recipe(cache: Path, **data) -> Recipe:
    values = {"hop_length": 240, "latent_dim": 8, "codes": "of no matter here"}
    return Recipe.from_dict({"model": values, "data": {"paths": [str(cache)], **data}})


def test_frames_of_a_packet_are_those_of_the_whole_recording():
    cache, analysis = cache_of(2.0, 3.1), Analysis(CONFIG)
    material = Material([cache], analysis)
    starts = [(0, 0), *material.draw(40, 0), (1, -(-74_400 // 240) - PACKET)]
    for start, (z, bands) in zip(starts, material.read(starts), strict=True):
        item = cache.items[start[0]]
        wav = cache.audio[item.offset : item.offset + item.n].astype(np.float32) / 32768
        whole = analysis(torch.from_numpy(wav)[None])
        there = slice(start[1], start[1] + PACKET)
        for found, frames in zip((z, bands), whole, strict=True):
            np.testing.assert_allclose(found, frames[0, :, there].t(), atol=2e-4)


def test_packets_are_drawn_by_length_and_never_from_what_is_too_short():
    material = Material([cache_of(0.9, 1.92, 2.92)], Analysis(CONFIG))
    starts = material.draw(2000, 1)
    assert starts == material.draw(2000, 1) != material.draw(2000, 2)
    # 101 and 201 places for a packet of 0.92 s
    share = np.mean([k == 1 for k, _ in starts])
    assert {k for k, _ in starts} == {1, 2} and share == pytest.approx(101 / 302, abs=0.043)
    assert {at for k, at in starts if k == 1} <= set(range(101))
    with pytest.raises(TrainingError, match=r"0\.92 s"):
        Material([cache_of(0.5, 0.9)], Analysis(CONFIG))


def test_a_tenth_of_the_material_is_made():
    made = synthetic_cache([cache_of(18.0, 9.0)])
    assert [item.n for item in made.items] == [3 * RATE] == [len(made.audio)]
    assert np.abs(made.audio.astype(int)).max() > 300


def test_held_out_audio_is_not_seen_and_the_fit_is_deterministic(packed, tmp_path):
    done: list[float] = []
    one = write_codes(recipe(packed["one"]), tmp_path / "a", SIZES, progress=done.append)
    rest = write_codes(recipe(packed["both"], val=["1.wav"]), tmp_path / "b", SIZES)
    assert one.name == "codes.safetensors" and one.read_bytes() == rest.read_bytes()
    assert done == sorted(done) and done[-1] == 1.0
    both = write_codes(recipe(packed["both"]), tmp_path / "c", SIZES)
    assert both.read_bytes() != one.read_bytes()


def test_codes_describe_audio_that_they_were_not_fitted_to(packed, tmp_path):
    path = write_codes(recipe(packed["one"]), tmp_path, SIZES)
    book = CodeBook.from_bytes(path.read_bytes())
    assert tuple(book.codebooks.shape) == (3, 256, 240)
    coder, material = PacketCoder(book), Material([cache_of(4.0)], Analysis(CONFIG))
    (packet,) = material.read(material.draw(1, 0))
    z, bands = (torch.from_numpy(x).t()[None] for x in packet)
    errors = []
    for n_bytes in (30, 100, 300):
        coded = coder.decode(coder.encode(z, bands, n_bytes), 1, PACKET)
        errors.append(float((coded.z - z).square().mean() / z.square().mean()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.95


def test_the_command(packed, tmp_path, capsys):
    line = ["fit", "--data", str(packed["one"]), "--packets", "30", "--codebook-size", "256"]
    assert main([*line, "--out", str(tmp_path / "codes")]) == 0
    path = tmp_path / "codes/codes.safetensors"
    assert str(path) in capsys.readouterr().out
    assert tuple(CodeBook.from_bytes(path.read_bytes()).codebooks.shape) == (20, 256, 264)
    text = '[model]\nsample_rate = 16000\n[data]\nval = ["nobody"]\n'
    (tmp_path / "r.toml").write_text(text)
    more = ["--out", str(tmp_path / "no"), "--recipe", str(tmp_path / "r.toml")]
    assert main([*line, *more]) == 1
    assert "--sample-rate 16000" in capsys.readouterr().err
    (tmp_path / "r.toml").write_text(text.replace("sample_rate = 16000", ""))
    assert main([*line, *more]) == 2
    assert "nobody" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_sizes_that_make_no_codes_are_named():
    with pytest.raises(ConfigError, match="codebook_size=300"):
        FitSizes(codebook_size=300)
    assert FitSizes().of_packets(1400).count_packets == 220
