"""Which id a code has in the vocabulary of a language model."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import whole

__all__ = ["Vocabulary"]

_SPECIAL = 3
_MOST = 1 << 40  # ids are int64 tensors


@dataclass(frozen=True)
class Vocabulary:
    """Ids of codes and of three special tokens: padding, start and end.

    Ids from ``first`` on are, in this order, :attr:`pad`, :attr:`bos`, :attr:`eos`, and then the
    codes: those of codebook k from ``offsets[k]`` on.

    Attributes:
        n_codebooks: K, codes of a frame.
        codebook_size: S, codes of a codebook.
        first: the lowest id that is used; those below it are free for text or other things.
        shared: all codebooks have the same S ids, for models with an embedding and an output of
            its own for each codebook. By default each codebook has ids of its own.

    Raises:
        ConfigError: a number that is out of range.
    """

    n_codebooks: int
    codebook_size: int
    first: int = 0
    shared: bool = False

    def __post_init__(self) -> None:
        for name, low in (("n_codebooks", 1), ("codebook_size", 1), ("first", 0)):
            object.__setattr__(self, name, whole(name, getattr(self, name), low, _MOST))

    @property
    def pad(self) -> int:
        """Fills up what is shorter than the longest of its batch."""
        return self.first

    @property
    def bos(self) -> int:
        """Stands before the first code."""
        return self.first + 1

    @property
    def eos(self) -> int:
        """Stands after the last code."""
        return self.first + 2

    @property
    def offsets(self) -> tuple[int, ...]:
        """Id of code 0 of each codebook."""
        start = self.first + _SPECIAL
        step = 0 if self.shared else self.codebook_size
        return tuple(start + step * k for k in range(self.n_codebooks))

    @property
    def size(self) -> int:
        """Ids from 0 to the last one: rows of an embedding table."""
        return self.offsets[-1] + self.codebook_size
