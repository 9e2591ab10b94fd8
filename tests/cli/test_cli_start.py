"""How a command starts: what it imports, seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.cli import put

pytestmark = pytest.mark.usefixtures("here")

# A part of torch that takes longer to import than all of the rest, and what it needs.
COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}

SCRIPT = """
import sys
from eulerodec.cli import main
code = main(sys.argv[1:])
print("imported", *sys.modules)
sys.exit(code)
"""


def imported(argv: list[str], code: int) -> set[str]:
    """The modules that a command imports."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *argv], capture_output=True, text=True, check=False
    )
    assert run.returncode == code, run.stderr
    return set(run.stdout[run.stdout.rindex("imported") :].split()[1:])


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--help"], 0),
        (["encode", "--help"], 0),
        (["encode", "nothing.wav"], 3),
        (["encode", "nothing.wav", "-o", "a.eul", "--title", "a"], 3),
        (["decode", "nothing.eul"], 3),
        (["play", "nothing.eul"], 3),
        (["info", "nothing.eul"], 3),
        (["rate", "nothing.eul", "-o", "a.eul", "--bitrate", "3"], 3),
    ],
)
def test_help_and_a_missing_file_need_neither_torch_nor_numpy(argv, code):
    assert not imported(argv, code) & {"torch", "numpy", "soundfile", "soxr"}


@pytest.mark.parametrize(
    "argv",
    [
        ["info", "a.eul"],
        ["rate", "a.eul", "-o", "b.eul", "--bitrate", "3"],
        ["cut", "a.eul", "-o", "b.eul", "--to", "1"],
        ["concat", "a.eul", "a.eul", "-o", "b.eul"],
    ],
)
def test_files_are_described_and_edited_without_torch(stream: bytes, argv):
    Path("a.eul").write_bytes(stream)
    assert not imported(argv, 0) & {"torch", "scipy", "matplotlib"}


def test_a_wrong_number_of_threads_is_known_without_torch():
    Path("a.eul").touch()
    assert "torch" not in imported(["decode", "a.eul", "-o", "b.wav", "--threads", "0"], 2)


def test_encoding_and_decoding_do_not_import_the_compiler_of_torch(w):
    put("a.wav")
    assert not imported(["encode", "a.wav", *w], 0) & COMPILER
    assert not imported(["decode", "a.eul", "-o", "b.wav", *w], 0) & COMPILER


def test_collection_of_garbage_goes_on_after_the_start(w):
    put("a.wav")
    script = "import gc, sys; from eulerodec.cli import main; main(sys.argv[1:])"
    script += "; print(gc.isenabled(), gc.get_freeze_count() > 0)"
    command = [sys.executable, "-c", script, "encode", "a.wav", *w]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True"]
