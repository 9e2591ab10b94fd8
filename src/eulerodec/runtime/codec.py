"""The codec as programs without torch meet it."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import audio
from ..bitstream import EulReader, EulWriter, Metadata, Packet, StreamInfo, dumps
from ..codec.checks import DEFAULT_BITRATE_KBPS, MAX_CHANNELS, checked_array, checked_bitrate
from ..codec.options import with_tags
from ..errors import BitstreamError, ConfigError, WeightsError
from ..files import PathLike, Sink, Source, atomic_output, naming, open_input
from ..quantize import DEFAULT_BEAM
from ..quantize.array_coding import ArrayCoding
from ..quantize.code_file import codes_sha256, read_codes
from ..settings import whole
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
        self._hash = bytes.fromhex(codes_sha256(tables, books))[:8]

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
        facts, coding = self.facts, self._coding
        if n_codebooks is None:
            bitrate_kbps = checked_bitrate(
                DEFAULT_BITRATE_KBPS if bitrate_kbps is None else bitrate_kbps
            )
        elif bitrate_kbps is not None:
            raise ConfigError("bitrate_kbps and n_codebooks say the same: give one of them")
        else:
            n_codebooks = whole("n_codebooks", n_codebooks, 1, coding.max_codebooks)
        info = StreamInfo(
            model_id=facts.name,
            weights_hash=self._hash,
            input_sample_rate=sample_rate,
            bitrate_kbps=bitrate_kbps,
            n_codebooks=n_codebooks,
            codebook_bits=None if n_codebooks is None else coding.tables.codebook_bits,
            n_channels=whole("n_channels", n_channels, 1, MAX_CHANNELS),
            sample_rate=facts.sample_rate,
            hop_length=facts.hop_length,
            metadata=metadata,
        )
        # as the codec does: files say what a decoder sees if it is more than readers expect
        needed = facts.look_back + 1, facts.look_ahead + 2
        if needed[0] > info.context[0] or needed[1] > info.context[1]:
            info = info.replace(context=(max(64, needed[0]), max(32, needed[1])))
        if n_input_samples is None:
            return info
        n_samples = audio.resampled_length(n_input_samples, sample_rate, facts.sample_rate)
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


def _write(writer: EulWriter, packets: Iterable[Packet]) -> None:
    for packet in packets:
        writer.write(packet.payload or b"", packet.n_frames)
