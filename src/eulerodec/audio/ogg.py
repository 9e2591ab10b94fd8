"""Ogg: the pages of a file, its links, and what of it is missing (RFC 3533).

A file may be a chain of links, each a stream of its own; libsndfile reads only the first.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from .report import Report

__all__ = ["find_links"]

_PAGE = b"OggS"
_HEADER_SIZE = 27
_MOST_PAGE = _HEADER_SIZE + 255 + 255 * 255
_FIRST, _LAST = 2, 4  # flags of the first and last page of a stream
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class _Page:
    flags: int
    serial: int
    number: int
    size: int


def find_links(source: BinaryIO, report: Report) -> list[tuple[int, int]]:
    """The links of an Ogg file.

    Args:
        source: A file that can seek.
        report: Learns of pages that are damaged, cut short or missing.

    Returns:
        First byte of each link, and the byte behind its last whole page.

    Raises:
        AudioError: for damage, unless that may be.
    """
    end = source.seek(0, io.SEEK_END)
    links: list[tuple[int, int]] = []
    begins = True  # no page but first ones in this link so far
    unfinished: set[int] = set()
    numbers: dict[int, int] = {}
    at = start = done = 0
    while at < end:
        source.seek(at)
        data = source.read(_MOST_PAGE)
        page = _parse(data)
        if page is None:
            if at + len(data) == end and _is_cut(data):
                report.missing(f"cut short: its last page, at byte {at} of {end}, is not whole")
                break
            behind = _find_page(source, at + 1, end)
            report.missing(f"damaged: bytes {at} to {behind} are no pages")
            at, numbers = behind, {}
            continue
        if page.flags & _FIRST and not begins:
            _check_finished(unfinished, report)
            links.append((start, done))
            start, begins = at, True
            unfinished, numbers = set(), {}
        begins = bool(page.flags & _FIRST)
        if begins:
            unfinished.add(page.serial)
        elif 2 < numbers.get(page.serial, 0) != page.number - 1:
            # not behind the headers: what was cut out of a broadcast begins anywhere
            report.note(f"pages are missing before byte {at}")
        numbers[page.serial] = page.number
        if page.flags & _LAST:
            unfinished.discard(page.serial)
        at = done = at + page.size
    else:
        _check_finished(unfinished, report)
    return [*links, (start, done)] if done > start else links


def _check_finished(unfinished: set[int], report: Report) -> None:
    if unfinished:
        report.note("the stream has no last page; it may have been cut off")


def _parse(data: bytes) -> _Page | None:
    """The page that ``data`` begins with, None if it is damaged or not whole."""
    if data[:4] != _PAGE or len(data) < _HEADER_SIZE:
        return None
    segments = data[26]
    size = _HEADER_SIZE + segments + sum(data[_HEADER_SIZE : _HEADER_SIZE + segments])
    if len(data) < max(size, _HEADER_SIZE + segments):
        return None
    checksum = int.from_bytes(data[22:26], "little")
    if _checksum(data[:22] + bytes(4) + data[26:size]) != checksum:
        return None
    serial, number = (int.from_bytes(data[i : i + 4], "little") for i in (14, 18))
    return _Page(data[5], serial, number, size)


def _is_cut(data: bytes) -> bool:
    """Whether ``data``, the end of a file, is the beginning of a page that is longer."""
    if data[:4] != _PAGE[: len(data)]:
        return False
    if len(data) < _HEADER_SIZE or len(data) < _HEADER_SIZE + data[26]:
        return True
    table = data[_HEADER_SIZE : _HEADER_SIZE + data[26]]
    return len(data) < _HEADER_SIZE + len(table) + sum(table)


def _find_page(source: BinaryIO, at: int, end: int) -> int:
    """Where the next page may begin, ``end`` if there is none."""
    while at < end:
        source.seek(at)
        data = source.read(1 << 16)
        found = data.find(_PAGE)
        if found >= 0:
            return at + found
        at += max(len(data) - 3, 1)
    return end


def _checksum(data: bytes) -> int:
    """CRC with polynomial 0x04c11db7, from 0, not inverted: zlib's with all bits reversed."""
    reflected = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
