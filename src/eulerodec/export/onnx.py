"""Graphs of the network to ONNX files."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError

__all__ = ["check_packages", "graph_bytes"]

OPSET = 20  # the first with GELU; onnxruntime 1.17 knows it
_PACKAGES = ("onnx", "onnxscript")


def check_packages() -> None:
    """See that what an export needs is installed.

    Raises:
        ConfigError: if not; it says how to get it.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"export needs {' and '.join(missing)}: pip install 'eulerodec[export]'")


def graph_bytes(graph: nn.Module, example: Mapping[str, Tensor], outputs: Sequence[str]) -> bytes:
    """A module as an ONNX file whose inputs' last axes, time, may have any length from 2 on.

    Args:
        graph: takes the tensors of ``example`` by position.
        example: name of each input, and a tensor of its shape.
        outputs: names.
    """
    dynamic = {name: {x.ndim - 1: torch.export.Dim.DYNAMIC} for name, x in example.items()}
    with _quiet(), torch.no_grad():
        exported = torch.export.export(graph, tuple(example.values()), dynamic_shapes=dynamic)
        program = torch.onnx.export(
            exported, input_names=list(example), output_names=list(outputs), opset_version=OPSET,
            dynamo=True, optimize=False, verbose=False,
        )  # fmt: skip
        assert program is not None
        _simplify(program.model)
    return program.model_proto.SerializeToString()


def _simplify(model: Any) -> None:
    """Folds constants, as torch's own optimiser does.

    It would also drop what it takes for zero, which 1e-8, a floor under logarithms and roots, is
    to it: the spectrum of a silent band then came out wrong.
    """
    import onnx_ir.passes.common as passes
    from onnxscript import optimizer

    optimizer.inline(model)
    optimizer.fold_constants(model)
    optimizer.remove_unused_nodes(model)
    for step in (
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
    ):
        step(model)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own future, and on packages that are not needed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
