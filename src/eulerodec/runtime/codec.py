"""The codec as programs without torch meet it."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import audio
from ..bitstream import EulReader, EulWriter, Metadata, Packet, StreamInfo, dumps
from ..codec.checks import checked_array
from ..codec.headers import Framing, check_constant
from ..codec.options import with_tags
from ..errors import BitstreamError
from ..files import PathLike, Sink, Source, atomic_output, naming, open_input
from ..quantize import DEFAULT_BEAM
from ..quantize.array_coding import ArrayCoding
from ..quantize.code_file import codes_sha256, read_codes
from .decoder import decoded_parts
from .encoder import PacketEncoder
from .folder import CODES_FILE, Folder
from .graphs import Graphs

__all__ = ["OnnxCodec"]

Floats = NDArray[np.float32]


class OnnxCodec:
    """Encodes and decodes with a folder that ``eulerodec export`` made.

    Files are those of :class:`eulerodec.Codec`, whose options beyond the ones here need torch.

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
        self._framing = Framing(
            name=self.facts.name,
            codes_hash=bytes.fromhex(codes_sha256(tables, books))[:8],
            sample_rate=self.facts.sample_rate,
            hop_length=self.facts.hop_length,
            codebook_bits=tables.codebook_bits,
            max_codebooks=self._coding.max_codebooks,
            look_back=self.facts.look_back,
            look_ahead=self.facts.look_ahead,
        )

    def compress(
        self,
        wav: ArrayLike,
        sample_rate: int,
        bitrate_kbps: float | None = None,
        *,
        n_codebooks: int | None = None,
        beam: int = DEFAULT_BEAM,
    ) -> bytes:
        """Audio to the bytes of an ``.eul`` file.

        Args:
            wav: floats ``[N]`` or ``[C, N]``, full scale -1 to 1.
            sample_rate: of ``wav``, Hz.
            bitrate_kbps: of each channel, any number from 1 to 16, by default 6.
            n_codebooks: in place of a bitrate: so many codes for every frame.
            beam: paths of the code search, 1 to 64.

        Raises:
            AudioError: samples or a rate that cannot be coded.
            ConfigError: a bitrate or another option out of range.
        """
        x = checked_array(wav)
        rate = audio.check_sample_rate(sample_rate)
        info = self._info(len(x), rate, bitrate_kbps, n_codebooks, x.shape[1], Metadata())
        encoder = PacketEncoder(self._graphs, self._coding, self.facts, info, beam)
        return dumps(info, encoder.push(x) + encoder.flush())

    def encode_file(
        self,
        source: Source,
        target: Sink,
        *,
        bitrate_kbps: float | None = None,
        n_codebooks: int | None = None,
        beam: int = DEFAULT_BEAM,
    ) -> None:
        """An audio file to an ``.eul`` file; memory does not grow with its length.

        Args:
            source: a path, ``-`` for standard input, or a binary file object.
            target: a path, ``-`` for standard output, or a binary file object.
            bitrate_kbps, n_codebooks, beam: as for :meth:`compress`.

        Raises:
            AudioError: ``source`` is missing, no audio, or damaged.
            ConfigError: as for :meth:`compress`, and a target whose name says audio.
            OSError: ``target`` cannot be written; there is then none, or the one from before.
        """
        audio.check_eul_name(target)
        with audio.open_reader(source) as reader:
            info = self._info(
                reader.n_channels, reader.sample_rate, bitrate_kbps, n_codebooks,
                reader.n_samples, with_tags(None, reader.tags),
            )  # fmt: skip
            encoder = PacketEncoder(self._graphs, self._coding, self.facts, info, beam)
            with atomic_output(target) as sink:
                writer = EulWriter(sink, info)
                for block in reader.blocks():
                    _write(writer, encoder.push(block))
                _write(writer, encoder.flush())
                writer.close(encoder.n_samples, encoder.n_input_samples)

    def _info(
        self,
        n_channels: int,
        sample_rate: int,
        bitrate_kbps: float | None,
        n_codebooks: int | None,
        n_input_samples: int | None,
        metadata: Metadata,
    ) -> StreamInfo:
        """The header of a file; ``n_input_samples`` may be open."""
        info = self._framing.stream_info(
            bitrate_kbps=bitrate_kbps,
            n_codebooks=n_codebooks,
            n_channels=n_channels,
            sample_rate=sample_rate,
            metadata=metadata,
        )
        if n_input_samples is None:
            return info
        n_samples = audio.resampled_length(n_input_samples, sample_rate, info.sample_rate)
        return info.with_counts(n_samples, n_input_samples)

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
        self._framing.check(info)
        check_constant(info, self._framing.max_codebooks, self._framing.codebook_bits)
        return audio.check_sample_rate(
            info.input_sample_rate if sample_rate is None else sample_rate
        )


def _write(writer: EulWriter, packets: Iterable[Packet]) -> None:
    for packet in packets:
        writer.write(packet.payload or b"", packet.n_frames)
