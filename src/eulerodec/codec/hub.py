"""Weights on the Hugging Face Hub, or on a server of its kind (package ``huggingface_hub``)."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigError, WeightsError
from ..files import PathLike
from .weights import CARD_FILE, CODES_FILE, CONFIG_FILE, TENSOR_FILE, find_weights

__all__ = ["locate", "upload"]

_FEATURES_FILE = "preprocessor_config.json"  # of eulerodec.hf
_FILES = [CONFIG_FILE, TENSOR_FILE, CODES_FILE, CARD_FILE, _FEATURES_FILE]  # no others come or go
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_INSTALL = "pip install 'eulerodec[hub]'"


def locate(
    name_or_dir: PathLike, revision: str | None = None, local_files_only: bool = False
) -> Path:
    """The directory of weights given by a path, a bundled name, or ``user/name`` on the hub.

    Those of the hub are kept in its cache. The hub is asked for the newest ones; where it cannot be
    reached, and for a commit that is in the cache, the cache is enough.

    Args:
        name_or_dir: a directory is taken first, then a bundled name.
        revision: a branch, tag or commit of the hub's repository.
        local_files_only: only look into the cache.

    Raises:
        WeightsError: there are none, or the package is missing.
        ConfigError: a revision of what is not on the hub.
    """
    name = str(name_or_dir)
    if not _REPOSITORY.fullmatch(name) or Path(name).is_dir():
        if revision is not None:
            raise ConfigError(f"revision={revision!r}: {name} is no repository user/name of a hub")
        return find_weights(name_or_dir)
    if not _installed():
        raise WeightsError(
            f"no weights {name!r}: neither a directory nor bundled; for a hub: {_INSTALL}"
        )
    from huggingface_hub import snapshot_download

    with _one_line(f"no weights {name!r}: no directory, and not loaded from the hub"):
        return Path(
            snapshot_download(
                name,
                revision=revision,
                local_files_only=local_files_only,
                allow_patterns=_FILES,
                library_name="eulerodec",
            )
        )


def upload(
    directory: PathLike, repo_id: str, *, revision: str | None, private: bool | None, message: str
) -> str:
    """Commit the files of a directory of weights; see ``Codec.push_to_hub``."""
    if not _REPOSITORY.fullmatch(repo_id):
        raise ConfigError(f"a repository of the hub is user/name, not {repo_id!r}")
    if not _installed():
        raise ConfigError(f"huggingface_hub is missing: {_INSTALL}")
    from huggingface_hub import HfApi

    api = HfApi(library_name="eulerodec")
    with _one_line(f"{repo_id}: not written to the hub"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=Path(directory),
            revision=revision,
            commit_message=message,
            allow_patterns=_FILES,
        )
    return commit.commit_url


def _installed() -> bool:
    return importlib.util.find_spec("huggingface_hub") is not None


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Errors of the hub, the network and the cache as one line."""
    from huggingface_hub import errors

    # the bases are those of the library for HTTP, which differs between versions
    anything: Any = (*errors.HfHubHTTPError.__bases__, OSError, ValueError)
    try:
        yield
    except errors.RepositoryNotFoundError as error:
        reason = "no such repository, or one that needs 'hf auth login'"
        raise WeightsError(f"{what}: {reason}") from error
    except errors.RevisionNotFoundError as error:
        raise WeightsError(f"{what}: it has no such revision") from error
    except errors.LocalEntryNotFoundError as error:
        reason = "not in the cache, and the hub was not asked or cannot be reached"
        raise WeightsError(f"{what}: {reason}") from error
    except anything as error:
        raise WeightsError(f"{what}: {' '.join(str(error).split()):.300}") from error
