"""Training recipes: plain TOML, read into frozen dataclasses.

A recipe is data. Every section but ``[model]`` is one dataclass below, every key has a default, and
a key that does not exist is an error that names the nearest one that does. ``[model]`` is checked
by whatever builds the model, before the run makes anything.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..settings import build, nearest

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "LossConfig",
    "OptimConfig",
    "Recipe",
    "TrainConfig",
    "load_recipe",
]

SCHEDULES = ("steps", "time")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the audio comes from and how crops are drawn."""

    paths: list[str] = field(default_factory=list)
    """Folders of audio, JSONL manifests, audio files or packed caches."""
    cache: str = ""
    """Folder for the decoded audio; empty = a folder in the user's cache directory."""
    synthetic_seconds: float = 0.0
    """Seconds of generated audio (tones, chirps, noise) to use when there are no paths."""
    crop_seconds: float = 1.0
    batch_size: int = 8
    """Crops per step and process."""
    alpha: float = 0.5
    """A source is drawn in proportion to hours**alpha (1 = all audio alike, 0 = sources alike)."""
    silence_db: float = -55.0
    """A crop whose RMS is below this (dB re full scale) counts as silent ..."""
    silence_skip: float = 0.9
    """... and is drawn again with this probability."""
    val: list[str] = field(default_factory=list)
    """Held out for validation: patterns (``*`` and ``?``) on a file's path, name or speaker."""
    val_fraction: float = 0.0
    """Further share of speakers to hold out, chosen by a hash of source and speaker."""
    max_minutes: float = 0.0
    """Train on that much audio only, at most a twentieth of it from one file; 0 = all."""
    val_crops: int = 16
    val_seconds: float = 2.0
    seed: int = 0
    workers: int = 1
    """Threads that prepare batches ahead of the loop."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Probability (``*_p``) and range of each random change; see ``augment.py``."""

    gain_p: float = 0.8
    gain_db: list[float] = field(default_factory=lambda: [-12.0, 6.0])
    speed_p: float = 0.3
    speed: list[float] = field(default_factory=lambda: [0.85, 1.18])
    eq_p: float = 0.2
    eq_db: float = 6.0
    band_limit_p: float = 0.05
    band_limit_hz: list[float] = field(default_factory=lambda: [3400.0, 9000.0])
    mix_p: float = 0.0
    mix_db: list[float] = field(default_factory=lambda: [-20.0, 0.0])
    polarity_p: float = 0.5


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW, its schedule and its parameter groups."""

    lr: float = 8e-4
    lr_min: float = 0.0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    weight_decay: float = 1e-4
    """On matrices and kernels only, never on biases, norms or gains."""
    warmup_steps: int = 200
    schedule: str = "steps"
    """What the cosine from ``lr`` to ``lr_min`` runs over: ``steps``, or ``time``, the share of
    ``time_limit_minutes`` that is used, so that a run of any length ends fully cooled."""
    lr_multipliers: dict[str, float] = field(default_factory=dict)
    """Factor on the rate of the parameters whose name starts with the key; longest key wins."""
    freeze_until: dict[str, int] = field(default_factory=dict)
    """Parameters whose name starts with the key are frozen before this step (-1 = for the whole
    run); modules of that prefix are in eval mode meanwhile, so their statistics are frozen too."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights and resolutions of the training loss; see ``losses.py`` for its terms."""

    wave: float = 1.0
    """Weight of log10 of the normalised squared error of the waveform."""
    complex: float = 1.0
    """Weight of the L1 distance of compressed complex spectra."""
    magnitude: float = 0.5
    """Weight of the L1 distance of compressed magnitudes."""
    band: float = 1.0
    """Weight of the L1 distance of log band energies."""
    noise: float = 0.0
    """Weight of the log noise-to-signal ratio in bands."""
    commitment: float = 0.25
    """Weight of the distance of latents from their codes, in models that are trained with them."""
    windows: tuple[int, ...] = (256, 512, 1024)
    """STFT windows of the complex and magnitude terms in samples; the hop is a quarter."""
    exponent: float = 0.5
    """Compression X |X|^(a-1) of the complex and magnitude terms."""
    band_windows: tuple[int, ...] = (512, 1024)
    """STFT windows of the band terms in samples."""
    band_hop: int = 256
    """Hop of the band terms in samples."""
    band_floor_db: float = -60.0
    """Energies this far below the clip's mean level count as silence."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The run itself."""

    steps: int = 100_000
    time_limit_minutes: float = 0.0
    """Training time of the whole run, parts before a resume included; 0 = no limit."""
    device: str = "auto"
    precision: str = "fp32"
    """``fp32``, or ``bf16``: torch.autocast around the model; parameters and losses stay fp32."""
    threads: int = 0
    """CPU threads for torch; 0 = leave as it is."""
    grad_clip: float = 1.0
    ema_decay: float = 0.999
    """Running average of the weights, used for validation and export; 0 = the last weights."""
    bitrates_kbps: list[float] = field(
        default_factory=lambda: [1.5, 3.0, 6.0, 6.0, 8.0, 12.0, 12.0, 15.0]
    )
    """What each crop is coded at, drawn with equal chance ..."""
    bitrate_spread: float = 0.15
    """... times a random factor, at most so far from 1."""
    init_crops: int = 2000
    """Training crops for setting the model from data before the first step; 0 = do not."""
    checkpoint_minutes: float = 10.0
    val_every: int = 1000
    log_every: int = 20
    max_bad_steps: int = 10
    """Give up after this many non-finite steps in a row."""
    seed: int = 0
    name: str = "eulerodec"
    """Name written into the exported weights."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.

    ``model`` is what its builder takes: for the codec the fields of a ModelConfig, and ``codes``,
    the bundled name or folder of the codes that the decoder is trained for.
    """

    model: dict[str, Any] = field(default_factory=dict)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_toml(self) -> str:
        """The whole recipe, defaults written out, as TOML that :func:`load_recipe` reads."""
        return "\n".join(_toml_section(name, value) for name, value in self.to_dict().items())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """Build and check a recipe.

        Raises:
            ConfigError: unknown section or key (names the nearest), wrong type, bad value.
        """
        sections = {f.name: f for f in fields(cls)}
        built: dict[str, Any] = {}
        for name, section in values.items():
            if name not in sections:
                raise ConfigError(f"{where}: no section [{name}]; {nearest(name, sections)}")
            if not isinstance(section, Mapping):
                raise ConfigError(f"{where}: [{name}] must be a section, not {section!r}")
            kind = SECTION_TYPES.get(name)
            built[name] = build(kind, section, f"{where}: [{name}]") if kind else dict(section)
        recipe = cls(**built)
        _check(recipe, where)
        return recipe


