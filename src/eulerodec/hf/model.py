"""The codec as an audio tokenizer of ``transformers``: the same codes as ``Codec``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import PreTrainedAudioTokenizerBase
from transformers.utils.generic import ModelOutput, can_return_tuple

from ..codec import Codec, Encoded
from ..codec.hub import upload
from ..codec.weights import DEFAULT_WEIGHTS, build_network
from ..errors import AudioError, BitstreamError, ConfigError
from ..files import PathLike
from .configuration import EuleroDecConfig
from .feature_extraction import EuleroDecFeatureExtractor

__all__ = [
    "EuleroDecDecoderOutput",
    "EuleroDecEncoderOutput",
    "EuleroDecModel",
    "EuleroDecOutput",
]

DEFAULT_CODES = 8  # of a frame: 8 kbps of the 24 kHz models
# What AutoModel gives to every model, and what says nothing new here.
_NOT_NEEDED = {"config", "trust_remote_code", "adapter_kwargs", "_from_auto"}


@dataclass
class EuleroDecEncoderOutput(ModelOutput):
    """
    Attributes:
        audio_codes: int64 ``[B, K, T]``; 0 behind the end of shorter items.
        levels: int64 ``[B, P]``, 0 to 255: how loud each packet is, see ``Encoded.levels``.
        padding_mask: as it was given.
    """

    audio_codes: Tensor | None = None
    levels: Tensor | None = None
    padding_mask: Tensor | None = None


@dataclass
class EuleroDecDecoderOutput(ModelOutput):
    """
    Attributes:
        audio_values: float32 ``[B, 1, N]``; 0 behind the end of shorter items.
    """

    audio_values: Tensor | None = None


@dataclass
class EuleroDecOutput(ModelOutput):
    """
    Attributes:
        audio_codes, levels: see :class:`EuleroDecEncoderOutput`.
        audio_values: see :class:`EuleroDecDecoderOutput`.
    """

    audio_codes: Tensor | None = None
    levels: Tensor | None = None
    audio_values: Tensor | None = None


class EuleroDecModel(PreTrainedAudioTokenizerBase):
    """Waveforms to codes and back, for inference; the network itself is ``model.network``.

    Its directories are those of ``Codec``, with the feature extractor's file beside them, and each
    loads what the other saved.

    Args:
        config: a new network is made from it.
        codec: used in place of a new one.
    """

    config_class = EuleroDecConfig
    base_model_prefix = "network"
    main_input_name = "input_values"
    input_modalities = "audio"

    def __init__(self, config: EuleroDecConfig, codec: Codec | None = None) -> None:
        super().__init__(config)
        self.codec = codec or Codec(build_network(config.network_settings()))
        self.network = self.codec.model
        info = self.codec.info
        config.codebook_size, config.num_quantizers = info.codebook_size, info.n_codebooks
        self.post_init()
        self.eval()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: layers of the network start as they should."""

    # ---- loading and saving -------------------------------------------------------------------

    @classmethod
    def from_codec(cls, codec: Codec, config: EuleroDecConfig | None = None) -> EuleroDecModel:
        """A model that shares the network of a codec.

        Args:
            codec: the codec.
            config: gets the settings of the codec's network; a new one by default.
        """
        config = config or EuleroDecConfig()
        for name, value in codec.model.config.to_dict().items():
            setattr(config, name, list(value) if isinstance(value, tuple) else value)
        return cls(config, codec)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: PathLike = DEFAULT_WEIGHTS,
        *,
        config: EuleroDecConfig | None = None,
        device_map: str | torch.device | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> EuleroDecModel:
        """Load weights as ``Codec.from_pretrained`` does: checked, and in single precision.

        Args:
            pretrained_model_name_or_path: a bundled name, a directory, or ``user/name`` of the hub.
            config: options of the library, like ``return_dict``; the network's settings are
                those of its directory.
            device_map: one device for all.
            revision, local_files_only: see ``Codec.from_pretrained``.
            kwargs: others of the library's have no use here and must be missing or None.

        Raises:
            WeightsError: there are none, or they are damaged.
            ConfigError: an argument that has no use here.
        """
        for name, value in kwargs.items():
            single = name in ("dtype", "torch_dtype") and value in ("auto", torch.float32)
            if name not in _NOT_NEEDED and value not in (None, False) and not single:
                raise ConfigError(f"weights of EuleroDec do not take {name}={value!r:.40}")
        codec = Codec.from_pretrained(
            pretrained_model_name_or_path,
            device_map or "cpu",
            revision=revision,
            local_files_only=local_files_only,
        )
        return cls.from_codec(codec, config)

    def save_pretrained(self, save_directory: PathLike, **kwargs: Any) -> None:
        """Write what ``Codec.save_pretrained`` writes, and the feature extractor's file.

        Args:
            save_directory: made if missing.
            kwargs: those of the library have no use here.
        """
        self.codec.save_pretrained(save_directory)
        extractor = EuleroDecFeatureExtractor(sampling_rate=self.codec.sample_rate)
        extractor.save_pretrained(save_directory)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        private: bool | None = None,
        commit_message: str = "Weights of EuleroDec",
    ) -> str:
        """What :meth:`save_pretrained` writes to the hub; see ``Codec.push_to_hub``."""
        with tempfile.TemporaryDirectory() as directory:
            self.save_pretrained(directory)
            return upload(
                directory, repo_id, revision=revision, private=private, message=commit_message
            )

    # ---- coding -------------------------------------------------------------------------------

    def get_audio_codes_mask(self, padding_mask: Tensor) -> Tensor:
        """Which codes belong to audio: bool ``[B, T]`` of a mask ``[B, N]`` or ``[B, 1, N]``."""
        ends = [self.network.n_frames(n) for n in _lengths(padding_mask)]
        frames = torch.arange(max(ends, default=0))
        return (frames < torch.tensor(ends)[:, None]).to(padding_mask.device)

    @can_return_tuple
    @torch.no_grad()
    def encode(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_quantizers: int = DEFAULT_CODES,
    ) -> EuleroDecEncoderOutput:
        """Audio to codes: those of ``Codec.encode_batch``, whatever the padding.

        Args:
            input_values: float ``[B, 1, N]`` at the model's rate, full scale 1.
            padding_mask: ``[B, N]`` or ``[B, 1, N]``, 1 for audio, then 0 behind its end.
            num_quantizers: codes K of each frame.

        Raises:
            AudioError: another shape, samples that cannot be coded.
            ConfigError: a number of codes that cannot be had, a mask that does not fit.
        """
        codes, levels = self._codes(input_values, padding_mask, num_quantizers)
        return EuleroDecEncoderOutput(codes, levels, padding_mask)

    @can_return_tuple
    @torch.no_grad()
    def decode(
        self,
        audio_codes: Tensor,
        padding_mask: Tensor | None = None,
        levels: Tensor | None = None,
    ) -> EuleroDecDecoderOutput:
        """Codes to audio: what ``Codec.decode_batch`` gives.

        Args:
            audio_codes: int ``[B, K, T]``.
            padding_mask: that of the audio: each item is as long as it says. By default all are
                (T - 1) * hop_length samples long, and codes behind the end of an item are heard.
            levels: int ``[B, P]`` as :meth:`encode` gives them; by default those of speech at
                -20 dBFS.

        Raises:
            BitstreamError: codes or levels that do not fit.
            ConfigError: another number of items in the mask.
        """
        return EuleroDecDecoderOutput(self._audio(audio_codes, padding_mask, levels))

    @can_return_tuple
    @torch.no_grad()
    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_quantizers: int = DEFAULT_CODES,
    ) -> EuleroDecOutput:
        """Audio to codes and back; arguments and errors as for :meth:`encode`."""
        if padding_mask is None:
            padding_mask = torch.ones_like(input_values, dtype=torch.bool)
        codes, levels = self._codes(input_values, padding_mask, num_quantizers)
        return EuleroDecOutput(codes, levels, self._audio(codes, padding_mask, levels))

    def _codes(
        self, input_values: Tensor, padding_mask: Tensor | None, n_codebooks: int
    ) -> tuple[Tensor, Tensor]:
        """Codes ``[B, K, T]`` and levels ``[B, P]``."""
        if input_values.ndim != 3 or input_values.shape[1] != 1:
            raise AudioError(
                f"input_values must have the shape [B, 1, N], not {list(input_values.shape)}:"
                " channels are items of the batch"
            )
        n_items, _, longest = input_values.shape
        lengths = [longest] * n_items
        if padding_mask is not None:
            if (len(padding_mask), padding_mask.shape[-1]) != (n_items, longest):
                raise ConfigError(
                    f"padding_mask of shape {list(padding_mask.shape)} does not fit input_values of"
                    f" shape {list(input_values.shape)}"
                )
            lengths = _lengths(padding_mask)
        wavs = [x[:, :n] for x, n in zip(input_values, lengths, strict=True)]
        found = self.codec.encode_batch(wavs, self.codec.sample_rate, n_codebooks=n_codebooks)
        device = input_values.device
        codes, levels = _padded([x.codes[0] for x in found]), _padded([x.levels[0] for x in found])
        return codes.to(device), levels.to(device)

    def _audio(
        self, audio_codes: Tensor, padding_mask: Tensor | None, levels: Tensor | None
    ) -> Tensor:
        """Audio ``[B, 1, N]``."""
        if audio_codes.ndim != 3:
            raise BitstreamError(
                f"audio_codes must have the shape [B, K, T], not {list(audio_codes.shape)}"
            )
        n_items, n_codebooks, n_frames = audio_codes.shape
        info = self.codec.stream_info(n_codebooks=n_codebooks)
        infos, ends = [info] * n_items, [n_frames] * n_items
        if padding_mask is not None:
            lengths = _lengths(padding_mask)
            if len(lengths) != n_items:
                raise ConfigError(f"padding_mask has {len(lengths)} items, audio_codes {n_items}")
            infos = [info.with_counts(n, n) for n in lengths]
            ends = [self.network.n_frames(n) for n in lengths]
        items = []
        for i in range(n_items):
            n_packets = -(-min(ends[i], n_frames) // info.frames_per_packet)
            level = None if levels is None else levels[i : i + 1, :n_packets]
            items.append(Encoded.from_codes(audio_codes[i : i + 1, :, : ends[i]], infos[i], level))
        sounds = self.codec.decode_batch(items)
        return _padded(sounds).to(audio_codes.device)


def _lengths(padding_mask: Tensor) -> list[int]:
    """Samples of each item by a mask ``[B, N]`` or ``[B, 1, N]``.

    Raises:
        ConfigError: another shape, or a mask that is not ones and then zeros.
    """
    mask = padding_mask[:, 0] if padding_mask.ndim == 3 else padding_mask
    if mask.ndim != 2 or padding_mask.numel() != mask.numel():
        raise ConfigError(
            f"padding_mask must be [B, N] or [B, 1, N], not {list(padding_mask.shape)}"
        )
    lengths = mask.bool().sum(1)
    if not mask.bool().equal(torch.arange(mask.shape[1], device=mask.device) < lengths[:, None]):
        raise ConfigError("padding_mask must be ones for audio, then zeros: pad on the right")
    return lengths.tolist()


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """Tensors ``[..., n_i]`` as one ``[B, ..., n]``, zeros behind the end of shorter ones."""
    longest = max((row.shape[-1] for row in rows), default=0)
    return torch.stack([nn.functional.pad(row, (0, longest - row.shape[-1])) for row in rows])
