"""Codes ``[B, K, T]`` to sequences of token ids, and back.

Three patterns, in which language models of audio are trained:

- *flat*: frame after frame, in each the codes of its codebooks, ``[B, L]``.
- *parallel*: all codes of a frame at one step, ``[B, K, L]``.
- *delayed*: as parallel, but codebook k comes k steps later (MusicGen, Copet et al. 2023), so that
  it can depend on the codes of its frame before it.

Each sequence starts with bos, ends with eos, and is filled up with padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import BitstreamError, ConfigError
from ..settings import whole
from .vocabulary import Vocabulary

__all__ = [
    "from_delayed",
    "from_flat",
    "from_parallel",
    "to_delayed",
    "to_flat",
    "to_parallel",
]

Array = TypeVar("Array", NDArray[Any], Tensor)
Lengths = Sequence[int] | NDArray[Any] | Tensor

NO_CODE = -1  # as in ``Encoded.codes``


def to_flat(codes: Array, vocabulary: Vocabulary, lengths: Lengths | None = None) -> Array:
    """Codes to the flat pattern.

    Args:
        codes: integers ``[B, K, T]``, array or tensor.
        vocabulary: for K codebooks.
        lengths: frames of each item, ``[B]``; what follows them is ignored. All T by default.

    Returns:
        int64 ``[B, 1 + K T + 1]``, on the device of the codes; an array for an array.

    Raises:
        BitstreamError: codes of another shape, or out of range.
        ConfigError: lengths that do not fit.
    """
    x, n = _checked_codes(codes, vocabulary, lengths)
    frames, ends = x.transpose(1, 2).flatten(1), (n * vocabulary.n_codebooks)[:, None]
    tokens = _framed(frames[:, None], ends, (0,), vocabulary)[:, 0]
    return _like(codes, tokens)


def from_flat(tokens: Array, vocabulary: Vocabulary) -> tuple[Array, Array]:
    """The flat pattern to codes.

    Args:
        tokens: ids ``[B, L]``, bos first. A sequence without eos ends at its padding or at L, and
            what is not a whole frame is left out.
        vocabulary: as for :func:`to_flat`.

    Returns:
        Codes int64 ``[B, K, T]``, -1 after the end of an item, and the frames of each, ``[B]``.

    Raises:
        BitstreamError: another shape, no bos, or an id that is no code of its codebook.
    """
    x = _checked_tokens(tokens, 2, vocabulary)
    n_codebooks = vocabulary.n_codebooks
    n_frames = (x.shape[1] - 1) // n_codebooks
    frames = x[:, 1 : 1 + n_frames * n_codebooks].unflatten(1, (n_frames, n_codebooks))
    return _codes(tokens, frames.transpose(1, 2), vocabulary)


def to_parallel(codes: Array, vocabulary: Vocabulary, lengths: Lengths | None = None) -> Array:
    """Codes to the parallel pattern ``[B, K, 1 + T + 1]``; else as :func:`to_flat`."""
    return to_delayed(codes, vocabulary, lengths, delays=(0,) * vocabulary.n_codebooks)


def from_parallel(tokens: Array, vocabulary: Vocabulary) -> tuple[Array, Array]:
    """The parallel pattern ``[B, K, L]`` to codes; else as :func:`from_flat`."""
    return from_delayed(tokens, vocabulary, delays=(0,) * vocabulary.n_codebooks)


def to_delayed(
    codes: Array,
    vocabulary: Vocabulary,
    lengths: Lengths | None = None,
    *,
    delays: Sequence[int] | None = None,
) -> Array:
    """Codes to the delayed pattern.

    Args:
        codes, vocabulary, lengths: as for :func:`to_flat`.
        delays: steps by which each codebook comes later; 0, 1, ..., K - 1 by default. A codebook
            has bos until its first code.

    Returns:
        int64 ``[B, K, 1 + T + max(delays) + 1]``, else as :func:`to_flat`.

    Raises:
        BitstreamError, ConfigError: as for :func:`to_flat`, and delays that do not fit.
    """
    steps = _checked_delays(delays, vocabulary)
    x, n = _checked_codes(codes, vocabulary, lengths)
    return _like(codes, _framed(x, n[:, None].expand(-1, x.shape[1]), steps, vocabulary))


def from_delayed(
    tokens: Array, vocabulary: Vocabulary, *, delays: Sequence[int] | None = None
) -> tuple[Array, Array]:
    """The delayed pattern to codes.

    Args:
        tokens: ids ``[B, K, L]``, bos first. Without eos, an item has as many frames as are there
            with all their codes.
        vocabulary, delays: as for :func:`to_delayed`.

    Returns:
        Codes and frames of each item, as :func:`from_flat`.

    Raises:
        BitstreamError, ConfigError: as for :func:`from_flat`, and delays that do not fit.
    """
    steps = _checked_delays(delays, vocabulary)
    x = _checked_tokens(tokens, 3, vocabulary)
    n_frames = max(x.shape[2] - 1 - max(steps), 0)
    rows = [x[:, k, 1 + step : 1 + step + n_frames] for k, step in enumerate(steps)]
    return _codes(tokens, torch.stack(rows, 1), vocabulary)


def _framed(ids: Tensor, ends: Tensor, delays: Sequence[int], vocabulary: Vocabulary) -> Tensor:
    """Rows ``[B, R, N]`` of ends ``[B, R]``, delayed, between bos and eos and filled up."""
    n_items, n_rows, n_ids = ids.shape
    shift = torch.tensor(delays, device=ids.device)[None, :, None]
    at = torch.arange(n_ids + max(delays) + 2, device=ids.device) - 1 - shift
    at = at.expand(n_items, n_rows, -1)
    wide = torch.nn.functional.pad(ids, (0, 1))  # so that there is something to take
    tokens = wide.gather(2, at.clamp(0, n_ids))
    tokens = torch.where(at < 0, vocabulary.bos, tokens)
    tokens = torch.where(at == ends[..., None], vocabulary.eos, tokens)
    tokens = torch.where(at > ends[..., None], vocabulary.pad, tokens)
    return tokens


def _codes(given: Array, ids: Tensor, vocabulary: Vocabulary) -> tuple[Array, Array]:
    """Ids ``[B, K, T]`` to codes, -1 after the end, and lengths ``[B]``."""
    n_frames = ids.shape[2]
    ended = ((ids == vocabulary.eos) | (ids == vocabulary.pad)).any(1)
    frame = torch.arange(n_frames, device=ids.device)
    lengths = torch.where(ended, frame, n_frames).amin(1) if n_frames else ids.new_zeros(len(ids))
    inside = (frame < lengths[:, None])[:, None]
    codes = ids - _offsets(vocabulary, ids)
    wrong = inside & ((codes < 0) | (codes >= vocabulary.codebook_size))
    if bool(wrong.any()):
        item, k, t = (int(i) for i in wrong.nonzero()[0])
        raise BitstreamError(
            f"token {int(ids[item, k, t])} of item {item}, frame {t}, is no code of codebook {k}"
        )
    return _like(given, torch.where(inside, codes, NO_CODE)), _like(given, lengths)


def _checked_codes(
    codes: NDArray[Any] | Tensor, vocabulary: Vocabulary, lengths: Lengths | None
) -> tuple[Tensor, Tensor]:
    """Ids of codes ``[B, K, T]``, 0 after the end, and lengths ``[B]``."""
    x = _tensor(codes, "codes")
    if x.ndim != 3 or x.shape[1] != vocabulary.n_codebooks:
        raise BitstreamError(
            f"codes must have the shape [B, {vocabulary.n_codebooks}, T], not {list(x.shape)}"
        )
    n_items, _, n_frames = x.shape
    n = torch.full((n_items,), n_frames, device=x.device)
    if lengths is not None:
        n = torch.as_tensor(lengths).to(x.device)
        whole_numbers = not n.is_floating_point() or n.numel() == 0
        if n.shape != (n_items,) or not whole_numbers or bool(((n < 0) | (n > n_frames)).any()):
            raise ConfigError(
                f"lengths must be {n_items} whole numbers from 0 to {n_frames}, not {n.tolist()}"
            )
        n = n.long()
    inside = (torch.arange(n_frames, device=x.device) < n[:, None])[:, None]
    wrong = inside & ((x < 0) | (x >= vocabulary.codebook_size))
    if bool(wrong.any()):
        item, k, t = (int(i) for i in wrong.nonzero()[0])
        raise BitstreamError(
            f"code {int(x[item, k, t])} of item {item}, codebook {k}, frame {t} is outside"
            f" 0 to {vocabulary.codebook_size - 1}"
        )
    return torch.where(inside, x + _offsets(vocabulary, x), 0), n


def _checked_tokens(tokens: NDArray[Any] | Tensor, n_axes: int, vocabulary: Vocabulary) -> Tensor:
    x = _tensor(tokens, "tokens")
    rows = "" if n_axes == 2 else f"{vocabulary.n_codebooks}, "
    if x.ndim != n_axes or (rows and x.shape[1] != vocabulary.n_codebooks):
        raise BitstreamError(f"tokens must have the shape [B, {rows}L], not {list(x.shape)}")
    if x.shape[-1] < 1 or bool((x[..., 0] != vocabulary.bos).any()):
        raise BitstreamError(f"each sequence of tokens must start with bos, {vocabulary.bos}")
    return x


def _checked_delays(delays: Sequence[int] | None, vocabulary: Vocabulary) -> list[int]:
    if delays is None:
        return list(range(vocabulary.n_codebooks))
    if len(delays) != vocabulary.n_codebooks:
        raise ConfigError(f"{vocabulary.n_codebooks} codebooks need as many delays: {delays}")
    return [whole("a delay", delay, 0, 1 << 16) for delay in delays]


def _tensor(x: NDArray[Any] | Tensor, what: str) -> Tensor:
    if isinstance(x, Tensor):
        fits = not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)
    else:
        fits = x.dtype.kind in "iu"
    if not fits:
        raise BitstreamError(f"{what} must be integers, not {x.dtype}")
    return x.long() if isinstance(x, Tensor) else torch.from_numpy(x.astype(np.int64))


def _offsets(vocabulary: Vocabulary, like: Tensor) -> Tensor:
    return torch.tensor(vocabulary.offsets, device=like.device)[:, None]


def _like(given: Array, x: Tensor) -> Array:
    return x.numpy() if isinstance(given, np.ndarray) else x  # type: ignore[return-value]
