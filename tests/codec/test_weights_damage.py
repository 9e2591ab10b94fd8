"""Weights that are damaged or made to do harm: a WeightsError, no memory for what they claim."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import build
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors

from eulerodec.codec.building import built_of
from eulerodec.codec.weights import (
    DEFAULT_WEIGHTS,
    _check_shapes,
    load_codes,
    load_weights,
    save_weights,
)
from eulerodec.errors import WeightsError

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
from fuzz_weights import mutate_weights


@pytest.fixture
def copy(weights: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(weights, tmp_path / "copy"))


def set_config(directory: Path, **changes: object) -> None:
    path = directory / "config.json"
    fields = json.loads(path.read_text())
    fields.pop("weights_sha256", None)
    path.write_text(json.dumps(fields | changes))


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decoder_channels", 2**40),
        ("decoder_channels", 2**20),
        ("decoder_blocks", 10**9),
        ("decoder_blocks", 1000),
        ("pitch_channels", 2**20),
        ("attention_window", [2**20, 1]),
        ("latent_dim", -8),
        ("hop_length", 0),
        ("hop_length", 2**20),
        ("hop_length", 256),
        ("sample_rate", 0),
        ("sample_rate", 8000),
        ("bands", 0),
        ("time_heads", 0),
        ("kernel_size", "3"),
        ("kernel_size", 2**19 + 1),
        ("no_such_setting", 1),
        ("attention_window", [2**30, 1]),
        ("attention_window", [1]),
        ("attention_window", 7),
        ("latent_exponent", "nan"),
        ("latent_exponent", float("nan")),
        ("latent_dim", 8.0),
        ("latent_dim", True),
        ("latent_dim", None),
        ("codes", 3),
        ("codes", {}),
        ("codes", "no-such-weights"),
        ("codes", "../eulerodec-24khz"),
        ("name", 3),
        ("name", {"a": 1}),
    ],
)
def test_settings_that_make_no_network(copy, name, value):
    set_config(copy, **{name: value})
    before = peak_kib()
    with pytest.raises(WeightsError, match="copy") as caught:
        load_weights(copy)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500 + 2 * len(str(copy))
    assert peak_kib() - before < 200_000  # the real network is a megabyte


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": ' + "9" * 10_000 + "}", '"\\ud800"'])
def test_json_that_is_made_to_hurt(copy, text):
    (copy / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_weights(copy)


def stored(head: object, body: bytes = b"") -> bytes:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        (2**62).to_bytes(8, "little") + b"{}",
        stored([]),
        stored(b"[" * 100_000),
        stored({"a": 1}),
        stored({"a": {"dtype": "F32", "shape": [2**60, 2**60], "data_offsets": [0, 8]}}),
        stored({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 8]}}),
        stored({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        stored({"a": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "codes.safetensors"])
def test_tensor_files_that_are_made_to_hurt(copy, name, data):
    set_config(copy)
    (copy / name).write_bytes(data)
    with pytest.raises(WeightsError, match=name) as caught:
        load_weights(copy)
    assert "\n" not in str(caught.value)


def change_codes(directory: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    path = directory / "codes.safetensors"
    arrays = load_arrays(path.read_bytes())
    change(arrays)
    path.write_bytes(save_arrays({k: np.ascontiguousarray(v) for k, v in arrays.items()}))


def set_number(name: str, place: object, value: object) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][place] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.pop("codebooks"), "codebooks is missing"),
        (lambda a: a.pop("band_width"), "tensors must be"),
        (lambda a: a.update(new=np.zeros(1, np.int16)), "tensors must be"),
        (lambda a: a.update(codebooks=a["codebooks"][:-1]), "do not fit the tables"),
        (lambda a: a.update(codebooks=a["codebooks"].astype(np.float32)), "must be float16"),
        (lambda a: a.update(codebooks=a["codebooks"][..., :-2]), "do not fit hop_length"),
        (set_number("codebooks", (0, 0, 0), np.nan), "NaN"),
        (set_number("energy_weight", 0, np.inf), "infinite"),
        (lambda a: a.update(energy_weight=a["energy_weight"][1:]), "energy_weight"),
        (lambda a: a.update(energy_mean=a["energy_mean"].astype(np.int32)), "energy_mean must be"),
        (lambda a: a.update(latent_counts=a["latent_counts"][:, :0]), "shape"),
        (set_number("latent_counts", (0, 0, 0), 60_000), "must sum to 65536"),
        (set_number("energy_class", 0, 0), "energy_class is out of range"),
        (set_number("latent_plane", 0, 255), "must not come before"),
        (set_number("loudness_steps", 0, 2**62), "must rise"),
    ],
)
def test_codes_that_do_not_fit_together(copy, change, words):
    """Whatever passes here, packets are decoded by."""
    change_codes(copy, change)
    with pytest.raises(WeightsError, match=words) as caught:
        load_weights(copy)
    assert "copy" in str(caught.value) and "\n" not in str(caught.value)


def test_codes_of_bundled_weights_by_name(tmp_path):
    """What a decoder that was trained on says in place of 28 MB."""
    book = load_codes(DEFAULT_WEIGHTS)
    save_weights(tmp_path, build(book=book), name="other decoder")
    (tmp_path / "codes.safetensors").unlink()
    set_config(tmp_path, codes=DEFAULT_WEIGHTS)
    assert load_weights(tmp_path).model.book.sha256 == book.sha256
    set_config(tmp_path, codes=None)
    with pytest.raises(WeightsError, match=r"codes\.safetensors: no such file"):
        load_weights(tmp_path)


def test_shapes_that_agree_but_are_not_in_the_file(copy):
    """The header promises the right tensors, the data behind it is not there."""
    set_config(copy)
    path = copy / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: 8 + int.from_bytes(data[:8], "little")])
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(copy)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "codes.safetensors"])
def test_what_is_no_regular_file(copy, name):
    """Reading a pipe would wait for ever, reading a device never ends."""
    set_config(copy)
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(WeightsError, match=f"{name}: not a regular file"):
        load_weights(copy)
    (copy / name).unlink()
    (copy / name).mkdir()
    with pytest.raises(WeightsError, match=f"{name}: not a regular file"):
        load_weights(copy)


def test_files_that_are_too_long_are_not_read(copy):
    set_config(copy)
    for name, size in (
        ("model.safetensors", 2**33), ("codes.safetensors", 2**29), ("config.json", 2**21)
    ):  # fmt: skip
        os.truncate(copy / name, size)  # sparse: takes no disk
        with pytest.raises(WeightsError, match=f"{name}: {size} bytes"):
            load_weights(copy)


def test_a_network_is_not_built_beyond_what_the_file_has(weights):
    """It ends at the first parameter that the file lacks, which nothing has been written to."""
    shapes = [tuple(x.shape) for x in build().state_dict().values()]
    made = []

    def layers():
        for size in (8, 1 << 18):
            layer = torch.nn.Linear(size, size)  # the second would take 256 GB
            made.append(layer)
        return torch.nn.Sequential(*made)

    before = peak_kib()
    assert built_of(layers, [(8, 8), (8,), (8, 8), (8,)]) is None
    assert len(made) == 1 and peak_kib() - before < 50_000
    assert built_of(build, shapes) is not None
    assert built_of(build, shapes[1:]) is None
    assert built_of(build, shapes[:-1]) is None
    assert torch.nn.Linear(3, 4).weight.shape == (4, 3)  # the check is over


def test_other_threads_build_what_they_like_meanwhile():
    other = []

    def layer():
        thread = threading.Thread(target=lambda: other.append(torch.nn.Linear(5, 7)))
        thread.start()
        thread.join()
        return torch.nn.Linear(2, 3)

    assert built_of(layer, [(3, 2), (3,)]) is not None
    assert len(other) == 1


def test_shapes_that_do_not_fit_are_compared_without_memory(copy, monkeypatch):
    """Every tensor that the message is made from is a meta tensor."""
    seen = []
    check = _check_shapes

    def spy(shapes, expected, path):
        seen.extend(tensor.device.type for tensor in expected.values())
        check(shapes, expected, path)

    monkeypatch.setattr("eulerodec.codec.weights._check_shapes", spy)
    set_config(copy, pitch_channels=2**20)
    with pytest.raises(
        WeightsError, match=r"model\.safetensors: tensor decoder\.pitch.* has shape"
    ):
        load_weights(copy)
    assert set(seen) == {"meta"}


def test_loading_gives_what_was_saved(copy):
    tensors = load_tensors((copy / "model.safetensors").read_bytes())
    model = load_weights(copy).model
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name


def test_mutated_weights_load_or_say_why(weights, tmp_path):
    rng = random.Random(0)
    for _ in range(40):
        mutate_weights(weights, tmp_path, rng)
        try:
            load_weights(tmp_path)
        except WeightsError as error:
            assert "\n" not in str(error)
