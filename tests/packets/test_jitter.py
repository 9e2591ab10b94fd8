"""The buffer alone, over long streams."""

from __future__ import annotations

import pytest

from eulerodec import PacketError
from eulerodec.packets import JitterBuffer, Packet, reorder
from eulerodec.packets.jitter import MAX_AHEAD_FRAMES


def bare(number, size=2, **flags):
    frame = number * size & 0xFFFFFFFF
    return Packet(number & 0xFFFF, frame, size, size, b"", b"", b"ab", **flags)


def test_both_counters_wrap():
    """Frames once, numbers twice: 70 000 packets from just before the wraps on."""
    first = (1 << 31) - 1000  # frames from 2^32 - 2000
    buffer = JitterBuffer(3)
    order = reorder(70_000, 3, 1)
    out = [p for k in order for p in buffer.push(bare(first + int(k), start=k == 0))]
    assert [p.frame for p in out] == [(first + k) * 2 & 0xFFFFFFFF for k in range(70_000)]
    assert buffer.stats.lost == buffer.stats.late == buffer.n_held == 0
    assert len(buffer._state.taken) <= 500


def test_a_pause_is_bridged_up_to_its_limit():
    near, far = 1 + MAX_AHEAD_FRAMES // 2 - 1, 1 + MAX_AHEAD_FRAMES // 2
    buffer = JitterBuffer(0)
    buffer.push(bare(0, start=True))
    assert [p.frame for p in buffer.push(bare(near))] == [2 * near]
    assert buffer.stats.lost == near - 1
    buffer.reset()
    buffer.push(bare(0, start=True))
    with pytest.raises(PacketError):
        buffer.push(bare(far))
    with pytest.raises(PacketError):  # the same again is no second witness
        buffer.push(bare(far))
    assert [p.frame for p in buffer.push(bare(far + 1))] == [2 * far, 2 * far + 2]
    assert buffer.stats.restarts == 1
