"""Entropy coded payloads: the codes of one packet, with nothing from the packets before it.

A channel's frames are cut into runs of 64, which are coded side by side, each as if it stood at the
start of a file. So a decoder does the work of several codes at once; a run costs a few bytes more.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from .rangecoder import RangeDecoder, RangeEncoder
from .tables import EntropyTables

__all__ = ["decode_packet", "encode_packet", "frames_of_payload", "intervals", "least_size"]

RUN = 64  # frames
BLOCK = 4096  # codes whose frequencies are in memory together
LEAST = 16  # a payload has at least this part of the fixed width's bytes: a bound for the work
HEAD = struct.Struct(">H")  # number of frames
Codes = npt.NDArray[np.int64]


def least_size(fixed: int) -> int:
    """Bytes that a payload has at least, if it would have ``fixed`` bytes in fixed width."""
    return -(-fixed // LEAST)


def frames_of_payload(payload: bytes) -> int:
    """Number of frames that a coded payload says it has; 0 if it is too short to say."""
    return HEAD.unpack_from(payload)[0] if len(payload) >= HEAD.size else 0


def encode_packet(codes: npt.NDArray[Any], tables: EntropyTables, fixed: int) -> bytes | None:
    """The payload of codes [C, K, T], ``None`` if it is not below ``fixed`` bytes."""
    edges = intervals(codes, tables)
    coder = RangeEncoder()
    for step in range(min(RUN, codes.shape[2])):
        for start, stop in edges[:, :, :, step::RUN].reshape(-1, 2).tolist():
            coder.put(start, stop)
    payload = HEAD.pack(codes.shape[2]) + coder.finish()
    payload = payload.ljust(least_size(fixed), b"\0")
    return payload if len(payload) < fixed else None


def intervals(codes: npt.NDArray[Any], tables: EntropyTables) -> Codes:
    """What the range coder codes for the codes [C, K, T] of a packet.

    [K, 2, C, T, 2]: of the part and of the member, where its part of [0, 2^16) starts and stops.
    """
    n_channels, n_stages, n_frames = codes.shape
    stages = np.arange(n_stages)[:, None, None]
    codes = codes.transpose(1, 0, 2)  # [K, C, T]
    features = tables.features[stages, codes].astype(np.int64)
    sizes = tables.sizes[stages, codes]
    before = np.zeros_like(features[0])
    before[:, 1:] = features.sum(0)[:, :-1]
    before[:, ::RUN] = 0
    sizes_before = np.zeros_like(sizes)
    sizes_before[:, :, 1:] = sizes[:, :, :-1]
    sizes_before[:, :, ::RUN] = 0

    n = n_channels * n_frames
    past = tables.past(before.reshape(n, -1))
    now = np.zeros_like(before.reshape(n, -1))
    above = np.zeros(n, np.int64)
    edges = np.zeros((n_stages, 2, n, 2), np.int64)  # of part and member: start and stop
    for k in range(n_stages):
        hidden = tables.hidden(k, past[k], now, sizes_before[k].ravel(), above)
        place = tables.rank[k, codes[k].ravel()].astype(np.int64)
        part, member = place >> tables.member_bits, place & (1 << tables.member_bits) - 1
        for at in range(0, n, BLOCK):
            rows = slice(at, at + BLOCK)
            starts = tables.parts(k, hidden[rows])
            edges[k, 0, rows] = _edges(starts, part[rows])
            starts = tables.members(k, hidden[rows], part[rows])
            edges[k, 1, rows] = _edges(starts, member[rows])
        now = now + features[k].reshape(n, -1)
        above = sizes[k].ravel()
    return edges.reshape(n_stages, 2, n_channels, n_frames, 2)


def _edges(starts: Codes, symbol: Codes) -> Codes:
    """Start and stop [N, 2] of one symbol [N] in each row of starts."""
    return np.take_along_axis(starts, symbol[:, None] + np.arange(2), 1)


def decode_packet(payload: bytes, tables: EntropyTables, n_channels: int, n_stages: int) -> Codes:
    """Codes [C, K, T] of a payload. Errors: :class:`BitstreamError` if no encoder made it."""
    n_frames = frames_of_payload(payload)
    codes = np.zeros((n_stages, n_channels, n_frames), np.int64)
    coder = RangeDecoder(payload[HEAD.size :])
    n = codes[0, :, ::RUN].size
    before = np.zeros((n, tables.features.shape[2]), np.int64)
    sizes = np.zeros((n_stages, n), np.int64)  # of the codes of the frame before
    for step in range(min(RUN, n_frames)):
        n_runs = codes[0, 0, step::RUN].size
        if n_runs * n_channels < len(before):  # the last run is over
            keep = np.arange(len(before)) % (n_runs + 1) < n_runs
            before, sizes = before[keep], sizes[:, keep]
        past = tables.past(before)
        now, above = np.zeros_like(before), np.zeros(len(before), np.int64)
        for k in range(n_stages):
            hidden = tables.hidden(k, past[k], now, sizes[k], above)
            part = np.array([coder.get(row) for row in tables.parts(k, hidden).tolist()])
            starts = tables.members(k, hidden, part).tolist()
            member = np.array([coder.get(row) for row in starts])
            found = tables.code[k, (part << tables.member_bits) + member]
            codes[k, :, step::RUN] = found.reshape(n_channels, n_runs)
            now = now + tables.features[k, found]
            above = sizes[k] = tables.sizes[k, found]
        before = now
    return np.ascontiguousarray(codes.transpose(1, 0, 2))