SECTION_TYPES: dict[str, type] = {
    "loss": LossConfig,
    "data": DataConfig,
    "augment": AugmentConfig,
    "optim": OptimConfig,
    "train": TrainConfig,
}


def _check(recipe: Recipe, where: str) -> None:
    """Values that would only fail hours later, or silently."""

    def need(ok: bool, text: str) -> None:
        if not ok:
            raise ConfigError(f"{where}: {text}")

    data, aug, opt, run = recipe.data, recipe.augment, recipe.optim, recipe.train
    need(data.crop_seconds > 0, f"crop_seconds = {data.crop_seconds} must be above 0")
    need(data.batch_size > 0, f"batch_size = {data.batch_size} must be at least 1")
    need(data.workers > 0, f"workers = {data.workers} must be at least 1")
    for key in ("gain_db", "speed", "band_limit_hz", "mix_db"):
        pair = getattr(aug, key)
        need(len(pair) == 2 and pair[0] <= pair[1], f"{key} = {pair} must be [low, high]")
    need(aug.speed[0] > 0.25, f"speed = {aug.speed} must be above 0.25")
    need(len(opt.betas) == 2, f"betas = {opt.betas} must be two numbers")
    need(
        opt.schedule in SCHEDULES,
        f"schedule = {opt.schedule!r}; allowed: {', '.join(SCHEDULES)}",
    )
    need(
        opt.schedule != "time" or run.time_limit_minutes > 0,
        'schedule = "time" needs time_limit_minutes above 0',
    )
    windows = (*recipe.loss.windows, *recipe.loss.band_windows)
    need(bool(recipe.loss.windows), "windows must not be empty")
    need(bool(recipe.loss.band_windows), "band_windows must not be empty")
    need(
        min(windows, default=4) >= 4, f"windows of {min(windows, default=4)} samples are too short"
    )
    need(recipe.loss.band_hop > 0, f"band_hop = {recipe.loss.band_hop} must be at least 1")
    need(run.precision in ("fp32", "bf16"), f"precision = {run.precision!r}; allowed: fp32, bf16")
    need(0 <= run.ema_decay < 1, f"ema_decay = {run.ema_decay} must be in [0, 1)")
    rates = run.bitrates_kbps
    need(
        bool(rates) and all(0 < kbps < math.inf for kbps in rates),
        f"bitrates_kbps = {rates} must be one or more numbers above 0",
    )
    need(0 <= run.bitrate_spread < 1, f"bitrate_spread = {run.bitrate_spread} must be in [0, 1)")


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply ``section.key=value`` overrides.

    Raises:
        ConfigError: file missing or no TOML, unknown key (names the nearest), wrong type or value.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read recipe {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path} is not valid TOML: {error}") from None
    for override in overrides:
        _override(values, override)
    return Recipe.from_dict(values, str(path))


def _override(values: dict[str, Any], override: str) -> None:
    """Apply ``section.key=value``; ``section.key.entry=value`` reaches into a table."""
    name, equals, text = override.partition("=")
    section, _, key = name.strip().partition(".")
    if not equals or not key:
        raise ConfigError(f"--set {override!r}: expected section.key=value")
    try:
        value = tomllib.loads(f"v = {text.strip()}")["v"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    table = values.setdefault(section, {})
    kind = SECTION_TYPES.get(section)
    head, _, entry = key.partition(".")
    is_table = kind is not None and any(
        f.name == head and str(f.type).startswith("dict") for f in fields(kind)
    )
    if entry and is_table:  # the rest of the name is one key, dots included ("encoder.in_proj")
        table[head] = {**table.get(head, {}), entry: value}
    else:
        table[key] = value


def with_changes(recipe: Recipe, section: str, **changes: Any) -> Recipe:
    """A copy of the recipe with some keys of one section changed."""
    return replace(recipe, **{section: replace(getattr(recipe, section), **changes)})


def _toml_section(name: str, values: Mapping[str, Any]) -> str:
    flat = {k: v for k, v in values.items() if not isinstance(v, Mapping) and v is not None}
    tables = {k: v for k, v in values.items() if isinstance(v, Mapping)}
    lines = [f"[{name}]", *(f"{_toml_key(k)} = {_toml_value(v)}" for k, v in flat.items()), ""]
    return "\n".join(lines) + "".join(
        "\n" + _toml_section(f"{name}.{_toml_key(k)}", v) for k, v in tables.items()
    )


def _toml_key(key: str) -> str:
    bare = key.replace("_", "").replace("-", "")
    return key if bare.isalnum() and bare.isascii() else json.dumps(key, ensure_ascii=False)


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # JSON's scalars are TOML's
