"""Patterns against loops over lists, and there and back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eulerodec.errors import BitstreamError, ConfigError
from eulerodec.tokens import (
    Vocabulary,
    from_delayed,
    from_flat,
    from_parallel,
    to_delayed,
    to_flat,
    to_parallel,
)

S = 16


@st.composite
def batches(draw):
    """A vocabulary, codes [B, K, T] and the length of each item."""
    n_items, k, t = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(0, 7))
    vocabulary = Vocabulary(
        k, S, first=draw(st.sampled_from([0, 1000])), shared=draw(st.booleans())
    )
    seed = draw(st.integers(0, 1 << 16))
    rng = np.random.default_rng(seed)
    lengths = draw(st.lists(st.integers(0, t), min_size=n_items, max_size=n_items))
    return vocabulary, rng.integers(0, S, (n_items, k, t)), lengths


def ids(vocabulary, codes):
    """Ids by the words of the docstring."""
    start = vocabulary.first + 3
    return [
        [start + (0 if vocabulary.shared else k * S) + int(c) for c in row]
        for k, row in enumerate(codes)
    ]


def filled(rows, pad):
    longest = max(map(len, rows))
    return [row + [pad] * (longest - len(row)) for row in rows]


def kept(codes, lengths):
    """What comes back: -1 after the end of an item."""
    inside = np.arange(codes.shape[2]) < np.array(lengths)[:, None, None]
    return np.where(inside, codes, -1)


def starts_with(longer, shorter):
    """Equal, but for frames without a code at the end."""
    n = shorter.shape[2]
    return np.array_equal(longer[..., :n], shorter) and (longer[..., n:] == -1).all()


@given(batches())
def test_flat(batch):
    v, codes, lengths = batch
    tokens = to_flat(codes, v, lengths)
    rows = []
    for item, n in zip(codes, lengths, strict=True):
        row = [id_ for frame in zip(*ids(v, item[:, :n]), strict=True) for id_ in frame]
        rows.append([v.bos, *row, v.eos])
    rows[0] += [v.pad] * (2 + codes[0].size - len(rows[0]))
    assert tokens.tolist() == filled(rows, v.pad)
    back, n = from_flat(tokens, v)
    assert n.tolist() == lengths
    assert starts_with(back, kept(codes, lengths))


@given(batches(), st.data())
def test_delayed(batch, data):
    v, codes, lengths = batch
    k = v.n_codebooks
    delays = data.draw(
        st.none() | st.lists(st.integers(0, 4), min_size=k, max_size=k), label="delays"
    )
    tokens = to_delayed(codes, v, lengths, delays=delays)
    steps = list(range(k)) if delays is None else delays
    assert tokens.shape == (len(codes), k, codes.shape[2] + max(steps) + 2)
    for item, n, got in zip(codes, lengths, tokens.tolist(), strict=True):
        for step, row, found in zip(steps, ids(v, item[:, :n]), got, strict=True):
            want = [v.bos] * (1 + step) + row + [v.eos]
            assert found == want + [v.pad] * (len(found) - len(want))
    back, n = from_delayed(tokens, v, delays=delays)
    assert n.tolist() == lengths
    assert np.array_equal(back, np.pad(kept(codes, lengths), ((0, 0), (0, 0), (0, 1)),
                                       constant_values=-1))  # fmt: skip


@given(batches())
def test_parallel_is_delayed_by_nothing(batch):
    v, codes, lengths = batch
    tokens = to_parallel(codes, v, lengths)
    assert np.array_equal(tokens, to_delayed(codes, v, lengths, delays=[0] * v.n_codebooks))
    back, n = from_parallel(tokens, v)
    assert n.tolist() == lengths and starts_with(back, kept(codes, lengths))


@given(batches(), st.data())
@settings(max_examples=50)
def test_what_was_cut_off_gives_its_whole_frames(batch, data):
    """As from a model that was stopped before it said eos."""
    v, codes, _ = batch
    k, t = codes.shape[1:]
    flat, delayed = to_flat(codes, v), to_delayed(codes, v)
    cut = data.draw(st.integers(1, flat.shape[1]))
    back, n = from_flat(flat[:, :cut], v)
    assert set(n.tolist()) == {min((cut - 1) // k, t)}
    assert np.array_equal(back[..., : n[0]], codes[..., : n[0]])
    cut = data.draw(st.integers(1, delayed.shape[2]))
    back, n = from_delayed(delayed[..., :cut], v)
    assert set(n.tolist()) == {min(max(cut - k, 0), t)}
    assert np.array_equal(back[..., : n[0]], codes[..., : n[0]])


@pytest.mark.parametrize("shared", [False, True])
def test_ids_of_a_vocabulary_do_not_meet(shared):
    v = Vocabulary(4, S, first=7, shared=shared)
    codes = [range(start, start + S) for start in v.offsets]
    codes = codes[:1] if shared else codes
    everything = [v.pad, v.bos, v.eos, *(i for book in codes for i in book)]
    assert sorted(everything) == list(range(7, v.size))


def test_tensors_stay_tensors_of_their_device():
    v = Vocabulary(2, S)
    codes = torch.randint(0, S, (3, 2, 5), dtype=torch.int16)
    tokens = to_delayed(codes, v, torch.tensor([5, 0, 2]))
    assert tokens.dtype == torch.int64
    assert np.array_equal(tokens.numpy(), to_delayed(codes.numpy(), v, [5, 0, 2]))
    back, lengths = from_delayed(tokens, v)
    assert isinstance(back, torch.Tensor) and lengths.tolist() == [5, 0, 2]


def test_arrays_of_a_file_may_be_read_only():
    codes = np.zeros((1, 2, 3), np.int16)
    codes.flags.writeable = False
    assert to_flat(codes, Vocabulary(2, S)).shape == (1, 8)


V = Vocabulary(2, S)
GOOD = np.zeros((1, 2, 3), np.int64)


@pytest.mark.parametrize(
    ("work", "error", "words"),
    [
        (lambda: to_flat(GOOD[0], V), BitstreamError, "shape [B, 2, T], not [2, 3]"),
        (lambda: to_flat(GOOD[:, :1], V), BitstreamError, "shape [B, 2, T], not [1, 1, 3]"),
        (lambda: to_flat(GOOD + S, V), BitstreamError, "code 16 of item 0, codebook 0, frame 0"),
        (lambda: to_flat(GOOD - 1, V), BitstreamError, "outside 0 to 15"),
        (lambda: to_flat(GOOD / 2, V), BitstreamError, "integers, not float64"),
        (lambda: to_flat(GOOD, V, [4]), ConfigError, "0 to 3, not [4]"),
        (lambda: to_flat(GOOD, V, [1, 1]), ConfigError, "1 whole numbers"),
        (lambda: to_flat(GOOD, V, [1.5]), ConfigError, "whole numbers"),
        (lambda: to_delayed(GOOD, V, delays=[1]), ConfigError, "as many delays"),
        (lambda: to_delayed(GOOD, V, delays=[0, -1]), ConfigError, "not -1"),
        (lambda: from_flat(to_flat(GOOD, V)[:, 1:], V), BitstreamError, "start with bos, 1"),
        (lambda: from_flat(np.zeros((1, 0), int), V), BitstreamError, "start with bos"),
        (lambda: from_delayed(to_flat(GOOD, V), V), BitstreamError, "shape [B, 2, L]"),
        (lambda: from_flat(np.array([[1, 3, 3]]), V), BitstreamError, "token 3 of item 0, frame 0"),
        (lambda: from_flat(np.array([[1, 3, 1]]), V), BitstreamError, "no code of codebook 1"),
        (lambda: Vocabulary(0, S), ConfigError, "n_codebooks"),
        (lambda: Vocabulary(1, S, first=-1), ConfigError, "first"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(work, error, words):
    with pytest.raises(error) as caught:
        work()
    assert words in str(caught.value) and "\n" not in str(caught.value)
