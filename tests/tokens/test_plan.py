"""Every clip of every kind of input is in one unit, whatever the size of units."""

import json
import tarfile

import pytest
from helpers.corpus import add_member, clip, wav_bytes

from eulerodec import audio
from eulerodec.errors import AudioError, ConfigError
from eulerodec.tokens import plan
from eulerodec.tokens.clips import clips_of
from eulerodec.tokens.plan import Unit, plan_units


def found(inputs, most):
    """(source, key) of each clip and its samples, by way of a plan in JSON."""
    units = [json.loads(json.dumps(u.to_json())) for u in plan_units(inputs, most)]
    for unit in units:
        clips = list(clips_of(Unit.from_json(unit)))
        assert 1 <= len(clips) <= most or "parquet" in unit
        for c in clips:
            yield (c.source, c.key), audio.read(c.audio)


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_each_clip_once(corpus, most):
    got = list(found(corpus, most))
    want = [(source, key, i) for source, keys in corpus.items() for i, key in enumerate(keys)]
    assert sorted(place for place, _ in got) == sorted(w[:2] for w in want)
    sounds = dict(got)
    for source, key, number in want:
        wav, rate = clip(number)
        assert sounds[source, key][1] == rate
        assert (sounds[source, key][0] == wav).all()


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_each_row_of_a_parquet_file_once(parquet, most):
    got = list(found(parquet, most))
    ((source, keys),) = parquet.items()
    assert [place for place, _ in got] == [(source, key) for key in keys]
    for number, (_, (wav, _)) in enumerate(got):
        assert (wav == clip(number)[0]).all()


def test_units_are_bounded_in_bytes(corpus, monkeypatch):
    monkeypatch.setattr(plan, "UNIT_BYTES", 1)
    units = list(plan_units(corpus, 100))
    assert len(units) == sum(map(len, corpus.values()))


def test_a_folder_is_searched_for_tars(corpus, tmp_path):
    folder = next(source for source in corpus if source.endswith("corpus"))
    with tarfile.open(tmp_path / "corpus/b/more.tar", "w") as tar:
        add_member(tar, "inner.wav", wav_bytes(0))
    keys = [key for (_, key), _ in found([folder], 100)]
    assert sorted(keys) == sorted([*corpus[folder], "inner"])


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        ("a.csv", "file\nx.wav\n", ConfigError, "row 1 has no path"),
        ("a.jsonl", '{"path": "x.wav"}\nno json\n', ConfigError, "row 2 has no path"),
        ("a.jsonl", "[1]\n", ConfigError, "row 1 has no path"),
        ("a.tar", "no tar" * 200, AudioError, "no sound tar"),
        (None, "", AudioError, "no such file or folder"),
    ],
)
def test_inputs_that_are_wrong(tmp_path, name, text, error, words):
    if name:
        (tmp_path / name).write_text(text)
    with pytest.raises(error) as caught:
        list(plan_units([str(tmp_path / (name or "none"))], 10))
    assert words in str(caught.value)


def test_parquet_without_audio(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = str(tmp_path / "x.parquet")
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(ConfigError, match="no column of audio"):
        list(plan_units([path], 10))
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    with pytest.raises(AudioError, match="no sound Parquet file"):
        list(plan_units([path], 10))
