"""Packets as a network delivers them, back in order, without a clock.

Waiting is counted in packets: one that is missing is given up when a packet arrives that is more
than ``depth`` after it. So what comes out depends on the order of arrival only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import ConfigError, PacketError
from .wire import Packet, signed

__all__ = ["MAX_DEPTH", "JitterBuffer", "ReceiverStats"]

MAX_DEPTH = 100  # packets
MAX_BEHIND = 200  # packets; one that is later belongs to another stream
MAX_AHEAD_FRAMES = 1024  # 11 s; after a longer pause the stream starts again


@dataclass
class ReceiverStats:
    """What a receiver met.

    Packets: ``received`` belonged to the stream; of these ``late`` came after they were given up
    or before its start, and ``duplicates`` came twice; ``lost`` were given up; ``rejected`` raised
    an error. ``restarts``: the stream went on in another place. Frames: ``concealed``, and
    ``repaired`` from what the packet after them repeats.
    """

    received: int = 0
    late: int = 0
    duplicates: int = 0
    lost: int = 0
    rejected: int = 0
    restarts: int = 0
    concealed: int = 0
    repaired: int = 0


@dataclass
class _State:
    """Everything a buffer knows of its stream. Sequence numbers are counted on over their wraps."""

    held: dict[int, Packet] = field(default_factory=dict)
    last: Packet | None = None  # the last that came: all others lie on a line through it
    newest: int = 0
    next: int | None = None  # number that is due; None before the start
    taken: set[int] = field(default_factory=set)
    stranger: Packet | None = None  # fitted nowhere; a second one like it is a new stream


class JitterBuffer:
    """Takes packets in any order and gives them in theirs.

    ``depth``: packets that may overtake a packet without it being lost, 0 to 100. What is in order
    passes at once. The packets of a stream have consecutive sequence numbers and ``packet_frames``
    frames each, so each says of every other where it belongs. One that contradicts the others is
    rejected, but if a second one agrees with it, the stream starts again there and what is still
    held is dropped (like RFC 3550, appendix A.1).
    """

    def __init__(self, depth: int = 2) -> None:
        if isinstance(depth, bool) or depth not in range(MAX_DEPTH + 1):
            raise ConfigError(f"depth {depth!r}: allowed are 0 to {MAX_DEPTH} packets")
        self.depth = int(depth)
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next packet starts a new one."""
        self._state = _State()
        self.stats = ReceiverStats()

    @property
    def n_held(self) -> int:
        """Packets that wait for one before them."""
        return len(self._state.held)

    def push(self, packet: Packet) -> list[Packet]:
        """A packet as it arrives -> those that are due now, in order; missing ones are left out.

        Errors: :class:`PacketError` for one of another stream; the buffer is then as before.
        """
        state = self._state
        if state.last is None:
            number = state.newest = packet.sequence
        else:
            number = state.newest + signed(packet.sequence - state.newest, 16)
            if not self._fits(packet, number - state.newest):
                return self._stranger(packet)
        state.last, state.stranger = packet, None
        state.newest = max(state.newest, number)
        self.stats.received += 1
        if number in state.held or number in state.taken:
            self.stats.duplicates += 1
        elif state.next is not None and number < state.next:
            self.stats.late += 1
        else:
            state.held[number] = packet
        return self._due()

    def flush(self) -> list[Packet]:
        """All packets that are left, in order; the stream ends."""
        state = self._state
        if state.next is None and state.held:
            state.next = min(state.held)
        left = []
        while state.held:
            left += self._take()
        return left

    def _fits(self, packet: Packet, ahead: int) -> bool:
        last = self._state.last
        near = ahead >= -MAX_BEHIND and ahead * packet.packet_frames <= MAX_AHEAD_FRAMES
        return near and last is not None and _same_stream(last, packet)

    def _stranger(self, packet: Packet) -> list[Packet]:
        """Start again with two packets that agree with each other and not with the others."""
        before = self._state.stranger
        steps = 0 if before is None else signed(packet.sequence - before.sequence, 16)
        if before is None or not 0 < abs(steps) <= MAX_DEPTH or not _same_stream(before, packet):
            self._state.stranger = packet
            raise PacketError(f"packet {packet.sequence} does not belong to this stream")
        self._state = _State()
        self.stats.restarts += 1
        return self.push(before) + self.push(packet)

    def _due(self) -> list[Packet]:
        state = self._state
        if state.next is None:
            start = [number for number, packet in state.held.items() if packet.start]
            first = min(state.held)
            if start:
                state.next = start[0]
                state.held = {n: p for n, p in state.held.items() if n >= start[0]}
            elif state.newest - first >= self.depth:  # nothing before it can come in time
                state.next = first
            else:
                return []
        due = []
        while state.next in state.held or (state.held and state.newest - state.next > self.depth):
            due += self._take()
        return due

    def _take(self) -> list[Packet]:
        """The packet that is due, or nothing if it is missing."""
        state = self._state
        assert state.next is not None
        packet = state.held.pop(state.next, None)
        if packet is None:
            self.stats.lost += 1
        else:
            state.taken.add(state.next)
        state.taken.discard(state.next - 2 * MAX_BEHIND)
        state.next += 1
        return [] if packet is None else [packet]


def _same_stream(a: Packet, b: Packet) -> bool:
    """Whether frames and sequence numbers of two packets go together."""
    steps = signed(b.sequence - a.sequence, 16)
    frames = signed(b.frame - a.frame, 32)
    return a.packet_frames == b.packet_frames and frames == steps * a.packet_frames
