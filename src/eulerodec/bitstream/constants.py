"""Numbers of the format; ``docs/bitstream.md`` says the same in words."""

from __future__ import annotations

import struct

MAGIC = b"\x89EUL"
VERSION = 2
PREFIX = struct.Struct(">4sBH")  # magic, version, bytes up to the checksum
HEADER_CRC = struct.Struct(">I")
BITRATE = struct.Struct(">H")  # 1/100 kbps for each channel

CONSTANT = 0x01  # flags of the header
OPEN = 0x02  # the end packet has the sample counts
UNUSUAL = 0x04  # n_samples does not follow from n_input_samples and is stated
RATES = (0, 8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000,
         176_400, 192_000)  # Hz, four bits each in the header; 0: stated  # fmt: skip

SYNC = 0xE5
PACKET = struct.Struct(">BBBH3s")  # sync, frames, index, payload size, checksum
END_HEAD = struct.Struct(">BBB")  # sync, 0, index
CRC_SIZE = 3  # low 24 bits of a CRC-32
MAX_INDEX = 0x100

HASH_SIZE = 8
MAX_COUNT = (1 << 40) - 1
MAX_PAYLOAD = 0xFFFF  # bytes: bounds the memory of a reader
MAX_FRAMES = 0xFF  # of a packet
MAX_RATE = 1_000_000  # Hz
MAX_MODEL_ID = 64  # bytes of UTF-8
MAX_BITRATE = 655.0  # kbps for each channel

DEFAULT_FRAMES = 92  # of a packet: 1.012 s of the 24 kHz models, 23 blocks of 4 frames
CONSTANT_FRAMES = 248  # whole bytes for any number of codes; heads cost less than 1 %
