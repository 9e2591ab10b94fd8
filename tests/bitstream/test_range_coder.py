"""The range coder against constriction's, whose format it has."""

import numpy as np
import pytest
from helpers.code_tables import Draw
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eulerodec.bitstream.range_coder import RangeDecoder, RangeEncoder, Starts

constriction = pytest.importorskip("constriction")
Categorical = constriction.stream.model.Categorical
queue = constriction.stream.queue

SIZES = 2, 256, 2048
NEVER = 1 << 40  # bytes


def draw(seed, n_symbols):
    """(symbols, counts of each): of tables of several sizes, most of them very unequal."""
    source = Draw(seed)
    tables = [source.frequencies(size) for size in SIZES] + [np.array([0, 65_534])]
    counts = [tables[i] for i in source.integers(0, len(tables), n_symbols)]
    symbols = [int(source.integers(0, 10**6, 1)[0]) % len(table) for table in counts]
    return symbols, counts


def write(symbols, counts, n_bytes=NEVER):
    encoder = RangeEncoder()
    is_settled = encoder.write(symbols, [Starts.of(table) for table in counts], n_bytes)
    return encoder.settled(n_bytes) if is_settled else encoder.finish()


def read(payload, counts):
    return RangeDecoder(payload).read([Starts.of(table) for table in counts])


def models(counts):
    return [Categorical((table + 1.0) / 2**16, perfect=False) for table in counts]


@given(st.integers(0, 2**30), st.integers(1, 120))
@settings(max_examples=40, deadline=None)
@example(seed=27, n_symbols=600)
def test_the_other_coder_writes_and_reads_the_same(seed, n_symbols):
    symbols, counts = draw(seed, n_symbols)
    encoder = queue.RangeEncoder()
    for symbol, model in zip(symbols, models(counts), strict=True):
        encoder.encode(symbol, model)
    theirs = encoder.get_compressed()
    assert read(theirs.astype(">u4").tobytes(), counts)[:-8] == symbols[:-8]
    ours = write(symbols, counts)
    assert ours[:-9] == theirs.astype(">u4").tobytes()[: max(len(ours) - 9, 0)]
    padded = np.frombuffer(ours + bytes(8 + -len(ours) % 4), ">u4").astype(np.uint32)
    decoder = queue.RangeDecoder(padded)
    assert [decoder.decode(model) for model in models(counts)] == symbols


@given(st.integers(0, 2**30), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_no_byte_less_tells_all_symbols(seed, n_symbols):
    symbols, counts = draw(seed, n_symbols)
    data = write(symbols, counts)
    assert read(data, counts) == symbols and len(read(data[:-1], counts)) < n_symbols
    for more in (b"\0" * 9, b"\xff" * 9, b"\x80\1"):
        assert read(data + more, counts)[:n_symbols] == symbols


def test_settled_bytes_do_not_change():
    symbols, counts = draw(5, 300)
    whole = write(symbols, counts)
    for n in range(0, len(whole) - 20, 7):
        assert write(symbols, counts, n) == whole[:n]


def test_a_carry_goes_through_all_words():
    """The interval stays around 8000..., until the last symbol says on which side."""
    counts = draw(3, 200)[1]
    symbols = read(b"\x80" + bytes(30), counts)[:-6]
    counts = [*counts[: len(symbols)], np.full(256, 255)]
    for last, start in ((0, b"\x7f" + b"\xff" * 16), (255, b"\x80" + bytes(16))):
        found = write([*symbols, last], counts)
        assert found.startswith(start) and read(found, counts) == [*symbols, last]
