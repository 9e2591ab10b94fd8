"""Output files: complete, or not there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from eulerodec.errors import EuleroDecError
from eulerodec.files import atomic_output, write_bytes


def test_output_replaces_only_when_complete(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(EuleroDecError), atomic_output(path) as sink:
        sink.write(b"half")
        raise EuleroDecError("failed")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_output_keeps_mode_and_symbolic_link(tmp_path):
    path, link = tmp_path / "a.bin", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_bytes(link, b"new")
    assert link.is_symlink() and path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_new_output_has_the_usual_mode(tmp_path):
    write_bytes(tmp_path / "a.bin", b"")
    (tmp_path / "b.bin").write_bytes(b"")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "b.bin").stat().st_mode


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_device_is_written_to_not_replaced():
    write_bytes(os.devnull, b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(OSError, match="No space left") as caught:
        write_bytes("/dev/full", b"x")
    assert caught.value.filename == "/dev/full"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_leaves_nothing(tmp_path: Path):
    """The limit on the size of a file fails the write as a full disk does."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "import numpy as np; from eulerodec import audio\n"
        "try: audio.write(sys.argv[1], np.zeros(5000), 24000)\n"
        "except OSError as e: print(e.filename)"
    )
    path = str(tmp_path / "a.wav")
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == path
    assert list(tmp_path.iterdir()) == []


def test_output_directory_missing_or_a_directory_itself(tmp_path):
    with pytest.raises(OSError, match="nowhere") as caught:
        write_bytes(tmp_path / "nowhere" / "a.bin", b"")
    assert caught.value.filename == str(tmp_path / "nowhere" / "a.bin")
    with pytest.raises(IsADirectoryError):
        write_bytes(tmp_path, b"")
