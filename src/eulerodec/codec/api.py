"""The codec as a user meets it: audio at any rate to codes, bytes or files, and back.

:class:`Codec` adds to the network (``codec.model``) what files need: weights, resampling,
channels, exact lengths and the ``.eul`` container. There is no state: every call says its bitrate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .. import audio
from ..bitstream import EulReader, Metadata, StreamInfo
from ..errors import AudioError, BitstreamError, ConfigError
from ..files import PathLike, Sink, Source, input_name, naming, open_input
from ..quantize import DEFAULT_BEAM
from .batch import decode_rows
from .card import model_card
from .checks import DEFAULT_BITRATE_KBPS
from .encoded import Encoded, Seconds, lowered, open_range
from .files import FileReport, Progress, decode_to, encode_to
from .headers import Framing
from .hub import locate, upload
from .info import MAX_BITRATE_KBPS, MIN_BITRATE_KBPS, CodecInfo
from .options import EncodeOptions, with_tags
from .segments import FileDecoder
from .streaming import (
    BLOCK_FRAMES,
    LIVE_BLOCK_FRAMES,
    LIVE_PACKET_FRAMES,
    StreamDecoder,
    StreamEncoder,
    checked_samples,
    file_block_frames,
)
from .together import encode_together
from .weights import DEFAULT_WEIGHTS, load_weights, save_weights, weights_hash

if TYPE_CHECKING:
    from ..model import EuleroDec

__all__ = ["DEFAULT_BITRATE_KBPS", "Codec"]

_PACKETS_AT_ONCE = 8  # between two reports of progress


class Codec:
    """Encoder and decoder with one set of weights.

    Build it with :meth:`from_pretrained`, or from a model of your own. ``codec.model`` is the
    plain ``nn.Module``; calls here use it in eval mode and give results on the CPU.

    Everything that encodes takes a bitrate (kbps of each channel, 6 by default) and the keyword
    arguments of :class:`~eulerodec.codec.options.EncodeOptions`.
    """

    def __init__(
        self,
        model: EuleroDec,
        *,
        name: str = "unnamed",
        weights_sha256: str | None = None,
        about: dict[str, Any] | None = None,
        card: str = "",
        dtypes: dict[str, torch.dtype] | None = None,
    ) -> None:
        """
        Args:
            model: the network.
            name: of the weights, written to files.
            weights_sha256: identity of the weights; computed if absent.
            about, card: what is known of the weights, and their model card.
            dtypes: how the weights were stored, so that :meth:`save_pretrained` does the same.
        """
        self.model = model.eval()
        self.name = name
        self.weights_sha256 = weights_sha256 or weights_hash(model)
        self._about = about or {}
        self._card = card
        self._dtypes = dtypes or {}

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: PathLike = DEFAULT_WEIGHTS,
        device: str | torch.device = "cpu",
        *,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> Codec:
        """Load bundled weights by name, or weights of a directory or of the Hugging Face Hub.

        Those of the hub are kept in its cache, and taken from there where it cannot be reached.

        Args:
            name_or_dir: a name (``eulerodec info`` lists the bundled ones), a directory, or a
                repository ``user/name`` of the hub (``pip install 'eulerodec[hub]'``).
            device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ..., or ``"auto"``: CUDA if there is one.
            revision: a branch, tag or commit of the repository.
            local_files_only: take what is in the cache, and do not ask the hub.

        Raises:
            WeightsError: there are none, or they are damaged.
            ConfigError: the device is not available, or a revision of what is no repository.
        """
        loaded = load_weights(locate(name_or_dir, revision, local_files_only))
        codec = cls(
            loaded.model,
            name=loaded.name,
            weights_sha256=loaded.sha256,
            about=loaded.about,
            card=loaded.card,
            dtypes=loaded.dtypes,
        )
        return codec.to(device)

    def save_pretrained(self, directory: PathLike) -> None:
        """Write config.json, model.safetensors, codes.safetensors, and a card: README.md.

        The card is the one that was loaded, or a few lines, below metadata that a hub reads.
        Weights that were loaded are stored as they were, so they keep their identity; if they were
        trained on since, ``weights_sha256`` is then that of the new ones.
        """
        self.weights_sha256 = save_weights(
            directory,
            self.model,
            name=self.name,
            about=self._about,
            card=model_card(self._card, self.name, self._about),
            dtypes=self._dtypes,
        )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        private: bool | None = None,
        message: str = "Weights of EuleroDec",
    ) -> str:
        """Write what :meth:`save_pretrained` writes to the Hugging Face Hub.

        Args:
            repo_id: a repository ``user/name``, made if there is none.
            revision: a branch, made if there is none; the main one by default.
            private: whether a repository that is made is private; the account's default if None.
            message: of the commit.

        Returns:
            The address of the commit.

        Raises:
            WeightsError: the hub cannot be reached, or does not accept them.
            ConfigError: a name that is no ``user/name``, or the package is missing
                (``pip install 'eulerodec[hub]'``).
        """
        with tempfile.TemporaryDirectory() as directory:
            self.save_pretrained(directory)
            return upload(directory, repo_id, revision=revision, private=private, message=message)

    def __repr__(self) -> str:
        return (
            f"Codec({self.name!r}, weights {self.weights_sha256[:16]}, {self.sample_rate} Hz,"
            f" {MIN_BITRATE_KBPS} to {MAX_BITRATE_KBPS} kbps, on {self.device})"
        )

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.model.stft.window.device

    def to(self, device: str | torch.device) -> Codec:
        """Move the network to a device (see :meth:`from_pretrained`); returns this codec."""
        self.model.to(_device(device))
        return self

    @property
    def sample_rate(self) -> int:
        """Sample rate of the model in Hz."""
        return self.model.sample_rate

    @property
    def codes_sha256(self) -> str:
        """Identity of what the bits of a file mean, 64 hex digits."""
        return self.model.book.sha256

    @property
    def info(self) -> CodecInfo:
        """What is fixed by the weights."""
        model = self.model
        return CodecInfo(
            name=self.name,
            weights_sha256=self.weights_sha256,
            codes_sha256=self.codes_sha256,
            sample_rate=model.sample_rate,
            hop_length=model.hop_length,
            frame_rate=model.frame_rate,
            n_codebooks=model.coder.max_codebooks,
            codebook_size=1 << self.model.book.tables.codebook_bits,
            kbps_per_codebook=self.model.book.tables.codebook_bits * model.frame_rate / 1000,
            bitrate_range_kbps=(MIN_BITRATE_KBPS, MAX_BITRATE_KBPS),
            parameters=sum(p.numel() for p in model.parameters()),
            receptive_field=model.receptive_field,
            look_ahead=model.look_ahead,
            receptive_field_ms=1000 * model.receptive_field / model.sample_rate,
            look_ahead_ms=1000 * model.look_ahead / model.sample_rate,
            latency_ms=1000 * model.latency_s,
            packet_ms=1000 * self.stream_info().frames_per_packet / model.frame_rate,
            live_packet_ms=1000 * LIVE_PACKET_FRAMES / model.frame_rate,
            about=self._about,
        )

    # ---- arrays -------------------------------------------------------------------------------

    def encode(
        self,
        wav: ArrayLike | Tensor,
        sample_rate: int,
        *,
        bitrate_kbps: float | None = None,
        progress: Progress | None = None,
        **options: Unpack[EncodeOptions],
    ) -> Encoded:
        """Audio to packets.

        Args:
            wav: float numpy array or tensor, ``[N]`` or ``[C, N]``, full scale -1 to 1. It is
                resampled to the model's rate and never normalised. Channels share the bitrate; with
                ``n_codebooks`` they do not influence each other.
            sample_rate: of ``wav``, Hz.
            bitrate_kbps: of each channel, any number from 1 to 16, by default 6;
                0.01 kbps is the step.
            progress: called with the fraction that is done.
            options: see :class:`~eulerodec.codec.options.EncodeOptions`.

        Raises:
            AudioError: samples or a rate that cannot be coded.
            ConfigError: a bitrate or another option out of range.
        """
        rate = audio.check_sample_rate(sample_rate)
        x = checked_samples(wav)
        encoder = self._encoder(len(x), rate, bitrate_kbps, x.shape[1], **options)
        packets = []
        for end in range(rate, x.shape[1] + rate, rate):
            packets += encoder.push_checked(x[:, end - rate : end])
            if progress is not None:
                progress(min(end / x.shape[1], 1.0))
        packets += encoder.flush()
        return Encoded(tuple(packets), encoder.info)

    def decode(
        self,
        encoded: Encoded,
        sample_rate: int | None = None,
        *,
        apply_gain: bool = False,
        block_frames: int = BLOCK_FRAMES,
        progress: Progress | None = None,
    ) -> Tensor:
        """Packets to audio. Nothing is clipped; packets that are lost are concealed.

        Args:
            encoded: what :meth:`encode` gave.
            sample_rate: of the audio, Hz; that of the input by default.
            apply_gain: multiply the audio by ``encoded.metadata.gain``, as a player may.
            block_frames: frames that are computed together.
            progress: called with the fraction that is done.

        Returns:
            A tensor (where ``audio.read`` gives an array), float32 ``[C, N]``, on the CPU. At the
            rate of the input N is exactly the input's length, else ceil(n_samples * sample_rate /
            input's rate).

        Raises:
            WeightsError: packets made with other codes.
            BitstreamError: packets that do not fit this model.
        """
        self._check_encoded(encoded)
        rate = audio.check_sample_rate(encoded.sample_rate if sample_rate is None else sample_rate)
        decoder = FileDecoder(self.model, encoded.info, rate, block_frames, apply_gain=apply_gain)
        parts, packets = [], encoded.packets
        for start in range(0, len(packets), _PACKETS_AT_ONCE):
            parts.append(decoder.push(packets[start : start + _PACKETS_AT_ONCE]))
            if progress is not None:
                progress(min((start + _PACKETS_AT_ONCE) / len(packets), 1.0))
        parts.append(decoder.finish(encoded.info, bool(encoded.damage)))
        return torch.cat(parts, 1)

    def encode_batch(
        self,
        wavs: Sequence[ArrayLike | Tensor],
        sample_rate: int,
        *,
        bitrate_kbps: float | None = None,
        **options: Unpack[EncodeOptions],
    ) -> list[Encoded]:
        """Many recordings of any lengths and channels.

        With ``n_codebooks``, and not on the CPU, packets of all recordings are searched together
        on the codec's device. A CPU is as fast with one after the other.

        Args:
            wavs: recordings as for :meth:`encode`, all at ``sample_rate`` (Hz).
            bitrate_kbps, options: as for :meth:`encode`.

        Returns:
            What :meth:`encode` gives for each, in order; searched together, but for codes that are
            equally near up to rounding.

        Raises:
            AudioError, ConfigError: as for :meth:`encode`; an AudioError names the recording.
        """
        rate = audio.check_sample_rate(sample_rate)
        together = options.get("n_codebooks") is not None and self.device.type != "cpu"
        found, encoders, waves = [], [], []
        for i, wav in enumerate(wavs):
            try:
                if together:
                    waves.append(x := checked_samples(wav))
                    encoders.append(
                        self._encoder(len(x), rate, bitrate_kbps, x.shape[1], **options)
                    )
                else:
                    found.append(self.encode(wav, rate, bitrate_kbps=bitrate_kbps, **options))
            except AudioError as error:
                raise AudioError(f"recording {i}: {error}") from error
        if encoders:
            infos, beam = [encoder.info for encoder in encoders], encoders[0].beam
            found = encode_together(self.model, infos, waves, beam)
        return found

    def decode_batch(
        self,
        items: Sequence[Encoded],
        sample_rate: int | None = None,
        *,
        block_frames: int = BLOCK_FRAMES,
    ) -> list[Tensor]:
        """Many recordings, several at a time through the network.

        Args:
            items: what :meth:`encode` or :meth:`encode_batch` gave. Damaged and joined files among
                them are decoded one by one.
            sample_rate: of the audio, Hz; that of each input by default.
            block_frames: frames that are computed together.

        Returns:
            What :meth:`decode` gives for each, within 1e-5, in order.

        Raises:
            WeightsError, BitstreamError: as for :meth:`decode`.
        """
        if sample_rate is not None:
            sample_rate = audio.check_sample_rate(sample_rate)
        sounds: list[Tensor] = [torch.empty(0)] * len(items)
        together = []
        for i, item in enumerate(items):
            self._check_encoded(item)
            if item.info.segments or item.damage or any(packet.lost for packet in item.packets):
                sounds[i] = self.decode(item, sample_rate, block_frames=block_frames)
            else:
                together.append(i)
        members = [items[i] for i in together]
        decoded = decode_rows(self.model, members, sample_rate, block_frames)
        for i, sound in zip(together, decoded, strict=True):
            sounds[i] = sound
        return sounds

    # ---- bytes and files ----------------------------------------------------------------------

    def compress(
        self,
        wav: ArrayLike | Tensor,
        sample_rate: int,
        bitrate_kbps: float | None = None,
        **options: Unpack[EncodeOptions],
    ) -> bytes:
        """Audio to the bytes of an ``.eul`` file; arguments and errors as for :meth:`encode`."""
        return self.encode(wav, sample_rate, bitrate_kbps=bitrate_kbps, **options).to_bytes()

    def decompress(
        self, data: bytes, sample_rate: int | None = None, *, recover: bool = False
    ) -> tuple[Tensor, int]:
        """Bytes of an ``.eul`` file to audio float32 ``[C, N]`` and its sample rate in Hz.

        Args:
            data: all of the file.
            sample_rate: of the audio, Hz; that of the input by default.
            recover: decode what is sound of a damaged file.

        Raises:
            BitstreamError: no file, or a damaged one; else as :meth:`decode`.
        """
        encoded = Encoded.from_bytes(data, recover=recover)
        return self.decode(encoded, sample_rate), int(sample_rate or encoded.sample_rate)

    def encode_file(
        self,
        source: Source,
        target: Sink,
        *,
        bitrate_kbps: float | None = None,
        recover: bool = False,
        make_folder: bool = False,
        progress: Progress | None = None,
        **options: Unpack[EncodeOptions],
    ) -> FileReport:
        """An audio file to an ``.eul`` file, block by block: memory does not grow with its length.

        WAV in a pipe is coded as it arrives. A pipe that does not say its length is live: smaller
        packets are taken, and a target that is a path is called ``target.part`` until
        the end, and stays if the stream is cut off.

        Args:
            source: a path, ``-`` for standard input, or a binary file object.
            target: a path, ``-`` for standard output, or a binary file object.
            bitrate_kbps: of each channel, 6 by default.
            recover: code what is there of a damaged or cut recording, with an AudioWarning.
            make_folder: the folder of ``target`` may be made, once ``source`` can be read.
            progress: called with the fraction that is done, unless the input is live.
            options: see :class:`~eulerodec.codec.options.EncodeOptions`; where ``metadata`` has no
                title or comment, those of the recording are taken.

        Raises:
            AudioError: ``source`` is missing, no audio, or damaged.
            ConfigError: as for :meth:`encode`, and a target whose name says audio.
            OSError: ``target`` cannot be written; there is then none, or the one from before.
        """
        audio.check_eul_name(target)
        with audio.open_reader(source, recover=recover) as reader:
            channels = reader.n_channels
            options["metadata"] = with_tags(options.get("metadata"), reader.tags)
            if reader.n_samples is None:
                options.setdefault("frames_per_packet", LIVE_PACKET_FRAMES)
            n_samples, rate = reader.n_samples, reader.sample_rate
            encoder = self._encoder(channels, rate, bitrate_kbps, n_samples, **options)
            return encode_to(target, reader, encoder, make_folder=make_folder, progress=progress)

    def decode_file(
        self,
        source: Source,
        target: Sink,
        *,
        bitrate_kbps: float | None = None,
        n_codebooks: int | None = None,
        start_s: Seconds | None = None,
        stop_s: Seconds | None = None,
        sample_rate: int | None = None,
        recover: bool = False,
        apply_gain: bool = False,
        subtype: str = "PCM_16",
        block_frames: int | None = None,
        make_folder: bool = False,
        progress: Progress | None = None,
    ) -> FileReport:
        """An ``.eul`` file to an audio file, block by block: memory does not grow with its length.

        Args:
            source, target: as for :meth:`encode_file`.
            bitrate_kbps: decode what a file of this lower rate would hold.
            n_codebooks: of the constant coding: decode only so many codes of each frame.
            start_s, stop_s: only the samples nearest to these seconds; start and end by default.
                Only what they need of the file is read; a pipe is read as a whole.
            sample_rate: of the audio, Hz; that of the input by default.
            recover: decode what is sound of a damaged file; with an AudioWarning for what is not.
            apply_gain: multiply the audio by the gain in the header.
            subtype: ``"PCM_16"``, clipped to full scale, or ``"FLOAT"``.
            block_frames: frames computed together, by default 24 for pipes and 128 for files.
            make_folder, progress: as for :meth:`encode_file`.

        Raises:
            BitstreamError: ``source`` is missing, no ``.eul`` file, or damaged.
            WeightsError: it was made with other weights.
            ConfigError: a bitrate that it does not have, or another option out of range.
            OSError: ``target`` cannot be written; there is then none, or the one from before.
        """
        if sample_rate is not None:
            sample_rate = audio.check_sample_rate(sample_rate)
        part = start_s is not None or stop_s is not None
        with open_input(source, "an .eul file", BitstreamError, seek=part) as file, naming(source):
            live = not file.seekable()
            reader = EulReader(file, recover=recover)
            self.check_stream(reader.info)
            info, packets = open_range(reader, start_s, stop_s)
            info, packets = lowered(info, packets, bitrate_kbps, n_codebooks)
            rate = sample_rate or info.input_sample_rate
            if block_frames is None:
                block_frames = LIVE_BLOCK_FRAMES if live else file_block_frames(info.n_channels)
            decoder = FileDecoder(self.model, info, rate, block_frames, apply_gain=apply_gain)
            return decode_to(
                input_name(source), target, reader, info, packets, decoder, rate,
                whole=not part, recover=recover, subtype=subtype,
                make_folder=make_folder, progress=progress,
            )  # fmt: skip

    # ---- streams ------------------------------------------------------------------------------

    def streaming_encoder(
        self,
        *,
        bitrate_kbps: float | None = None,
        n_channels: int = 1,
        sample_rate: int | None = None,
        **options: Unpack[EncodeOptions],
    ) -> StreamEncoder:
        """An encoder for chunks of audio, see :class:`StreamEncoder`; errors as :meth:`encode`.

        Args:
            bitrate_kbps: of each channel, 6 by default.
            n_channels: of the chunks.
            sample_rate: of the chunks, Hz; the model's by default.
            options: as for :meth:`encode`; packets have 24 frames by default.
        """
        options.setdefault("frames_per_packet", LIVE_PACKET_FRAMES)
        return self._encoder(
            n_channels, sample_rate or self.sample_rate, bitrate_kbps, None, **options
        )

    def streaming_decoder(
        self,
        info: StreamInfo,
        *,
        sample_rate: int | None = None,
        block_frames: int = LIVE_BLOCK_FRAMES,
    ) -> StreamDecoder:
        """A decoder for packets as they come, see :class:`StreamDecoder`.

        Args:
            info: the encoder's, or the header of a file.
            sample_rate: of the audio, Hz; that of the input by default.
            block_frames: frames that are computed together.

        Raises:
            WeightsError, BitstreamError: as for :meth:`decode`.
        """
        self.check_stream(info)
        return StreamDecoder(self.model, info, sample_rate=sample_rate, block_frames=block_frames)

    def stream_info(
        self,
        *,
        bitrate_kbps: float | None = None,
        n_codebooks: int | None = None,
        n_channels: int = 1,
        sample_rate: int | None = None,
        frames_per_packet: int = 0,
        metadata: Metadata | None = None,
    ) -> StreamInfo:
        """The header of a file of this codec, its sample counts left open.

        Args:
            bitrate_kbps: of each channel, 1 to 16, 6 by default.
            n_codebooks: in place of a bitrate: so many codes for every frame.
            n_channels: channels of the audio.
            sample_rate: of the input, Hz; the model's by default.
            frames_per_packet: 1 to 255; 0 takes the format's default.
            metadata: title, comment and gain.

        Raises:
            ConfigError: an argument out of range.
        """
        return self._framing.stream_info(
            bitrate_kbps=bitrate_kbps,
            n_codebooks=n_codebooks,
            n_channels=n_channels,
            sample_rate=sample_rate or self.sample_rate,
            frames_per_packet=frames_per_packet,
            metadata=metadata,
        )

    def check_stream(self, info: StreamInfo) -> None:
        """Check that a file can be decoded with these weights.

        Raises:
            WeightsError: it was made with other codes.
            BitstreamError: it contradicts these weights.
        """
        self._framing.check(info)

    def _check_encoded(self, encoded: object) -> None:
        if not isinstance(encoded, Encoded):
            raise ConfigError(
                f"decode takes an Encoded, not {type(encoded).__name__}: codes alone need a header,"
                " Encoded.from_codes(codes, codec.stream_info(n_codebooks=K))"
            )
        self.check_stream(encoded.info)

    def _encoder(
        self,
        n_channels: int,
        sample_rate: int,
        bitrate_kbps: float | None,
        n_input_samples: int | None,
        *,
        n_codebooks: int | None = None,
        beam: int = DEFAULT_BEAM,
        frames_per_packet: int = 0,
        carry: bool = True,
        metadata: Metadata | None = None,
    ) -> StreamEncoder:
        """An encoder of so many samples; None: of an unknown number."""
        info = self.stream_info(
            bitrate_kbps=bitrate_kbps,
            n_codebooks=n_codebooks,
            n_channels=n_channels,
            sample_rate=sample_rate,
            frames_per_packet=frames_per_packet,
            metadata=metadata,
        )
        if n_input_samples is not None:
            n_samples = audio.resampled_length(n_input_samples, sample_rate, self.sample_rate)
            info = info.with_counts(n_samples, n_input_samples)
        return StreamEncoder(self.model, info, beam=beam, carry=carry)

    @property
    def _framing(self) -> Framing:
        model = self.model
        return Framing(
            name=self.name,
            codes_hash=model.book.hash,
            sample_rate=model.sample_rate,
            hop_length=model.hop_length,
            codebook_bits=model.book.tables.codebook_bits,
            max_codebooks=model.coder.max_codebooks,
            look_back=model.decoder.look_back,
            look_ahead=model.decoder.look_ahead,
        )


def _device(name: str | torch.device) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {str(name)!r} is not available here; try cpu or auto") from error
    return device
