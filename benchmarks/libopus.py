"""Opus packet by packet, with the concealment of its decoder, through the libopus C library.

The command line tools of Opus code whole files; loss needs its packets one by one.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eulerodec.errors import ConfigError

__all__ = ["FRAME_MS", "LibOpus"]

FRAME_MS = 20
# from opus_defines.h
_VOIP = 2048
_SET_BITRATE, _SET_COMPLEXITY, _SET_PACKET_LOSS, _GET_LOOKAHEAD = 4002, 4010, 4014, 4027
_MAX_PACKET = 1275
Signal = NDArray[np.float32]


class LibOpus:
    """One libopus; mono, packets of 20 ms, VBR, for speech (VOIP), encoder complexity 10.

    - ``sample_rate``: 8000, 12000, 16000, 24000 or 48000 Hz
    - ``path``: of the shared library, the system's by default
    - ``decoder_complexity``: from libopus 1.5 on, 5 and more conceal with a neural network, in
      builds that have one

    Errors: :class:`ConfigError` if there is no libopus.
    """

    def __init__(self, sample_rate: int, path: str = "", decoder_complexity: int = 0) -> None:
        name = path or ctypes.util.find_library("opus")
        if name is None:
            raise ConfigError("libopus is not installed (Debian, Ubuntu: apt install libopus0)")
        try:
            self._lib = lib = ctypes.CDLL(name)
        except OSError as error:
            raise ConfigError(f"{name}: cannot be loaded: {error}") from error
        self.sample_rate = sample_rate
        self._frame = sample_rate * FRAME_MS // 1000
        self._decoder_complexity = decoder_complexity
        state, i32, size = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int
        lib.opus_get_version_string.restype = ctypes.c_char_p
        lib.opus_encoder_create.argtypes = [i32, size, size, ctypes.POINTER(size)]
        lib.opus_decoder_create.argtypes = [i32, size, ctypes.POINTER(size)]
        lib.opus_encoder_create.restype = lib.opus_decoder_create.restype = state
        lib.opus_encoder_destroy.argtypes = lib.opus_decoder_destroy.argtypes = [state]
        lib.opus_encode_float.argtypes = [state, state, size, state, i32]
        lib.opus_decode_float.argtypes = [state, state, i32, state, size, size]

    @property
    def version(self) -> str:
        """Like ``libopus 1.3.1``."""
        return self._lib.opus_get_version_string().decode()

    def encode(self, wav: Signal, kbps: float, loss: float = 0.0) -> tuple[list[bytes], int]:
        """Samples [N] -> packets, and the samples by which the decoder's output is late.

        ``loss``: fraction of packets that the encoder is told to expect lost.
        """
        lib, error = self._lib, ctypes.c_int()
        state = lib.opus_encoder_create(self.sample_rate, 1, _VOIP, ctypes.byref(error))
        _check(error.value, "encoder")
        try:
            self._set(lib.opus_encoder_ctl, state, _SET_BITRATE, round(1000 * kbps))
            self._set(lib.opus_encoder_ctl, state, _SET_COMPLEXITY, 10)
            self._set(lib.opus_encoder_ctl, state, _SET_PACKET_LOSS, round(100 * loss))
            late = ctypes.c_int32()
            lib.opus_encoder_ctl(
                ctypes.c_void_p(state), ctypes.c_int(_GET_LOOKAHEAD), ctypes.byref(late)
            )
            padded = np.pad(wav, (0, late.value))
            padded = np.pad(padded, (0, -len(padded) % self._frame)).astype(np.float32)
            buffer = ctypes.create_string_buffer(_MAX_PACKET)
            packets = []
            for frame in padded.reshape(-1, self._frame):
                data = frame.ctypes.data
                n = lib.opus_encode_float(state, data, self._frame, buffer, _MAX_PACKET)
                _check(min(n, 0), "encoding")
                packets.append(buffer.raw[:n])
        finally:
            lib.opus_encoder_destroy(state)
        return packets, late.value

    def decode(self, packets: list[bytes | None]) -> Signal:
        """Packets, ``None`` for one that is lost -> samples, 20 ms for each."""
        lib, error = self._lib, ctypes.c_int()
        state = lib.opus_decoder_create(self.sample_rate, 1, ctypes.byref(error))
        _check(error.value, "decoder")
        out = np.zeros((len(packets), self._frame), np.float32)
        try:
            if self._decoder_complexity:
                self._set(lib.opus_decoder_ctl, state, _SET_COMPLEXITY, self._decoder_complexity)
            for row, packet in zip(out, packets, strict=True):
                size = len(packet) if packet else 0
                n = lib.opus_decode_float(state, packet, size, row.ctypes.data, self._frame, 0)
                _check(n - self._frame, "decoding")
        finally:
            lib.opus_decoder_destroy(state)
        return out.ravel()

    @staticmethod
    def _set(control: Any, state: int, request: int, value: int) -> None:
        result = control(ctypes.c_void_p(state), ctypes.c_int(request), ctypes.c_int32(value))
        _check(result, f"request {request}")


def _check(result: int, what: str) -> None:
    if result:
        raise ConfigError(f"libopus: {what} failed ({result})")
