"""Dependencies go in one direction, and light things stay light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src/eulerodec"

# A part may import from the parts before it. A new part needs a place in this list.
ORDER = (
    "errors",
    "files",
    "tabular",
    "settings",
    "samples",
    "bitstream",
    "nn",
    "quantize",
    "model",
    "audio",
    "metrics",
    "codec",
    "runtime",
    "export",
    "packets",
    "hf",
    "adapters",
    "tokens",
    "train",
    "evaluate",
    "cli",
    "__main__",
)
# Parts that may import less than what is before them.
ONLY = {
    "samples": set(),
    "settings": {"errors"},
    "tabular": {"files"},
    "bitstream": {"errors", "settings"},
    "nn": {"errors"},
    "quantize": {"errors", "bitstream", "settings"},
    "model": {"errors", "nn", "quantize", "settings"},
    "audio": {"errors", "files"},
    "metrics": {"errors", "audio"},
}
# Packages from outside, besides the standard library, that a part may import.
OUTSIDE = {
    "errors": set(),
    "files": set(),
    "settings": set(),
    "tabular": set(),
    "samples": set(),
    "bitstream": {"numpy"},
    "nn": {"torch"},
    "quantize": {"numpy", "safetensors", "torch"},
    "model": {"numpy", "torch"},
    "audio": {"av", "numpy", "soundfile", "soxr"},
    "codec": {"huggingface_hub", "numpy", "safetensors", "torch"},
    "runtime": {"numpy", "onnxruntime"},
    "export": {"onnx_ir", "onnxscript", "torch"},
    "packets": {"numpy", "torch"},
    "hf": {"torch", "transformers"},
    "adapters": {"SoundCodec", "lhotse", "numpy", "torch"},
    "tokens": {"numpy", "pyarrow", "torch"},
}
NEVER = {"pickle", "marshal", "shelve", "dill", "joblib", "torchaudio", "torchcodec", "librosa"}
FILES = sorted(ROOT.rglob("*.py"))


def part_of(path):
    """`nn` for nn/conv.py, `audio` for audio.py, `` for the package's own __init__."""
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def module_of(path):
    """`eulerodec.nn.conv` for nn/conv.py, `eulerodec.nn` for nn/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("eulerodec", *parts)).removesuffix(".__init__")


def imports(path):
    """Dotted names of everything a file imports, inside functions too.

    `from eulerodec import nn` imports eulerodec.nn, if there is such a module, else eulerodec.
    """
    modules = {module_of(file) for file in FILES}
    package = ("eulerodec", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            for alias in node.names:
                inside = f"{module}.{alias.name}"
                yield inside if inside in modules else module


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


def test_the_page_shows_the_folders_and_their_imports():
    """If this fails, put the line it names into docs/architecture.md."""
    graph = {part: set() for part in ORDER}
    for path in FILES:
        if part := part_of(path):
            graph[part] |= inner(path) - {part}
    page = (ROOT.parents[1] / "docs/architecture.md").read_text(encoding="utf-8")
    for part in ORDER:
        if (ROOT / part).is_dir():
            used = [p for p in ORDER if p in graph[part] and (ROOT / p).is_dir()]
            line = next((x for x in page.splitlines() if x.startswith(f"| `{part}/` |")), "")
            end = f" | {', '.join(used)} |"
            assert line.endswith(end), f"| `{part}/` | ...{end}"


def test_the_root_holds_only_folders_and_few_files():
    files = {path.name for path in ROOT.iterdir() if path.is_file()}
    assert files <= {
        "__init__.py",
        "__main__.py",
        "errors.py",
        "files.py",
        "settings.py",
        "tabular.py",
        "py.typed",
    }


def test_no_import_circle():
    """Between modules, imports inside functions and for types alone included."""
    modules = {module_of(path): path for path in FILES}
    graph = {name: set(imports(path)) & modules.keys() - {name} for name, path in modules.items()}
    TopologicalSorter(graph).prepare()


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
        ("eulerodec.runtime", {"torch", "onnxruntime", "soundfile", "soxr"}),
        ("eulerodec.codec.weights", {"torch", "numpy", "soundfile"}),
        ("eulerodec.metrics", {"torch", "scipy", "soundfile", "pesq"}),
        ("eulerodec.tokens", {"torch", "numpy", "pyarrow"}),
        ("eulerodec.train", {"torch", "numpy"}),
        ("eulerodec.cli", {"torch", "numpy", "scipy", "matplotlib", "rich"}),
    ],
)
def test_importing_is_light(module, heavy):
    script = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not heavy & set(run.stdout.split())
