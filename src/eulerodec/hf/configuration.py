"""The config.json of weights as a configuration of ``transformers``."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

from transformers import PreTrainedConfig

from ..codec.weights import MODEL_TYPE
from ..model import ModelConfig

__all__ = ["EuleroDecConfig"]


class EuleroDecConfig(PreTrainedConfig):
    """Settings of a network, by the names of :class:`eulerodec.ModelConfig`.

    Attributes:
        sampling_rate: another name of ``sample_rate``.
        codes: the bundled weights whose codebooks a network made from this configuration has; the
            default ones if it is missing.
        codebook_size, num_quantizers: of the codebooks; set by a model.
    """

    model_type = MODEL_TYPE
    attribute_map: ClassVar[dict[str, str]] = {"sampling_rate": "sample_rate"}

    def __init__(self, **kwargs: Any) -> None:
        """
        Args:
            kwargs: settings of the network, those of ``PreTrainedConfig``, and any others.
        """
        settings = {f.name: kwargs.pop(f.name, f.default) for f in fields(ModelConfig)}
        super().__init__(**kwargs)
        for name, value in settings.items():
            setattr(self, name, list(value) if isinstance(value, tuple) else value)

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.sample_rate / self.hop_length

    def network_settings(self) -> dict[str, Any]:
        """What the network is built from."""
        settings = {f.name: getattr(self, f.name) for f in fields(ModelConfig)}
        codes = getattr(self, "codes", None)
        return settings if codes is None else settings | {"codes": codes}
