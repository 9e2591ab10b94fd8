"""A codec to a folder that holds all that coding without torch needs."""

from __future__ import annotations

from pathlib import Path

import torch

from ..codec import Codec
from ..files import PathLike
from ..runtime.folder import ANALYSIS_FILE, CODES_FILE, DECODER_FILE, Facts, write_folder
from .graphs import AnalysisGraph, DecoderGraph, without_fft
from .onnx import check_packages, graph_bytes

__all__ = ["export_onnx"]

_FRAMES = 130  # of the example; more than the attention's blocks, and no special number


def export_onnx(codec: Codec, directory: PathLike) -> list[Path]:
    """Write the graphs of a codec, and what is needed beside them; takes a minute or two.

    Args:
        codec: whose weights are taken.
        directory: of the files (:mod:`eulerodec.runtime.folder`), made if missing.

    Returns:
        The files.

    Raises:
        ConfigError: a package that this needs is missing.
        OSError: the files cannot be written.
    """
    check_packages()
    model = without_fft(codec.model)
    n_bands, width = model.bands.count, model.book.codebooks.shape[2]
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
                # of each input a tensor of its own: an export takes one tensor for one input
                "n_stages": torch.full((1, _FRAMES), 3),
                "n_energies": torch.full((1, _FRAMES), 3),
            },
            ["wav"],
        ),
        CODES_FILE: model.book.to_bytes(),
    }
    facts = Facts(
        name=codec.name,
        weights_sha256=codec.weights_sha256,
        sample_rate=model.sample_rate,
        hop_length=model.hop_length,
        look_back=model.decoder.look_back,
        look_ahead=model.decoder.look_ahead,
        sha256={},
    )
    return write_folder(directory, facts, files)
