"""The codec as a model of the ``transformers`` library (``pip install 'eulerodec[hf]'``).

Importing this package registers it, so that ``AutoModel``, ``AutoModelForAudioTokenization``,
``AutoConfig`` and ``AutoFeatureExtractor`` know a directory of weights::

    import eulerodec.hf
    from transformers import AutoFeatureExtractor, AutoModel

    model = AutoModel.from_pretrained(DIR)
    extractor = AutoFeatureExtractor.from_pretrained(DIR)
    inputs = extractor(wavs, sampling_rate=24000, return_tensors="pt")  # padded, with a mask
    outputs = model.encode(**inputs)  # audio_codes [B, K, T]
    wav = model.decode(**outputs).audio_values
"""

try:
    import transformers
except ImportError as error:
    raise ImportError("eulerodec.hf needs transformers: pip install 'eulerodec[hf]'") from error

from .configuration import EuleroDecConfig
from .feature_extraction import EuleroDecFeatureExtractor
from .model import (
    EuleroDecDecoderOutput,
    EuleroDecEncoderOutput,
    EuleroDecModel,
    EuleroDecOutput,
)

__all__ = [
    "EuleroDecConfig",
    "EuleroDecDecoderOutput",
    "EuleroDecEncoderOutput",
    "EuleroDecFeatureExtractor",
    "EuleroDecModel",
    "EuleroDecOutput",
]

transformers.AutoConfig.register(EuleroDecConfig.model_type, EuleroDecConfig)
transformers.AutoModel.register(EuleroDecConfig, EuleroDecModel)
transformers.AutoModelForAudioTokenization.register(EuleroDecConfig, EuleroDecModel)
transformers.AutoFeatureExtractor.register(EuleroDecConfig, EuleroDecFeatureExtractor)
