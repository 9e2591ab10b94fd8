"""Title and comment of a recording."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Tags"]


@dataclass(frozen=True)
class Tags:
    """What a file says about its recording, as printable text.

    Characters that are not printable become spaces; a comment keeps its line feeds.

    Attributes:
        title: One line, empty if there is none.
        comment: Lines, empty if there is none.
    """

    title: str = ""
    comment: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", _printable(self.title, lines=False))
        object.__setattr__(self, "comment", _printable(self.comment, lines=True))

    def limited(self, title_bytes: int, comment_bytes: int) -> Tags:
        """These tags cut to so many bytes of UTF-8, at whole characters."""
        return Tags(_cut(self.title, title_bytes), _cut(self.comment, comment_bytes))


def _printable(text: str, lines: bool) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = (c if c.isprintable() or (lines and c == "\n") else " " for c in text)
    return "".join(kept).strip()


def _cut(text: str, n_bytes: int) -> str:
    return text.encode()[:n_bytes].decode(errors="ignore")
