"""Packing, splitting and drawing."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eulerodec.errors import ConfigError, TrainingError
from eulerodec.train.cache import Cache, Item, open_cache, pack, synthesize
from eulerodec.train.data import Crops, load_data, prefetch, split
from eulerodec.train.recipe import AugmentConfig, DataConfig, TrainConfig

RATES = TrainConfig(bitrates_kbps=[6.0, 12.0])
RATE = 24_000
SMALL = DataConfig(crop_seconds=0.05, batch_size=4)


def ramps(lengths: dict[str, int], **common: str) -> Cache:
    """Files of constant value 1000, 2000, ..., named by source."""
    items, waves, offset = [], [], 0
    for number, (name, n) in enumerate(lengths.items(), 1):
        items.append(Item(path=name, offset=offset, n=n, source=name, **common))
        waves.append(np.full(n, 1000 * number, dtype=np.int16))
        offset += n
    return Cache(np.concatenate(waves), RATE, items)


def test_batch_is_a_function_of_seed_step_and_rank():
    caches = [synthesize(20, RATE)]
    a = Crops(caches, SMALL, AugmentConfig(), RATES)
    b = Crops(caches, SMALL, AugmentConfig(), RATES)
    b.batch(3)  # what was drawn before must not matter
    np.testing.assert_array_equal(a.batch(7).audio, b.batch(7).audio)
    np.testing.assert_array_equal(a.batch(7).bitrate_kbps, b.batch(7).bitrate_kbps)
    other_rank = Crops(caches, SMALL, AugmentConfig(), RATES, rank=1)
    assert not np.array_equal(a.batch(7).audio, other_rank.batch(7).audio)
    assert not np.array_equal(a.batch(7).audio, a.batch(8).audio)


def test_prefetch_keeps_order_and_content_with_any_number_of_threads():
    crops = Crops([synthesize(20, RATE)], SMALL, AugmentConfig(), RATES)
    got = list(prefetch(crops, 2, 9, workers=3))
    assert [step for step, _ in got] == list(range(2, 9))
    for step, batch in got:
        np.testing.assert_array_equal(batch.audio, crops.batch(step).audio)


def test_crop_shape_range_and_type():
    batch = Crops([synthesize(20, RATE)], SMALL, AugmentConfig(mix_p=1.0), RATES).batch(0)
    assert batch.audio.shape == (4, 1, 1200)
    assert batch.audio.dtype == np.float32
    assert np.abs(batch.audio).max() <= 1


def test_sources_are_drawn_by_hours_to_the_alpha():
    config = DataConfig(crop_seconds=0.01, batch_size=2000, alpha=0.5)
    cache = ramps({"long": RATE * 16, "short": RATE * 4})
    level = Crops([cache], config, None, RATES).batch(0).audio[:, 0, 0] * 32768
    share = float((level == 2000).mean())
    # sqrt(16) : sqrt(4) = 2 : 1; four standard deviations of 2000 draws
    assert share == pytest.approx(1 / 3, abs=0.043)


def test_silence_is_drawn_again():
    audio = np.zeros(24000 * 10, dtype=np.int16)
    audio[: 24000 * 3] = 3000
    cache = Cache(audio, RATE, [Item(path="x", offset=0, n=len(audio))])
    config = DataConfig(crop_seconds=0.01, batch_size=500, silence_skip=1.0)
    silent = (Crops([cache], config, None, RATES).batch(0).audio == 0).all((1, 2)).mean()
    assert silent == pytest.approx(0.7**8, abs=0.05)  # eight tries, 70 % of the file is silent


def test_short_file_is_padded_whole():
    crops = Crops([ramps({"a": 100})], SMALL, None, RATES)
    for wave in crops.batch(0).audio[:, 0]:
        assert np.count_nonzero(wave) == 100
        first = int(np.flatnonzero(wave)[0])
        np.testing.assert_allclose(wave[first : first + 100], 1000 / 32768)


def test_margins_do_not_leak_the_neighbouring_file():
    crops = Crops([ramps({"a": 5000, "b": 5000})], SMALL, AugmentConfig(speed_p=1), RATES)
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = set(np.unique(crops._read(0, 2000, 500, rng)))
        assert values <= {np.float32(0), np.float32(1000 / 32768)}


def test_held_out_speakers_are_in_one_part_only():
    train, val = split([synthesize(90, RATE)], DataConfig(val_fraction=0.3, val=["tone-0003"]))
    who = [
        {i.source + i.speaker for i in part[0].items if i.path != "tone-0003"}
        for part in (train, val)
    ]
    assert who[0] and who[1] and not who[0] & who[1]
    assert "tone-0003" in {i.path for i in val[0].items}


def test_held_out_pattern_without_match_is_an_error():
    with pytest.raises(ConfigError, match="nobody"):
        split([synthesize(3, RATE)], DataConfig(val=["nobody*"]))


def test_max_minutes_takes_a_little_of_many_files_and_leaves_validation_alone() -> None:
    data = [synthesize(180, RATE)]
    whole = split(data, DataConfig(val_fraction=0.3))
    train, val = split(data, DataConfig(val_fraction=0.3, max_minutes=0.2))
    lengths = [item.n / 24_000 for item in train[0].items]
    assert sum(lengths) == pytest.approx(12)
    assert max(lengths) <= 12 / 20
    assert [i.path for i in val[0].items] == [i.path for i in whole[1][0].items]
    assert {i.path for i in train[0].items} < {i.path for i in whole[0][0].items}


def test_rates_are_drawn_around_those_of_the_recipe():
    def kbps(spread):
        rates = TrainConfig(bitrates_kbps=[6.0, 6.0, 12.0], bitrate_spread=spread)
        config = DataConfig(crop_seconds=0.001, batch_size=900)
        return Crops([synthesize(20, RATE)], config, None, rates).batch(0).bitrate_kbps

    exact = kbps(0.0)
    assert exact.dtype == np.float32 and set(exact) == {6.0, 12.0}
    # 2 : 1; four standard deviations of 900 draws
    assert (exact == 6).mean() == pytest.approx(2 / 3, abs=0.063)
    around = kbps(0.15)
    low, high = around[around < 8], around[around > 8]
    for part, centre in ((low, 6), (high, 12)):
        assert 0.85 * centre <= part.min() < 0.87 * centre
        assert 1.13 * centre < part.max() <= 1.15 * centre


def write(path: Path, hz: float, seconds: float, rate: int, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.stack([wave] * channels, 1), rate, subtype="PCM_16")


def test_pack_resamples_resumes_and_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    audio, out = tmp_path / "audio", tmp_path / "cache"
    write(audio / "ann" / "a.wav", 440, 0.5, 16000)
    write(audio / "bob" / "b.flac", 1000, 0.25, 48000, channels=2)
    (audio / "broken.wav").write_text("no audio")
    pack([audio], out, sample_rate=RATE)
    assert "broken.wav" in capsys.readouterr().err
    cache = open_cache(out)
    by_name = {Path(i.path).name: i for i in cache.items}
    assert {k: (v.n, v.speaker, v.source) for k, v in by_name.items()} == {
        "a.wav": (12000, "ann", "audio"),
        "b.flac": (6000, "bob", "audio"),
    }
    item = by_name["b.flac"]
    wave = cache.audio[item.offset : item.offset + item.n] / 32768
    ideal = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(6000) / 24000)
    assert np.abs(wave - ideal)[500:-500].max() < 1e-3

    before = np.array(cache.audio)
    with open(out / "audio.s16", "ab") as tail:
        tail.write(b"half a file")  # a crash between samples and index line
    write(audio / "ann" / "c.wav", 200, 0.1, 24000)
    pack([audio], out, sample_rate=RATE, quiet=True)
    grown = open_cache(out)
    np.testing.assert_array_equal(grown.audio[: len(before)], before)
    assert len(grown.audio) == len(before) + 2400


def test_manifest(tmp_path: Path):
    write(tmp_path / "x.wav", 440, 0.1, 24000)
    row = {"path": "x.wav", "seconds": 0.1, "speaker": "eve", "source": "s", "licence": "CC0-1.0"}
    (tmp_path / "list.jsonl").write_text(json.dumps(row) + "\n\n")
    config = DataConfig(paths=[str(tmp_path / "list.jsonl")], cache=str(tmp_path / "cache"))
    (cache,) = load_data(config, RATE, quiet=True)
    assert [(i.n, i.speaker, i.source, i.licence) for i in cache.items] == [
        (2400, "eve", "s", "CC0-1.0")
    ]
    (tmp_path / "list.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="line 1"):
        pack([tmp_path / "list.jsonl"], tmp_path / "other", sample_rate=RATE)


def test_data_errors(tmp_path: Path):
    with pytest.raises(ConfigError, match="no training audio"):
        load_data(DataConfig(), RATE)
    with pytest.raises(ConfigError, match="missing"):
        load_data(DataConfig(paths=[str(tmp_path / "missing")]), RATE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="no audio"):
        pack([tmp_path / "empty"], tmp_path / "cache", sample_rate=RATE)
    pack_dir = tmp_path / "cut"
    write(tmp_path / "x.wav", 440, 0.1, 24000)
    pack([tmp_path / "x.wav"], pack_dir, sample_rate=RATE, quiet=True)
    with pytest.raises(TrainingError, match=r"24000 Hz.*16000 Hz.*--sample-rate 16000"):
        load_data(DataConfig(paths=[str(pack_dir)]), 16_000)
    with pytest.raises(TrainingError, match="24000 Hz, not 16000"):
        pack([tmp_path / "x.wav"], pack_dir, sample_rate=16_000)
    (pack_dir / "audio.s16").write_bytes(b"12")
    with pytest.raises(TrainingError, match="shorter"):
        open_cache(pack_dir)
