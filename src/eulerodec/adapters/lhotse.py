"""An audio backend for lhotse, which reads and writes ``.eul`` files (``'eulerodec[lhotse]'``).

>>> import lhotse  # doctest: +SKIP
>>> from eulerodec.adapters.lhotse import EulBackend  # doctest: +SKIP
>>> lhotse.set_current_audio_backend(EulBackend())  # doctest: +SKIP
>>> recording = lhotse.Recording.from_file("talk.eul")  # doctest: +SKIP
>>> recording.load_audio(offset=1.5, duration=3)  # decodes no more than that  # doctest: +SKIP
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .. import read
from ..bitstream import MAGIC, EulReader
from ..codec import Codec
from ..errors import BitstreamError
from ..files import naming, open_input

try:
    from lhotse.audio.backend import (
        AudioBackend,
        LibsndfileCompatibleAudioInfo,
        get_default_audio_backend,
    )
except ImportError as error:
    raise ImportError(
        "eulerodec.adapters.lhotse needs lhotse: pip install 'eulerodec[lhotse]'"
    ) from error

__all__ = ["EulBackend"]


class EulBackend(AudioBackend):
    """Takes ``.eul`` files, by name or by their first bytes, and leaves others to lhotse's own.

    Args:
        codec: of the files; by default the bundled weights, loaded on first use.
        bitrate_kbps: of each channel of files that are saved; 6 by default.
    """

    def __init__(self, codec: Codec | None = None, bitrate_kbps: float | None = None) -> None:
        self._codec, self._bitrate_kbps = codec, bitrate_kbps
        self._others: AudioBackend = get_default_audio_backend()

    def read_audio(
        self,
        path_or_fd: Any,
        offset: float = 0.0,
        duration: float | None = None,
        force_opus_sampling_rate: int | None = None,
    ) -> tuple[NDArray[np.float32], int]:
        """Samples float32 ``[C, N]`` and their rate; of an ``.eul`` file see ``eulerodec.read``."""
        if _is_eul(path_or_fd):
            return read(path_or_fd, offset_s=offset, duration_s=duration, codec=self._codec)
        return self._others.read_audio(path_or_fd, offset, duration, force_opus_sampling_rate)

    def info(self, path_or_fd: Any, force_opus_sampling_rate: int | None = None) -> Any:
        """Channels, samples, rate and duration; of an ``.eul`` file without decoding it."""
        if not _is_eul(path_or_fd):
            return self._others.info(path_or_fd, force_opus_sampling_rate)
        what = "an .eul file"
        with open_input(path_or_fd, what, BitstreamError, seek=True) as file, naming(path_or_fd):
            file.seek(0)
            reader = EulReader(file)
            reader.scan()
            file.seek(0)
        rate, n_samples = reader.info.input_sample_rate, reader.info.n_input_samples or 0
        return LibsndfileCompatibleAudioInfo(
            reader.info.n_channels, n_samples, rate, n_samples / rate
        )

    def save_audio(
        self,
        dest: str | Path | BytesIO,
        src: Tensor | NDArray[Any],
        sampling_rate: int,
        format: str | None = None,
        encoding: str | None = None,
    ) -> None:
        """Write ``[C, N]`` as an ``.eul`` file, if its name or ``format="eul"`` says so."""
        if format != "eul" and not _is_eul_name(dest):
            self._others.save_audio(dest, src, sampling_rate, format, encoding)
            return
        codec = self._codec or Codec.from_pretrained()
        codec.encode(src, sampling_rate, bitrate_kbps=self._bitrate_kbps).save(dest)

    def supports_info(self) -> bool:
        return True

    def supports_save(self) -> bool:
        return True


def _is_eul_name(path: Any) -> bool:
    return isinstance(path, str | Path) and os.fspath(path).lower().endswith(".eul")


def _is_eul(path_or_fd: Any) -> bool:
    if not hasattr(path_or_fd, "read"):
        return _is_eul_name(path_or_fd)
    start = path_or_fd.read(len(MAGIC))
    path_or_fd.seek(0)
    return start == MAGIC
