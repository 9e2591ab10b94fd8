"""What the documentation shows, runs; what it says in numbers, holds."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch

from eulerodec import Codec
from eulerodec.cli import cli
from eulerodec.codec.weights import DEFAULT_WEIGHTS, bundled_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


PYTHON = blocks("python")
COMMANDS = [
    line.split("#")[0].strip()
    for block in blocks("sh")
    for line in block.splitlines()
    if line.startswith("eulerodec ")
]


@pytest.fixture
def any_weights(weights, tmp_path, monkeypatch):
    """The bundled weights, or those of a tiny network in their place."""
    if DEFAULT_WEIGHTS not in bundled_names():
        shutil.copytree(weights, tmp_path / "weights" / DEFAULT_WEIGHTS)
        monkeypatch.setattr("eulerodec.codec.weights._BUNDLED", tmp_path / "weights")


def test_there_are_examples():
    assert len(PYTHON) == 3 and len(COMMANDS) >= 12


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_examples_run(code, any_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("command", COMMANDS)
def test_command_line_examples_parse(command):
    _, verb, *arguments = shlex.split(command)
    chosen = cli.get_command(click.Context(cli), verb)
    assert chosen is not None
    chosen.make_context(verb, arguments)  # raises for an unknown option


def test_make_targets_exist():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    targets = re.findall(r"(?:^|`)make ([\w-]+)", pages, flags=re.M)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_demo_installs_what_it_needs_and_no_more(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    command = ["make", "-n", "demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.findall(r"-e '\.\[(.*)\]'", done.stdout) == ["demo"]


def test_extras_exist():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(re.findall(r"\.\[(\w+)\]", README)) <= set(project["optional-dependencies"])


def test_the_readme_can_be_read_on_a_package_index():
    """Where relative links are dead: files of the repository are named instead, and exist."""
    for target in re.findall(r"(?<!!)\[[^]]*\]\(([^)]+)\)", README):
        assert target.startswith(("https://", "#")), target
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README):  # its words stand for it there
        assert (ROOT / picture).is_file(), picture
    named = re.findall(r"`((?:\w+/)+[\w.-]*\w\.(?:md|py|toml))`", README)
    assert len(named) > 10
    for path in named:
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
    for path in re.findall(r"recipes/[\w-]+\.toml", page.read_text(encoding="utf-8")):
        assert (ROOT / path).is_file()


def test_scores_have_their_table():
    table = README.split("<!-- scores -->")[1].split("<!-- /scores -->")[0]
    head = table.strip().splitlines()[0]
    for column in ("set", "kbps measured", "SI-SDR", "PESQ-WB", "STOI"):
        assert column in head


def test_architecture_states_the_numbers_of_the_model():
    model = Codec.from_pretrained().model
    decoder, book = model.decoder, model.book
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    for text in (
        f"| decoder | {decoder.look_ahead} frames | {decoder.look_back} frames |",
        f"| {model.look_ahead} samples | {model.receptive_field - model.look_ahead - 1} samples |",
        f"= {model.latency_s:.3f} s",
        f"receptive field is {model.receptive_field}\nsamples",
        f"| parameters | {parameters:.1f} M | {book.codebooks.numel() / 1e6:.1f} M numbers |",
        f"width {model.config.decoder_channels}",
        f"{book.n_codebooks} stages of 2048 codes",
    ):
        assert text in ARCHITECTURE, text
    assert f"looks {1000 * model.latency_s:.0f} ms ahead" in README
    assert f"{parameters:.1f} M parameters" in README


def test_benchmark_has_help():
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "speed.py"), "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--json" in run.stdout
