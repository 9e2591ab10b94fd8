"""The ``.eul`` container: packets of coded frames on disk or in a pipe.

Needs numpy but no torch, and knows no weights; docs/research/planes_format.md specifies the format.
Codes become payloads in ``constant`` (a fixed number of codebooks) and, outside of this package, in
``research.planes.payload`` (planes).

>>> info = StreamInfo(model_id="m", weights_hash=bytes(8), input_sample_rate=24000, bitrate_kbps=6)
>>> data = dumps(info, [Packet(index=0, start_frame=0, n_frames=50, payload=b"any bytes")])
>>> [packet.payload for packet in read(data).packets]
[b'any bytes']
"""

from .constant import ConstantCoder, ConstantCodes
from .constants import VERSION
from .edit import concat_files, cut_file, plan_range, read_range
from .header import StreamInfo
from .metadata import Metadata
from .rate import RateControl, lower_rate
from .reader import EulReader, open_reader, read
from .records import Damage, EulFile, Packet
from .timeline import Segment, Timeline
from .writer import EulWriter, dumps

__all__ = [
    "VERSION",
    "ConstantCoder",
    "ConstantCodes",
    "Damage",
    "EulFile",
    "EulReader",
    "EulWriter",
    "Metadata",
    "Packet",
    "RateControl",
    "Segment",
    "StreamInfo",
    "Timeline",
    "concat_files",
    "cut_file",
    "dumps",
    "lower_rate",
    "open_reader",
    "plan_range",
    "read",
    "read_range",
]
