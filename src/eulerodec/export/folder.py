"""A folder that holds all that coding without torch needs: graphs, codes and facts.

- ``analysis.onnx``, ``decoder.onnx``: the graphs of :mod:`.graphs`
- ``codes.safetensors``: what the bits of a file mean, as beside the weights
- ``onnx.json``, written last: name and sha256 of the weights, numbers that fix the framing, and the
  sha256 of the other files
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from ..codec import Codec
from ..files import PathLike, write_bytes
from .graphs import AnalysisGraph, DecoderGraph, without_fft
from .onnx import check_packages, graph_bytes

__all__ = ["export_onnx"]

FORMAT = 1
ANALYSIS_FILE, DECODER_FILE = "analysis.onnx", "decoder.onnx"
CODES_FILE, FACTS_FILE = "codes.safetensors", "onnx.json"
_FRAMES = 130  # of the example; more than the attention's blocks, and no special number


def export_onnx(codec: Codec, directory: PathLike) -> list[Path]:
    """Write the graphs of a codec, and what is needed beside them; takes a minute or two.

    Args:
        codec: whose weights are taken.
        directory: of the files, made if missing.

    Returns:
        The files.

    Raises:
        ConfigError: a package that this needs is missing.
        OSError: the files cannot be written.
    """
    check_packages()
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    model = without_fft(codec.model)
    n_bands, width = model.bands.count, model.book.codebooks.shape[2]
    known = torch.full((1, _FRAMES), 3)
    files = {
        ANALYSIS_FILE: graph_bytes(
            AnalysisGraph(model),
            {"wav": torch.zeros(1, (_FRAMES + 1) * model.hop_length)},
            ["z", "bands"],
        ),
        DECODER_FILE: graph_bytes(
            DecoderGraph(model),
            {
                "z": torch.zeros(1, width, _FRAMES),
                "bands": torch.zeros(1, n_bands, _FRAMES),
                "n_stages": known,
                "n_energies": known.clone(),  # an export takes one tensor for one input
            },
            ["wav"],
        ),
        CODES_FILE: model.book.to_bytes(),
    }
    facts = {
        "format": FORMAT,
        "name": codec.name,
        "weights_sha256": codec.weights_sha256,
        "sample_rate": model.sample_rate,
        "hop_length": model.hop_length,
        "look_back": model.decoder.look_back,
        "look_ahead": model.decoder.look_ahead,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    files[FACTS_FILE] = (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode()
    for name, data in files.items():
        write_bytes(directory / name, data)
    return [directory / name for name in files]
