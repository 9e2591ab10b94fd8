"""The ``.eul`` container: codes of the quantiser as exact bits on disk or in a pipe.

Needs numpy only. The format is specified in ``docs/bitstream.md``.

>>> info = StreamInfo(model_id="m", weights_hash=bytes(8), input_sample_rate=24000, n_codebooks=6)
>>> data = dumps(info, [[[0, 2047]] * 6])
>>> loads(data)[1].shape
(1, 6, 2)
"""

from eulerodec.bitstream.convert import (
    EulFile,
    drop_stages,
    drop_stages_file,
    dumps,
    loads,
    read,
)
from eulerodec.bitstream.format import VERSION, StreamInfo
from eulerodec.bitstream.reader import Damage, EulReader, Packet
from eulerodec.bitstream.writer import EulWriter

__all__ = [
    "VERSION",
    "Damage",
    "EulFile",
    "EulReader",
    "EulWriter",
    "Packet",
    "StreamInfo",
    "drop_stages",
    "drop_stages_file",
    "dumps",
    "loads",
    "read",
]
