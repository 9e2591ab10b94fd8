"""The ``.eul`` format: packets of coded frames on disk or in a pipe, and the codes in their bytes.

Needs numpy alone; ``docs/bitstream.md`` specifies it.
The container (:class:`EulReader`, :class:`EulWriter`) moves payloads, which are bytes.
Codes become payloads and come back in :class:`PayloadCoder` (planes, by a model's
:class:`CodeTables`) and :class:`ConstantCoder` (the same number of codes for every frame).

>>> info = StreamInfo(model_id="m", weights_hash=bytes(8), input_sample_rate=24000, bitrate_kbps=6)
>>> data = dumps(info, [Packet(index=0, start_frame=0, n_frames=50, payload=b"any bytes")])
>>> [packet.payload for packet in read(data).packets]
[b'any bytes']
"""

from .code_tables import ABSENT, CodeTables
from .constant import ConstantCoder, ConstantCodes
from .constants import MAGIC, VERSION
from .edit import concat_files, cut_file, plan_range, read_range
from .header import StreamInfo
from .metadata import Metadata
from .payload import CodesEndError, Layout, PacketCodes, PayloadCoder
from .rate import RateControl, lower_packets, lower_rate
from .reader import EulReader, open_reader, read
from .records import Damage, EulFile, Packet
from .timeline import Segment, Timeline
from .writer import EulWriter, dumps

__all__ = [
    "ABSENT",
    "MAGIC",
    "VERSION",
    "CodeTables",
    "CodesEndError",
    "ConstantCoder",
    "ConstantCodes",
    "Damage",
    "EulFile",
    "EulReader",
    "EulWriter",
    "Layout",
    "Metadata",
    "Packet",
    "PacketCodes",
    "PayloadCoder",
    "RateControl",
    "Segment",
    "StreamInfo",
    "Timeline",
    "concat_files",
    "cut_file",
    "dumps",
    "lower_packets",
    "lower_rate",
    "open_reader",
    "plan_range",
    "read",
    "read_range",
]
