"""The codec without torch: numpy, and onnxruntime for the graphs that ``eulerodec export`` makes.

>>> from eulerodec.runtime import OnnxCodec
>>> codec = OnnxCodec("exported")  # doctest: +SKIP
>>> wav, sample_rate = codec.decompress(data)  # doctest: +SKIP
"""

from .codec import OnnxCodec

__all__ = ["OnnxCodec"]
