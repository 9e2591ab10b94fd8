"""The ``.eul`` container: codes of the quantiser as exact bits on disk or in a pipe.

Needs numpy, and safetensors for the tables of entropy coded files, but no torch. The format is
specified in ``docs/bitstream.md``.

>>> info = StreamInfo(model_id="m", weights_hash=bytes(8), input_sample_rate=24000, n_codebooks=6)
>>> data = dumps(info, [[[0, 2047]] * 6])
>>> loads(data)[1].shape
(1, 6, 2)
"""

from .constants import VERSION
from .convert import EulFile, drop_stages, drop_stages_file, dumps, loads, read
from .edit import concat_files, cut_file, plan_range, read_range
from .fields import Metadata, Segment
from .header import StreamInfo
from .reader import EulReader
from .records import LOST, Damage, Packet
from .tables import EntropyTables, add_tables, load_tables
from .writer import EulWriter

__all__ = [
    "LOST",
    "VERSION",
    "Damage",
    "EntropyTables",
    "EulFile",
    "EulReader",
    "EulWriter",
    "Metadata",
    "Packet",
    "Segment",
    "StreamInfo",
    "add_tables",
    "concat_files",
    "cut_file",
    "drop_stages",
    "drop_stages_file",
    "dumps",
    "load_tables",
    "loads",
    "plan_range",
    "read",
    "read_range",
]
