"""The options of everything that encodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

from ..audio import Tags
from ..bitstream import Metadata
from ..bitstream.fields import MAX_COMMENT, MAX_TITLE

__all__ = ["EncodeOptions", "with_tags"]


class EncodeOptions(TypedDict, total=False):
    """Keyword arguments that all ways to encode take; each may be left out.

    Attributes:
        n_codebooks: stages of the quantiser, in place of a bitrate.
        beam: paths of the code search, 1 to 64, by default 3; more is slower and a little better.
        block_frames: frames that are computed together, 1 to 4096. By default 64 for arrays, 32
            for live input, and 128 for files.
        frames_per_packet: frames in a packet of the file, by default 256, and 16 for live input.
        entropy_coding: the file is smaller, by how much depends on the audio; without it the
            bitrate is exactly what was asked for. The codes are the same.
        metadata: title, comment and gain for the header. The codes are the same.
    """

    n_codebooks: int | None
    beam: int
    block_frames: int
    frames_per_packet: int
    entropy_coding: bool
    metadata: Metadata | None


def with_tags(metadata: Metadata | None, tags: Tags) -> Metadata:
    """Metadata whose empty title and comment are those of a recording, as far as they fit."""
    own, tags = metadata or Metadata(), tags.limited(MAX_TITLE, MAX_COMMENT)
    return replace(own, title=own.title or tags.title, comment=own.comment or tags.comment)
