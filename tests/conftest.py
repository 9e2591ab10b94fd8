"""Fixtures that need weights: a very small network with random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cli import speech
from helpers.models import build, few_codes

from eulerodec import audio
from eulerodec.codec import Codec
from eulerodec.codec.weights import save_weights
from eulerodec.samples import SAMPLE

# Folders of tests whose results depend on how float sums are rounded, that is on the processor.
NUMERIC = {"nn", "quantize", "model", "codec", "packets", "metrics"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in NUMERIC:
            item.add_marker("numeric")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of weights."""
    directory = tmp_path_factory.mktemp("weights") / "tiny"
    about = {"licence": "CC0-1.0", "data": ["noise"]}
    save_weights(directory, build(seed=0), name="tiny", about=about, card="# Tiny\n")
    return directory


@pytest.fixture(scope="session")
def other_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with other values, for other codes."""
    directory = tmp_path_factory.mktemp("weights") / "other"
    save_weights(directory, build(seed=1, book=few_codes(seed=1)), name="other")
    return directory


@pytest.fixture(scope="session")
def codec(weights: Path) -> Codec:
    return Codec.from_pretrained(weights)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def w(weights: Path) -> list[str]:
    """The option that gives the tiny weights."""
    return ["--weights", str(weights)]


@pytest.fixture
def stream(codec: Codec) -> bytes:
    """6 s at 6 kbps: six packets."""
    return codec.compress(speech(144_000), 24_000, 6)


@pytest.fixture(scope="session")
def talk() -> np.ndarray:
    """3 s of speech, [N] at 24 kHz."""
    return audio.read(SAMPLE)[0][0, 24_000:96_000]


@pytest.fixture(scope="session")
def packages() -> None:
    """Skips what exports and runs graphs where that cannot be done."""
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason=f"needs {name}: pip install 'eulerodec[dev]'")


@pytest.fixture(scope="session")
def graphs(packages: None, codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The very small network, exported."""
    from eulerodec.export import export_onnx

    folder = tmp_path_factory.mktemp("export") / "tiny"
    export_onnx(codec, folder)
    return folder
