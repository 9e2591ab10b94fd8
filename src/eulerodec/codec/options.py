"""The options of everything that encodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

from ..audio import Tags
from ..bitstream import Metadata
from ..bitstream.metadata import MAX_COMMENT, MAX_TITLE

__all__ = ["EncodeOptions", "with_tags"]


class EncodeOptions(TypedDict, total=False):
    """Keyword arguments that all ways to encode take; each may be left out.

    Attributes:
        n_codebooks: in place of a bitrate: so many codes for every frame, each of 11 bits; for
            tokens.
        beam: paths of the code search, 1 to 64, by default 4; more is slower and a little better.
        frames_per_packet: frames in a packet, 1 to 255; by default 92 (a second of the 24 kHz
            model), 24 for live input, and 248 with ``n_codebooks``.
        carry: what silence leaves of the bitrate goes to the packets after it (the default); if
            not, the file is smaller.
        metadata: title, comment and gain for the header.
    """

    n_codebooks: int | None
    beam: int
    frames_per_packet: int
    carry: bool
    metadata: Metadata | None


def with_tags(metadata: Metadata | None, tags: Tags) -> Metadata:
    """Metadata whose empty title and comment are those of a recording, as far as they fit."""
    own, tags = metadata or Metadata(), tags.limited(MAX_TITLE, MAX_COMMENT)
    return replace(own, title=own.title or tags.title, comment=own.comment or tags.comment)
