"""The codec as programs without torch meet it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..bitstream import EulReader, StreamInfo
from ..errors import BitstreamError, WeightsError
from ..files import PathLike, Sink, Source, naming, open_input
from ..quantize.array_coding import ArrayCoding
from ..quantize.code_file import codes_sha256, read_codes
from .decoder import decoded_parts
from .folder import CODES_FILE, Folder
from .graphs import Graphs

__all__ = ["OnnxCodec"]

Floats = NDArray[np.float32]


class OnnxCodec:
    """Decodes sound ``.eul`` files with a folder that ``eulerodec export`` made.

    Args:
        directory: the folder.
        threads: of the CPU; None: as onnxruntime thinks fit.

    Raises:
        WeightsError: there is no such folder, or it is damaged.
        ConfigError: onnxruntime is not installed.

    Attributes:
        facts: what the folder says of itself.
    """

    def __init__(self, directory: PathLike, threads: int | None = None) -> None:
        folder = Folder(directory)
        self.facts = folder.facts
        self._graphs = Graphs(folder, threads)
        tables, books, weight = read_codes(folder.read(CODES_FILE))
        self._coding = ArrayCoding(tables, books, weight)
        self._hash = bytes.fromhex(codes_sha256(tables, books))[:8]

    def decompress(self, data: bytes, sample_rate: int | None = None) -> tuple[Floats, int]:
        """Bytes of an ``.eul`` file to audio float32 ``[C, N]`` and its sample rate in Hz.

        Args:
            data: all of the file.
            sample_rate: of the audio, Hz; that of the input by default.

        Raises:
            BitstreamError: no file, or a damaged one.
            WeightsError: it was made with other codes.
        """
        reader = EulReader(io.BytesIO(data))
        rate = self._rate(reader.info, sample_rate)
        parts = decoded_parts(reader, self._graphs, self._coding, self.facts, rate)
        nothing = np.zeros((reader.info.n_channels, 0), np.float32)
        return np.concatenate([nothing, *parts], 1), rate

    def decode_file(
        self,
        source: Source,
        target: Sink,
        *,
        sample_rate: int | None = None,
        subtype: str = "PCM_16",
    ) -> None:
        """An ``.eul`` file to an audio file; memory does not grow with its length.

        Args:
            source: a path, ``-`` for standard input, or a binary file object.
            target: a path, ``-`` for standard output, or a binary file object.
            sample_rate: of the audio, Hz; that of the input by default.
            subtype: ``"PCM_16"``, clipped to full scale, or ``"FLOAT"``.

        Raises:
            BitstreamError: ``source`` is missing, no ``.eul`` file, or damaged.
            WeightsError: it was made with other codes.
            OSError: ``target`` cannot be written; there is then none, or the one from before.
        """
        with open_input(source, "an .eul file", BitstreamError) as file, naming(source):
            reader = EulReader(file)
            rate = self._rate(reader.info, sample_rate)
            info = reader.info
            tags = audio.Tags(info.metadata.title, info.metadata.comment)
            with audio.open_writer(
                target, rate, info.n_channels, subtype=subtype, tags=tags
            ) as out:
                for part in decoded_parts(reader, self._graphs, self._coding, self.facts, rate):
                    out.write(part)

    def _rate(self, info: StreamInfo, sample_rate: int | None) -> int:
        """The rate of the output, once it is clear that the file fits."""
        facts = self.facts
        if info.weights_hash != self._hash:
            raise WeightsError(
                f"made with the codes {info.weights_hash.hex()} of {info.model_id!r}, but those of"
                f" {facts.name!r} are {self._hash.hex()}: decode with weights that have these codes"
            )
        if (info.sample_rate, info.hop_length) != (facts.sample_rate, facts.hop_length):
            raise BitstreamError(
                f"codes of {info.sample_rate} Hz and {info.hop_length} samples a frame do not fit"
                f" these weights: {facts.sample_rate} Hz, {facts.hop_length} samples"
            )
        most, bits = self._coding.max_codebooks, self._coding.tables.codebook_bits
        if info.n_codebooks and (info.n_codebooks > most or info.codebook_bits != bits):
            raise BitstreamError(
                f"{info.n_codebooks} codes of {info.codebook_bits} bits a frame do not fit these"
                f" weights: up to {most} of {bits} bits"
            )
        return audio.check_sample_rate(
            info.input_sample_rate if sample_rate is None else sample_rate
        )
