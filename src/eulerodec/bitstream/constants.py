"""Numbers of the ``.eul`` format, version 1; ``docs/bitstream.md`` says the same in words."""

from __future__ import annotations

import struct

MAGIC = b"\x89EUL"
VERSION = 1
PREFIX = struct.Struct(">4sBH")  # magic, version, size of the body
BODY = struct.Struct(">B8sBBBHHII5s5sB")  # up to the length of the model id; see `pack_header`
CRC = struct.Struct(">I")
FIELD = struct.Struct(">BH")  # optional header field: tag, size

SYNC = 0xE5
DATA = 0x81
END = 0x82
CODED = 0x83  # data whose payload is entropy coded
CRITICAL = 0x80  # a packet or header field whose type has this bit must be understood
PACKET = struct.Struct(">BB3sHI")  # sync, type, index, payload size, CRC-32
COUNTS = struct.Struct(">5s5s")  # payload of an end packet whose header left the counts open

FIXED_WIDTH = 0  # payload codings
ENTROPY = 1
UNKNOWN = (1 << 40) - 1  # sample counts are 40-bit; all ones = not known when the header was sent
HASH_SIZE = 8
MAX_PAYLOAD = 0xFFFF  # bytes: bounds the memory of a reader
MAX_PACKETS = 1 << 24
MAX_SAMPLE_RATE = 1_000_000
MAX_MODEL_ID = 64  # bytes of UTF-8
DEFAULT_FRAMES = 256  # 2.8 s of the 24 kHz model, and whole bytes for any number of codes
