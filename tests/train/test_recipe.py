"""Recipes: what is read is what was written, and mistakes are named."""

import tomllib
from pathlib import Path

import pytest

from eulerodec.errors import ConfigError
from eulerodec.train.recipe import Recipe, load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_every_shipped_recipe_loads(path: Path):
    assert load_recipe(path).train.steps > 0


def test_written_recipe_reads_back_equal():
    recipe = Recipe.from_dict(
        {
            "model": {"width": 3, "name": 'a "b"', "bands": [1, 2]},
            "loss": {"windows": [64, 128]},
            "data": {"val": ["é*"]},
            "optim": {"freeze_until": {"encoder.in_proj": 10}, "lr_multipliers": {"a b": 0.5}},
        }
    )
    assert Recipe.from_dict(tomllib.loads(recipe.to_toml())) == recipe


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"optim": {"learning_rate": 1.0, "warmup_step": 3}}, ["learning_rate"]),
        ({"optim": {"warmup_step": 3}}, ["warmup_step", "'warmup_steps'"]),
        ({"trian": {}}, ["trian", "'train'"]),
        ({"train": {"steps": "many"}}, ["steps", "'many'", "int"]),
        ({"train": {"steps": True}}, ["steps"]),
        ({"train": {"precision": "fp16"}}, ["fp16", "bf16"]),
        ({"optim": {"schedule": "time"}}, ["time_limit_minutes"]),
        ({"optim": {"schedule": "cosine"}}, ["cosine", "steps, time"]),
        ({"loss": {"wav": 1.0}}, ["[loss]", "wav", "'wave'"]),
        ({"loss": {"windows": ["a"]}}, ["[loss]", "windows"]),
        ({"loss": {"windows": []}}, ["windows"]),
        ({"augment": {"speed": [1.2, 0.8]}}, ["speed"]),
        ({"train": {"bitrates_kbps": []}}, ["bitrates_kbps"]),
        ({"train": {"bitrates_kbps": [6.0, -1.0]}}, ["bitrates_kbps", "-1"]),
        ({"train": {"bitrate_spread": 1.0}}, ["bitrate_spread"]),
    ],
)
def test_mistakes_are_named(values: dict, words: list[str]):
    with pytest.raises(ConfigError) as error:
        Recipe.from_dict(values)
    for word in words:
        assert word in str(error.value)


def test_overrides_reach_numbers_words_and_tables(tmp_path: Path):
    path = tmp_path / "r.toml"
    path.write_text("[optim]\nlr = 1e-3\n")
    recipe = load_recipe(
        path,
        [
            "optim.lr=2e-4",
            "train.precision=bf16",
            "optim.lr_multipliers.encoder.in_proj=0.1",
            "data.val=['a*', 'b']",
            "model.dim=7",
        ],
    )
    assert recipe.optim.lr == 2e-4
    assert recipe.train.precision == "bf16"
    assert recipe.optim.lr_multipliers == {"encoder.in_proj": 0.1}
    assert recipe.data.val == ["a*", "b"]
    assert recipe.model == {"dim": 7}


@pytest.mark.parametrize("text", ["optim.lr", "lr=3", "=3"])
def test_malformed_override(tmp_path: Path, text: str):
    path = tmp_path / "r.toml"
    path.write_text("")
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load_recipe(path, [text])


def test_missing_and_broken_files(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[optim\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_recipe(tmp_path / "bad.toml")
