"""Opus (RFC 6716) through ``opusenc`` and ``opusdec``."""

from __future__ import annotations

from pathlib import Path

from ... import audio
from ...errors import AudioError, ConfigError
from ..clips import SAMPLE_RATE
from .base import Coded, Signal, Spec, System, need_tool, run_tool, work_folder

__all__ = ["Opus", "ogg_packets"]

MODES = {"vbr": "--vbr", "cvbr": "--cvbr", "cbr": "--hard-cbr"}
CONTENT = {"speech": "--speech", "music": "--music"}
PACKAGE = "opus-tools"


class Opus(System):
    """``opus:12``. Options: ``vbr`` (default), ``cvbr`` or ``cbr``; ``speech`` or ``music``.

    Complexity 10, frames of 20 ms; the decoder takes off the pre-skip that the encoder states.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        spec.reject_options(*MODES, *CONTENT)
        modes = [name for name in spec.options if name in MODES]
        content = [name for name in spec.options if name in CONTENT]
        if len(modes) > 1 or len(content) > 1:
            raise ConfigError(f"{spec.text}: one of {', '.join(modes or content)}")
        if not 6 <= spec.kbps <= 256:
            raise ConfigError(f"{spec.text}: opusenc codes mono at 6 to 256 kbps")
        self.mode = modes[0] if modes else "vbr"
        self._flags = [MODES[self.mode], *(CONTENT[name] for name in content)]
        self._encoder = need_tool("opusenc", PACKAGE)
        self._decoder = need_tool("opusdec", PACKAGE)
        self._version = run_tool([self._encoder, "--version"]).splitlines()[0]
        self.title = f"Opus, {self.mode.upper()}, {self._version}"

    @property
    def identity(self) -> dict[str, str]:
        return {"version": self._version, "flags": " ".join(self._flags)}

    def code(self, wav: Signal) -> Coded:
        with work_folder() as folder:
            source, coded, decoded = folder / "in.wav", folder / "c.opus", folder / "out.wav"
            audio.write(source, wav, SAMPLE_RATE)
            rate = f"{self.kbps:g}"
            run_tool([self._encoder, "--quiet", "--bitrate", rate, *self._flags, source, coded])
            run_tool([self._decoder, "--quiet", "--rate", str(SAMPLE_RATE), coded, decoded])
            y, out_rate = audio.read(decoded)
            sizes = ogg_packets(coded)
            return Coded(y[0], out_rate, sum(sizes[2:]), coded.stat().st_size)


def ogg_packets(path: Path) -> list[int]:
    """Sizes in bytes of the packets of an Ogg file with one stream (RFC 3533).

    In an Opus file the first two are headers (RFC 7845).

    Raises:
        AudioError: another file.
    """
    data, at = path.read_bytes(), 0
    sizes, size = [], 0
    while at < len(data):
        if data[at : at + 4] != b"OggS" or at + 27 > len(data):
            raise AudioError(f"{path}: no Ogg page at byte {at}")
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        for value in lacing:
            size += value
            if value < 255:  # a packet ends here
                sizes.append(size)
                size = 0
        at += 27 + len(lacing) + sum(lacing)
    return sizes
