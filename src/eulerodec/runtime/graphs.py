"""The two halves of the network, run by onnxruntime."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..quantize import Known
from .folder import ANALYSIS_FILE, DECODER_FILE, Folder

__all__ = ["Graphs"]

Floats = NDArray[np.float32]


class Graphs:
    """Graphs of a folder; each is read when it is first needed.

    Args:
        folder: with the graphs.
        threads: of the CPU; None: as onnxruntime thinks fit.

    Raises:
        ConfigError: onnxruntime is not installed.
    """

    def __init__(self, folder: Folder, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(
                "coding without torch needs onnxruntime: pip install 'eulerodec[onnx]'"
            ) from error
        self._folder, self._runtime = folder, onnxruntime
        self._options = onnxruntime.SessionOptions()
        self._options.log_severity_level = 3
        if threads is not None:
            self._options.intra_op_num_threads = threads

    def _session(self, name: str) -> Any:
        data = self._folder.read(name)
        return self._runtime.InferenceSession(
            data, self._options, providers=["CPUExecutionProvider"]
        )

    @functools.cached_property
    def _decoder(self) -> Any:
        return self._session(DECODER_FILE)

    @functools.cached_property
    def _analysis(self) -> Any:
        return self._session(ANALYSIS_FILE)

    def analysis(self, wav: Floats) -> tuple[Floats, Floats]:
        """Samples ``[C, (T + 1) hop]`` -> latents ``[C, D, T]``, log10 energies ``[C, N, T]``."""
        rows = [
            self._analysis.run(["z", "bands"], {"wav": np.ascontiguousarray(row[None])})
            for row in wav
        ]
        return np.concatenate([z for z, _ in rows]), np.concatenate([bands for _, bands in rows])

    def decode(self, known: Known) -> Floats:
        """T >= 2 frames of C channels -> samples ``[C, (T - 1) hop]``; frame t starts at
        (t - 1) hop of them."""
        inputs = {
            "z": known.z, "bands": known.bands,
            "n_stages": known.n_stages.astype(np.int64),
            "n_energies": known.n_energies.astype(np.int64),
        }  # fmt: skip
        rows = [
            self._decoder.run(
                ["wav"], {k: np.ascontiguousarray(x[c : c + 1]) for k, x in inputs.items()}
            )[0]
            for c in range(len(known.z))
        ]
        return np.concatenate(rows)
