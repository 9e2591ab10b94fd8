"""EuleroDec: an audio codec whose signal path is complex-valued throughout.

24 kHz audio at every whole bitrate from 1 to 12 kbps::

    from eulerodec import Codec

    codec = Codec.from_pretrained("eulerodec-24khz")
    data = codec.compress(wav, sample_rate, bitrate_kbps=6)  # bytes
    wav, sample_rate = codec.decompress(data)

Names load on first use, so ``import eulerodec`` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .codec import Codec, CodecInfo, Encoded
    from .codec.reading import read
    from .errors import (
        AudioError,
        BitstreamError,
        ConfigError,
        EuleroDecError,
        PacketError,
        TrainingError,
        WeightsError,
    )
    from .model import EuleroDec, ModelConfig

__all__ = [
    "AudioError",
    "BitstreamError",
    "Codec",
    "CodecInfo",
    "ConfigError",
    "Encoded",
    "EuleroDec",
    "EuleroDecError",
    "ModelConfig",
    "PacketError",
    "TrainingError",
    "WeightsError",
    "__version__",
    "read",
]

_HOME = {
    "Codec": "codec",
    "CodecInfo": "codec",
    "Encoded": "codec",
    "EuleroDec": "model",
    "ModelConfig": "model",
    "read": "codec.reading",
}


def __getattr__(name: str) -> Any:  # PEP 562
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
