"""Dependencies go in one direction, and light things stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src/eulerodec"

# A part may import from the parts before it. A new part needs a place in this list.
ORDER = (
    "errors",
    "files",
    "bitstream",
    "nn",
    "quantize",
    "losses",
    "model",
    "twins",
    "pretrained",
    "wav",
    "audio",
    "concealment",
    "streaming",
    "metrics",
    "encoded",
    "decoding",
    "codec",
    "packets",
    "train",
    "evaluate",
    "research",
    "demo",
    "doctor",
    "cli",
    "__main__",
)
# Parts that may import less than what is before them.
ONLY = {"bitstream": {"errors"}, "nn": {"errors"}, "losses": {"errors", "nn"}}
# Packages from outside, besides the standard library, that a part may import.
OUTSIDE = {
    "errors": set(),
    "files": set(),
    "bitstream": {"numpy", "safetensors"},
    "nn": {"torch"},
    "quantize": {"torch"},
    "losses": {"torch"},
    "concealment": {"torch"},
    "streaming": {"numpy", "torch"},
    "decoding": {"numpy", "torch"},
    "packets": {"numpy", "torch"},
    "wav": {"numpy"},
    "model": {"numpy", "torch"},
    "twins": {"torch"},
    "audio": {"numpy", "soundfile", "soxr"},
}
NEVER = {"pickle", "marshal", "shelve", "dill", "joblib", "torchaudio", "torchcodec", "librosa"}
FILES = sorted(ROOT.rglob("*.py"))


def part_of(path):
    """`nn` for nn/conv.py, `audio` for audio.py, `` for the package's own __init__."""
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(path):
    """Dotted names of everything a file imports, inside functions too."""
    package = ("eulerodec", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield module
            if module == "eulerodec":  # `from eulerodec import nn` imports a part
                yield from (f"eulerodec.{alias.name}" for alias in node.names)


def inner(path):
    names = (name.split(".") for name in imports(path))
    return {name[1] for name in names if name[0] == "eulerodec" and len(name) > 1}


def outer(path):
    names = {name.split(".")[0] for name in imports(path)}
    return names - {"eulerodec", "__future__"} - sys.stdlib_module_names


def test_every_part_has_a_place():
    assert {part_of(path) for path in FILES} - {""} <= set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path):
    part = part_of(path)
    if part == "":
        pytest.skip("the package itself names all parts; that it is lazy is tested below")
    assert part in ORDER, f"give {part} a place in ORDER"
    allowed = ONLY.get(part, set(ORDER[: ORDER.index(part)])) | {part}
    assert inner(path) & set(ORDER) <= allowed
    if part in OUTSIDE:
        assert outer(path) <= OUTSIDE[part]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_that_runs_code_from_files_or_breaks_between_releases(path):
    assert not {name.split(".")[0] for name in imports(path)} & NEVER


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("eulerodec", {"torch", "numpy", "soundfile", "soxr", "matplotlib"}),
        ("eulerodec.errors", {"torch", "numpy"}),
        ("eulerodec.bitstream", {"torch", "scipy", "soundfile"}),
        ("eulerodec.audio", {"torch", "scipy", "matplotlib"}),
        ("eulerodec.cli", {"torch", "scipy", "matplotlib", "rich"}),
    ],
)
def test_importing_is_light(module, heavy):
    script = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not heavy & set(run.stdout.split())
