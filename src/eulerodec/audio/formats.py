"""Kinds of audio files: by their ending, when a folder is searched, and by their first bytes."""

from __future__ import annotations

import os

from ..errors import ConfigError
from ..files import Sink, is_path

__all__ = [
    "AUDIO_SUFFIXES",
    "FOREIGN_SUFFIXES",
    "HEAD_BYTES",
    "RAW_SUFFIXES",
    "check_eul_name",
    "sniff",
]

#: Endings of files that PyAV or the ffmpeg program reads.
FOREIGN_SUFFIXES = frozenset(
    ".3gp .aac .ac3 .amr .ape .m4a .m4b .mka .mkv .mov .mp4 .mpc .webm .wma .wv".split()
)
#: Endings of files that libsndfile or this package reads, and of the foreign ones: what is taken
#: as audio when a folder is searched.
AUDIO_SUFFIXES = FOREIGN_SUFFIXES | frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aif .aiff .au .caf .w64 .rf64".split()
)
#: Endings of samples without a header.
RAW_SUFFIXES = frozenset((".raw", ".pcm"))

HEAD_BYTES = 16

_ASF = bytes.fromhex("3026b2758e66cf11")
_W64 = b"riff\x2e\x91\xcf\x11"
_STARTS = {
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"FORM": "aiff",
    b".snd": "au",
    b"caff": "caf",
    _W64: "w64",
    b"ID3": "mp3",
    b"\x1a\x45\xdf\xa3": "foreign",  # Matroska, WebM
    _ASF: "foreign",  # WMA
    b"#!AMR": "foreign",
    b"MAC ": "foreign",  # Monkey's Audio
    b"MPCK": "foreign",  # Musepack
    b"wvpk": "foreign",  # WavPack
    b"\x0b\x77": "foreign",  # AC-3
}


def check_eul_name(target: Sink) -> None:
    """Refuse a name that says audio, where an ``.eul`` file is written.

    Raises:
        ConfigError: for such a name.
    """
    name = os.fspath(target) if is_path(target) else ""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in AUDIO_SUFFIXES:
        raise ConfigError(f"{name}: an .eul file is written, whose name must not end in {suffix}")


def sniff(head: bytes) -> str:
    """The kind of a file by its first :data:`HEAD_BYTES` bytes.

    Returns:
        ``"wav"``, ``"flac"``, ``"ogg"``, ``"mp3"``, ``"aiff"``, ``"au"``, ``"caf"``, ``"w64"``,
        ``"foreign"`` for what libsndfile cannot read, or ``""`` for anything else.
    """
    if head[:4] in (b"RIFF", b"RF64", b"BW64"):
        return {b"WAVE": "wav", b"AVI ": "foreign"}.get(head[8:12], "wav")
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):  # MPEG-4, QuickTime
        return "foreign"
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # the layer: 0 is AAC in ADTS frames, 1 to 3 are MPEG audio
        if head[1] & 0x06:
            return "mp3"
        return "foreign" if head[1] & 0xF0 == 0xF0 else ""
    return ""
