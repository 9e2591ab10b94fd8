"""WAV in pipes: samples as they arrive, and headers that state no length.

libsndfile needs files that can seek. This reads and writes the plain kinds of WAV (PCM of 8 to 32
bits, IEEE float) front to back. A program that writes WAV into a pipe cannot know the length: then
the size of the data is 0 or close to 2^31 or 2^32, and samples follow until the pipe ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError

__all__ = ["UNKNOWN_LENGTH", "WavHeader", "WavWriter", "parse_header", "read_blocks"]

#: Lengths from here on are written by programs that cannot seek back (SoX: 0x7ffff000).
UNKNOWN_LENGTH = 0x7FFF0000
_LIMIT = 0xFFFFFFFF - 4096  # bytes of samples a WAV file can hold
_MOST_HEADER = 1 << 20  # bytes of chunks before the samples
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


@dataclass(frozen=True)
class WavHeader:
    """``n_bytes`` of samples follow, or None if that is not known."""

    sample_rate: int
    n_channels: int
    is_float: bool
    bits: int
    n_bytes: int | None

    @property
    def frame_size(self) -> int:
        """Bytes of one sample of all channels."""
        return self.n_channels * self.bits // 8

    @property
    def n_samples(self) -> int | None:
        """Samples per channel, or None if that is not known."""
        return None if self.n_bytes is None else self.n_bytes // self.frame_size


def parse_header(source: BinaryIO, taken: bytearray) -> WavHeader | None:
    """Read up to the first sample; None for anything but a plain WAV.

    ``taken`` gets every byte that was read, so that another reader can start over.
    """

    def take(size: int) -> bytes:
        data = source.read(size) or b""
        taken.extend(data)
        return data

    head = take(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    form: tuple[int, int, int, int] | None = None
    while len(taken) < _MOST_HEADER:
        chunk = take(8)
        if len(chunk) < 8:
            return None
        kind, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if kind == b"data":
            break
        if len(taken) + size > _MOST_HEADER:
            return None
        body = take(size + (size & 1))
        if kind == b"fmt " and len(body) >= 16:
            tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
            if tag == _EXTENSIBLE and len(body) >= 26:
                tag = int.from_bytes(body[24:26], "little")
            form = tag, channels, rate, bits
    else:
        return None
    if form is None:
        return None
    tag, channels, rate, bits = form
    plain = (tag == _PCM and bits in (8, 16, 24, 32)) or (tag == _FLOAT and bits in (32, 64))
    if not plain or channels == 0:
        return None
    known = 0 < size < UNKNOWN_LENGTH
    return WavHeader(rate, channels, tag == _FLOAT, bits, size if known else None)


def read_blocks(
    source: BinaryIO, header: WavHeader, size: int, name: str
) -> Iterator[NDArray[np.float32]]:
    """The samples after the header as they arrive, float32 [C, n] with 1 <= n <= ``size``.

    Errors: :class:`AudioError` if the header promised more than there are.
    """
    read = getattr(source, "read1", source.read)  # what is there, without waiting for more
    frame, done, rest = header.frame_size, 0, b""
    while True:
        want = size * frame - len(rest)
        if header.n_bytes is not None:
            want = min(want, header.n_bytes - done)
        data = read(want) if want else b""
        if not data:
            break
        done += len(data)
        data = rest + data
        whole = len(data) // frame * frame
        rest = data[whole:]
        if whole:
            yield _samples(data[:whole], header)
    if header.n_bytes is not None and done < header.n_bytes:
        raise AudioError(
            f"{name}: cut short: its samples take {header.n_bytes} bytes, {done} of them are there"
        )


def _samples(data: bytes, header: WavHeader) -> NDArray[np.float32]:
    """Bytes as float32 [C, n], full scale 1, as libsndfile scales them."""
    if header.is_float:
        flat = np.frombuffer(data, f"<f{header.bits // 8}")
    elif header.bits == 8:  # unsigned
        flat = np.frombuffer(data, np.uint8) / 128.0 - 1.0
    elif header.bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        flat = wide.view("<i4")[:, 0] / 2.0**31
    else:
        flat = np.frombuffer(data, f"<i{header.bits // 8}") / 2.0 ** (header.bits - 1)
    return np.ascontiguousarray(flat.reshape(-1, header.n_channels).T, dtype=np.float32)


class WavWriter:
    """Writes a WAV front to back: the header at once, then samples as they come.

    - ``subtype``: ``"PCM_16"`` (clipped to full scale) or ``"FLOAT"`` (32 bit, unchanged)
    - ``n_samples``: per channel, or None if it is not known: the header then says so
    - ``rewind``: the file can seek, and :meth:`close` writes the true length into the header

    Errors: :class:`AudioError` for more than a WAV can hold (but not in a pipe of unknown length).
    """

    def __init__(
        self,
        sink: Any,
        sample_rate: int,
        n_channels: int,
        *,
        subtype: str = "PCM_16",
        n_samples: int | None = None,
        rewind: bool = False,
        name: str = "audio",
    ) -> None:
        if subtype not in ("PCM_16", "FLOAT"):
            raise AudioError(f"sample format {subtype!r} is not supported: PCM_16 or FLOAT")
        self.n_samples = 0
        self._sink, self._name, self._rewind = sink, name, rewind
        self._shape = sample_rate, n_channels, subtype == "FLOAT"
        self._width = n_channels * (4 if subtype == "FLOAT" else 2)
        self._bounded = rewind or n_samples is not None
        self._check(n_samples or 0)
        sink.write(self._header(n_samples))

    def write(self, x: NDArray[np.float32]) -> None:
        """The next samples, [C, n]."""
        self._check(self.n_samples + x.shape[1])
        self.n_samples += x.shape[1]
        if not self._shape[2]:
            data = np.clip(np.rint(x * np.float32(32768)), -32768, 32767).astype("<i2")
        else:
            data = x.astype("<f4")
        self._sink.write(np.ascontiguousarray(data.T).tobytes())

    def flush(self) -> None:
        """Hand on what is buffered, so that a pipe does not wait."""
        self._sink.flush()

    def close(self) -> None:
        """With ``rewind`` the length goes into the header; the file itself stays open."""
        if self._rewind:
            self._sink.seek(0)
            self._sink.write(self._header(self.n_samples))
            self._sink.seek(0, 2)

    def _check(self, n_samples: int) -> None:
        if self._bounded and n_samples * self._width > _LIMIT:
            raise AudioError(f"{self._name}: {n_samples} samples are more than a WAV file can hold")

    def _header(self, n_samples: int | None) -> bytes:
        rate, channels, is_float = self._shape
        size = 0xFFFFFFFF if n_samples is None else n_samples * self._width
        form = (channels, rate, rate * self._width, self._width, self._width * 8 // channels)
        if is_float:  # formats other than PCM have an extension size and a fact chunk
            body = b"fmt " + struct.pack("<IHHIIHHH", 18, _FLOAT, *form, 0)
            body += b"fact" + struct.pack("<II", 4, min(n_samples or 0, 0xFFFFFFFF))
        else:
            body = b"fmt " + struct.pack("<IHHIIHH", 16, _PCM, *form)
        whole = min(12 + len(body) + size, 0xFFFFFFFF)
        body += b"data" + struct.pack("<I", size)
        return b"RIFF" + struct.pack("<I", whole) + b"WAVE" + body
