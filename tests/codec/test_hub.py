"""Weights on a hub: one on the loopback address, its cache, and the cards that it reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.fake_hub import FakeHub, serve

from eulerodec import Codec
from eulerodec.codec import hub as hub_module
from eulerodec.errors import ConfigError, WeightsError

needs_hub = pytest.mark.skipif(
    not hub_module._installed(), reason="huggingface_hub is not installed"
)

PROLOGUE = """
import sys
from eulerodec import Codec, EuleroDecError
from eulerodec.cli import main
from eulerodec.samples import SAMPLE

def load(*names, **options):
    codec = Codec.from_pretrained(*names, **options)
    print(codec.name, codec.weights_sha256[:16], codec.codes_sha256[:16])

def fails(action, *names, **options):
    try:
        action(*names, **options)
    except EuleroDecError as error:
        print(type(error).__name__, error)
    else:
        print("no error")

DIR = sys.argv[1]
"""


def python(home: Path, endpoint: str, code: str, directory: Path) -> list[str]:
    """Lines that a program prints: the package reads its settings when it is imported."""
    env = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_none",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    command = [sys.executable, "-c", PROLOGUE + code, str(directory)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | env, cwd=home.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def identity(directory: Path) -> str:
    codec = Codec.from_pretrained(directory)
    return f"{codec.name} {codec.weights_sha256[:16]} {codec.codes_sha256[:16]}"


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def hub():
    with serve() as hub:
        yield hub


@needs_hub
def test_pushed_weights_come_back_with_their_identity(hub: FakeHub, weights, tmp_path):
    lines = python(
        tmp_path / "home",
        hub.endpoint,
        """
codec = Codec.from_pretrained(DIR)
print(codec.push_to_hub("user/tiny", message="first"))
load("user/tiny")
print(codec.push_to_hub("user/tiny", revision="next"))
load("user/tiny", "cpu", revision="next")
fails(load, "user/gone")
fails(load, "user/tiny", revision="gone")
fails(load, "user/other", local_files_only=True)
main(["info", "user/tiny"])
main(["encode", str(SAMPLE), "-o", "a.eul", "--weights", "user/tiny"])
""",
        weights,
    )
    want = identity(weights)
    files = hub.repos["user/tiny"]["main"]
    assert files.keys() >= {"config.json", "model.safetensors", "codes.safetensors", "README.md"}
    assert lines[0].startswith(f"{hub.endpoint}/user/tiny/commit/")
    assert lines[1] == lines[3] == want
    assert hub.repos["user/tiny"]["next"] == files
    start = "WeightsError no weights 'user/{}': no directory, and not loaded from the hub: {}"
    for line, name, reason in (
        (lines[4], "gone", "no such repository, or one that needs 'hf auth login'"),
        (lines[5], "tiny", "it has no such revision"),
        (lines[6], "other", "not in the cache, and the hub was not asked or cannot be reached"),
    ):
        assert line == start.format(name, reason)
    assert any(want.split()[1] in line for line in lines[7:])  # what `info` says
    assert (tmp_path / "a.eul").stat().st_size > 1_000


@needs_hub
def test_what_is_in_the_cache_needs_no_network(hub: FakeHub, weights, other_weights, tmp_path):
    home, endpoint = tmp_path / "home", hub.endpoint
    old = hub.commit("user/tiny", "main", files_of(weights))
    want = identity(weights)
    assert python(home, endpoint, "load('user/tiny')", weights) == [want]
    asked = len(hub.requests)
    code = f"load('user/tiny', local_files_only=True); load('user/tiny', revision={old!r})"
    assert python(home, endpoint, code, weights) == [want, want]
    assert not [line for line in hub.requests[asked:] if "user/tiny" in line]
    hub.commit("user/tiny", "main", files_of(other_weights))
    code = f"load('user/tiny', local_files_only=True); load('user/tiny', revision={old!r})"
    assert python(home, endpoint, f"load('user/tiny'); {code}", weights) == [
        identity(other_weights), identity(other_weights), want,
    ]  # fmt: skip
    nowhere = "http://127.0.0.1:9"  # the port of the discard service: nobody listens
    code = "load('user/tiny'); fails(load, 'user/new')"
    found = python(home, nowhere, code, weights)
    assert found[0] == identity(other_weights)
    assert found[1].endswith("the hub was not asked or cannot be reached")


@needs_hub
def test_only_files_of_weights_are_taken(hub: FakeHub, weights, tmp_path):
    extra = {"evil.py": b"raise SystemExit", "pytorch_model.bin": b"pickle"}
    hub.commit("user/tiny", "main", files_of(weights) | extra)
    python(tmp_path / "home", hub.endpoint, "load('user/tiny')", weights)
    names = {path.name for path in (tmp_path / "home").rglob("*")}
    assert "config.json" in names and not names & extra.keys()


@needs_hub
def test_a_damaged_download_is_found(hub: FakeHub, weights, tmp_path):
    files = files_of(weights)
    tensors = bytearray(files["model.safetensors"])
    tensors[-1] ^= 1
    hub.commit("user/tiny", "main", files | {"model.safetensors": bytes(tensors)})
    lines = python(tmp_path / "home", hub.endpoint, "fails(load, 'user/tiny')", weights)
    assert "damaged" in lines[0] and "sha256" in lines[0]


@needs_hub
def test_a_hub_that_refuses_a_push(weights, tmp_path):
    code = "fails(Codec.from_pretrained(DIR).push_to_hub, 'user/tiny')"
    (line,) = python(tmp_path / "home", "http://127.0.0.1:9", code, weights)
    assert line.startswith("WeightsError user/tiny: not written to the hub: ")


def test_without_the_package_a_line_says_what_to_install(codec, monkeypatch):
    monkeypatch.setattr(hub_module, "_installed", lambda: False)
    with pytest.raises(WeightsError, match=r"'user/name': neither .* pip install 'eulerodec\[hub"):
        Codec.from_pretrained("user/name")
    with pytest.raises(ConfigError, match=r"pip install 'eulerodec\[hub\]'"):
        codec.push_to_hub("user/name")


def test_names_that_are_none_of_a_hub(codec, weights, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="is no repository"):
        Codec.from_pretrained(weights, revision="main")
    for name in ("a/b/c", "/a/b", "../a", "a/", "-a/b"):
        with pytest.raises(WeightsError, match="neither a directory nor bundled"):
            Codec.from_pretrained(name)
        with pytest.raises(ConfigError, match="user/name"):
            codec.push_to_hub(name)
    monkeypatch.chdir(tmp_path)
    codec.save_pretrained("runs/mine")  # a directory is taken before a repository of its name
    assert Codec.from_pretrained("runs/mine").weights_sha256 == codec.weights_sha256


# --- cards


def test_cards_have_the_metadata_that_a_hub_reads(codec, tmp_path):
    cards = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    codec.save_pretrained(tmp_path)
    card = cards.ModelCard.load(tmp_path / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "eulerodec" and data["pipeline_tag"] == "audio-to-audio"
    assert data["license"] == "cc0-1.0" and "audio-codec" in data["tags"]
    assert card.text.strip() == "# Tiny"
    before = (tmp_path / "README.md").read_bytes()
    Codec.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_bytes() == before


def test_a_card_is_written_where_there_is_none_and_guesses_no_licence(codec, tmp_path):
    own = Codec(codec.model, name="mine", about={"licence": "ask me: please"})
    own.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: eulerodec\n") and "\n# mine\n" in text
    assert "license" not in text
