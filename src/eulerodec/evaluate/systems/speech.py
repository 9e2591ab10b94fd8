"""Speech codecs of other sample rates: Codec2 and AMR-WB, through Debian's programs."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np

from ... import audio
from ...errors import AudioError
from .base import (
    Absent,
    Coded,
    Signal,
    Spec,
    System,
    need_tool,
    run_tool,
    to_pcm16,
    to_rate,
    work_folder,
)

__all__ = ["AmrWb", "Codec2"]


CODEC2_MODES = {
    0.7: "700C",
    1.2: "1200",
    1.3: "1300",
    1.4: "1400",
    1.6: "1600",
    2.4: "2400",
    3.2: "3200",
}
# Samples at 8 kHz, measured on speech: the median over clips of the lag of log envelopes.
CODEC2_DELAY = 144
CODEC2_DELAY_700C = 216


class Codec2(System):
    """``codec2:3.2``: 8 kHz parametric speech codec, 0.7 to 3.2 kbps, through ``c2enc``.

    It draws the phase anew, so measures of the waveform and of phase are those of another signal.
    """

    RATE = 8000

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        spec.reject_options()
        self._mode = CODEC2_MODES[spec.kbps_of(tuple(CODEC2_MODES))]
        self._encoder = need_tool("c2enc", "codec2")
        self._decoder = need_tool("c2dec", "codec2")
        self._delay = CODEC2_DELAY_700C if self._mode == "700C" else CODEC2_DELAY
        self.delay_s = self._delay / self.RATE
        self.title = f"Codec2, mode {self._mode}, 8 kHz"

    @property
    def identity(self) -> dict[str, str]:
        return {"mode": self._mode, "program": _program_hash(self._encoder)}

    def code(self, wav: Signal) -> Coded:
        with work_folder() as folder:
            source, coded, decoded = folder / "in.raw", folder / "c.bit", folder / "out.raw"
            # silence after the clip: the last frame must be full, and the delay is cut off later
            source.write_bytes(to_pcm16(to_rate(wav, self.RATE, pad=320 + self._delay)).tobytes())
            run_tool([self._encoder, self._mode, source, coded])
            run_tool([self._decoder, self._mode, coded, decoded])
            y = np.frombuffer(decoded.read_bytes(), "<i2").astype(np.float32) / np.float32(32768)
            n_bytes = coded.stat().st_size
        return Coded(y[self._delay :], self.RATE, n_bytes, n_bytes)


class AmrWb(System):
    """``amrwb:12.65``: AMR-WB (3GPP TS 26.190) at 16 kHz, through ffmpeg's VisualOn encoder."""

    RATE = 16_000
    RATES = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
    DELAY = 95  # samples: 5.94 ms, measured by cross-correlation on speech
    MAGIC = b"#!AMR-WB\n"

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        spec.reject_options()
        spec.kbps_of(self.RATES)
        self._ffmpeg = need_tool("ffmpeg", "ffmpeg libavcodec-extra")
        if "libvo_amrwbenc" not in run_tool([self._ffmpeg, "-hide_banner", "-encoders"]):
            raise Absent("ffmpeg has no AMR-WB encoder (apt-get install libavcodec-extra)")
        self._version = run_tool([self._ffmpeg, "-version"]).splitlines()[0].split(" Copyright")[0]
        self.delay_s = self.DELAY / self.RATE
        self.title = f"AMR-WB, {self._version}, libvo_amrwbenc"

    @property
    def identity(self) -> dict[str, str]:
        return {"version": self._version}

    def code(self, wav: Signal) -> Coded:
        with work_folder() as folder:
            source, coded, decoded = folder / "in.wav", folder / "c.amr", folder / "out.wav"
            padded = to_rate(wav, self.RATE, pad=320 + self.DELAY)
            audio.write(source, padded, self.RATE)
            quiet = ["-v", "error", "-nostdin", "-y"]
            rate = str(round(self.kbps * 1000))
            encode = ["-c:a", "libvo_amrwbenc", "-b:a", rate]
            run_tool([self._ffmpeg, *quiet, "-i", source, *encode, coded])
            run_tool([self._ffmpeg, *quiet, "-i", coded, decoded])
            y, out_rate = audio.read(decoded)
            n_bytes, payload = coded.stat().st_size, amr_payload(coded.read_bytes(), self.MAGIC)
        return Coded(y[0, self.DELAY :], out_rate, payload, n_bytes)


# Bits of a speech frame by frame type, 9 is comfort noise (3GPP TS 26.201, table 2).
AMR_WB_BITS = (132, 177, 253, 285, 317, 365, 397, 461, 477, 40)


def amr_payload(data: bytes, magic: bytes = AmrWb.MAGIC) -> int:
    """Bytes of the speech frames of an AMR-WB file, without the one byte before each (RFC 4867).

    Raises:
        AudioError: another file.
    """
    if not data.startswith(magic):
        raise AudioError("no AMR-WB file")
    at, total = len(magic), 0
    while at < len(data):
        kind = data[at] >> 3 & 15
        size = math.ceil(AMR_WB_BITS[kind] / 8) if kind < len(AMR_WB_BITS) else 0
        total += size
        at += 1 + size
    return total


def _program_hash(path: str) -> str:
    """``c2enc`` states no version."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
