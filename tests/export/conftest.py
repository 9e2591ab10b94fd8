"""Exported folders; without the packages that make and run them, these tests are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from eulerodec.codec import Codec
from eulerodec.export import export_onnx

NEEDED = ("onnx", "onnxruntime", "onnxscript")


@pytest.fixture(scope="session")
def packages() -> None:
    for name in NEEDED:
        pytest.importorskip(name, reason=f"needs {name}: pip install 'eulerodec[dev]'")


@pytest.fixture(scope="session")
def graphs(packages: None, codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The very small network, exported."""
    folder = tmp_path_factory.mktemp("export") / "tiny"
    export_onnx(codec, folder)
    return folder
