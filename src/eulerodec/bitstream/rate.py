"""How many bytes each packet may take for a bitrate, and lower bitrates of finished files."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from numbers import Real

from ..errors import ConfigError
from ..settings import whole
from .constant import ConstantCoder
from .constants import MAX_BITRATE, MAX_PAYLOAD, PACKET
from .format import header_size, pack_end
from .header import StreamInfo
from .reader import EulReader
from .records import Packet
from .source import ReadableBytes
from .writer import EulWriter, WritableBytes

__all__ = ["RateControl", "lower_packets", "lower_rate"]

# Bytes that a file may have besides what its bitrate allows: a short one needs them for its header,
# a longer one earns most of them back within its first seconds.
ALLOWANCE, LASTING_ALLOWANCE = 64, 28
_EARNED_BACK_S = 5
_LONGEST = (1 << 35) - 1  # samples; the header and the end packet of a shorter file are no larger


class RateControl:
    """How many bytes each packet may take, in turn.

    After every packet, all packets together, heads included, have at most as many bytes as the
    bitrate allows for the audio up to there; the first five seconds save some for what is not a
    packet. A packet whose head alone is more than that gets no payload. A file without metadata
    then has at most 64 bytes more than its bitrate allows, from five seconds on at most 28.

    Args:
        info: the header: rates, channels, and the duration if it is known. Files with segments hold
            more frames than audio: all their frames count as audio.
        bitrate_kbps: for each channel; that of the header if not given.
        carry: what a packet leaves goes to those after it; if not, it is saved.
        in_file: count heads and header. If not, payloads alone count, for a network, and the last
            packet has the share of all its frames, audio or not.

    Raises:
        ConfigError: the bitrate is no positive number.
    """

    def __init__(
        self,
        info: StreamInfo,
        bitrate_kbps: float | None = None,
        *,
        carry: bool = True,
        in_file: bool = True,
    ) -> None:
        kbps = check_bitrate(info.bitrate_kbps if bitrate_kbps is None else bitrate_kbps)
        self._bytes_per_s = exact(kbps) * 125 * info.n_channels
        self._frame = Fraction(info.hop_length, info.sample_rate)
        self._sample = Fraction(1, info.sample_rate)
        self._duration = None if info.segments else info.timeline.duration
        self._carry = carry
        self._in_file = in_file
        self._head = PACKET.size if in_file else 0
        self._overhead = _overhead(info) if in_file else 0
        self._spent = 0
        self._n_frames = 0

    def budget(self, n_frames: int, n_samples: int | None = None) -> int:
        """Bytes of payload that the next packet may have, of ``n_frames`` frames.

        Args:
            n_frames: 1 to 255.
            n_samples: of the last packets of a stream whose header leaves the counts open: samples
                at the model's rate of all the audio, once they are known.
        """
        left = self._allowed(n_frames, n_samples) - self._spent - self._head
        return min(max(left, 0), MAX_PAYLOAD)

    def spend(self, n_frames: int, size: int, n_samples: int | None = None) -> None:
        """Note that the next packet has ``n_frames`` frames and ``size`` bytes of payload."""
        allowed = self._allowed(n_frames, n_samples)
        self._spent += self._head + size
        self._n_frames += n_frames
        if not self._carry:
            self._spent = max(self._spent, allowed)

    def _allowed(self, n_frames: int, n_samples: int | None) -> int:
        """Bytes that all packets may have up to the end of the next one."""
        seconds = (self._n_frames + n_frames) * self._frame
        if n_samples is not None and self._in_file:
            seconds = min(seconds, n_samples * self._sample)
        if self._duration is not None:
            seconds = min(seconds, self._duration)
        early = max(1 - seconds / _EARNED_BACK_S, Fraction(0))
        allowance = LASTING_ALLOWANCE + (ALLOWANCE - LASTING_ALLOWANCE) * early
        return math.floor(seconds * self._bytes_per_s - max(self._overhead - allowance, 0))


def _overhead(info: StreamInfo) -> int:
    """Bytes of header, end packet and one more packet's head, whether the counts are open or not:
    the packets of a live file are those of any other."""
    end = pack_end(0, (_LONGEST, _LONGEST))
    live = info.replace(n_samples=None, n_input_samples=None, segments=())
    return header_size(live) + len(end) + PACKET.size


def check_bitrate(kbps: object) -> float:
    """The bitrate, if it is one."""
    number = float(kbps) if isinstance(kbps, Real) and not isinstance(kbps, bool) else math.nan
    if not 0 < number <= MAX_BITRATE:
        raise ConfigError(f"bitrate must be above 0, to {MAX_BITRATE:.0f} kbps, not {kbps!r}")
    return number


def exact(kbps: float) -> Fraction:
    """A bitrate as it was written: 7.3 is 73/10, not the nearest binary fraction."""
    return Fraction(str(kbps))


def lower_rate(
    source: ReadableBytes,
    sink: WritableBytes,
    bitrate_kbps: float | None = None,
    *,
    n_codebooks: int | None = None,
    carry: bool = True,
) -> StreamInfo:
    """Copy a file at a lower bitrate, packet by packet, without its model; the new header.

    Payloads of planes are cut to what :class:`RateControl` allows; those of the constant coding
    keep the codebooks whose codes alone fit into the bitrate. A file that has a lower rate already
    stays as it is. If the header leaves the counts open, each packet waits for the next two: only
    the end of the stream says how much of the last frames is audio.

    Args:
        source: any binary file object, also one that cannot seek.
        sink: where the new file goes.
        bitrate_kbps: for each channel; or else
        n_codebooks: of the constant coding, to keep.
        carry: as for :class:`RateControl`.

    Raises:
        BitstreamError: the file is damaged.
        ConfigError: the bitrate is none or less than one codebook, or the file does not have
            ``n_codebooks``.
    """
    reader = EulReader(source)
    info, change = _lowering(reader.info, bitrate_kbps, n_codebooks, carry)
    writer = EulWriter(sink, info)
    for packet, n_samples in _with_end(reader):
        writer.write(change(packet.payload or b"", packet.n_frames, n_samples), packet.n_frames)
    writer.close(reader.info.n_samples, reader.info.n_input_samples)
    return writer.info


def lower_packets(
    info: StreamInfo,
    packets: Iterable[Packet],
    bitrate_kbps: float | None = None,
    *,
    n_codebooks: int | None = None,
    carry: bool = True,
) -> tuple[StreamInfo, Iterator[Packet]]:
    """:func:`lower_rate` for packets, one by one; those that are lost stay so.

    Args:
        info: their header.
        packets: in order.
        bitrate_kbps: for each channel, or
        n_codebooks: of the constant coding.
        carry: as for :class:`RateControl`.

    Returns:
        The header of the new packets, and these.

    Raises:
        ConfigError: as for :func:`lower_rate`.
    """
    info, change = _lowering(info, bitrate_kbps, n_codebooks, carry)

    def lowered() -> Iterator[Packet]:
        for packet in packets:
            payload = change(packet.payload or b"", packet.n_frames, None)
            yield packet if packet.payload is None else replace(packet, payload=payload)

    return info, lowered()


Change = Callable[[bytes, int, int | None], bytes]  # payload, frames, samples in all


def _lowering(
    old: StreamInfo, bitrate_kbps: float | None, n_codebooks: int | None, carry: bool
) -> tuple[StreamInfo, Change]:
    """The header at a lower rate, and what to do with each payload in turn."""
    if (bitrate_kbps is None) == (n_codebooks is None):
        raise ConfigError("bitrate_kbps and n_codebooks say the same: give one of them")
    if bitrate_kbps is not None:
        bitrate_kbps = check_bitrate(bitrate_kbps)
    elif old.n_codebooks is None:
        raise ConfigError("n_codebooks: the file has as many codes as its bitrate holds")
    else:
        n_codebooks = whole("n_codebooks", n_codebooks, 1, old.n_codebooks)
    if bitrate_kbps is not None and old.bitrate_kbps is not None:
        info = old.replace(bitrate_kbps=min(old.bitrate_kbps, bitrate_kbps))
        control = RateControl(old, bitrate_kbps, carry=carry)

        def cut(payload: bytes, n_frames: int, n_samples: int | None) -> bytes:
            payload = payload[: control.budget(n_frames, n_samples)]
            control.spend(n_frames, len(payload), n_samples)
            return payload

        return info, cut
    if bitrate_kbps is not None:
        n_codebooks = _codebooks_in(old, bitrate_kbps)
    coder = ConstantCoder(old, n_codebooks)

    def keep(payload: bytes, n_frames: int, n_samples: int | None) -> bytes:
        return coder.cut(payload, n_frames) if payload else payload

    return old.replace(n_codebooks=coder.n_codebooks), keep


def _codebooks_in(info: StreamInfo, bitrate_kbps: float) -> int:
    """Codebooks of a file of the constant coding whose codes fit into a bitrate."""
    one = Fraction((info.codebook_bits or 0) * info.sample_rate, 1000 * info.hop_length)
    fit = min(math.floor(exact(bitrate_kbps) / one), info.n_codebooks or 0)
    if fit < 1:
        raise ConfigError(f"{bitrate_kbps} kbps is less than one codebook, {float(one):.3g} kbps")
    return fit


def _with_end(reader: EulReader) -> Iterator[tuple[Packet, int | None]]:
    """Each packet; with the last two of a stream of unknown length, the samples of all its audio.

    Two, as the last packet may be a single frame, which only completes the audio of those before.
    """
    if reader.info.n_samples is not None:
        yield from ((packet, None) for packet in reader.packets())
        return
    held: deque[Packet] = deque()
    for packet in reader.packets():
        held.append(packet)
        if len(held) > 2:
            yield held.popleft(), None
    yield from ((packet, reader.info.n_samples) for packet in held)
