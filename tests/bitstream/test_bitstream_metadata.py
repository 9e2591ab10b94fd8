"""Title, comment and gain come back from any file that is made of a file."""

import math

import pytest
from helpers.streams import (
    concat,
    cut,
    header_end,
    lower,
    make_info,
    make_payloads,
    make_stream,
    with_body,
    write_stream,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from minimal_decoder import decode

from eulerodec.bitstream import (
    Metadata,
    read,
)
from eulerodec.errors import BitstreamError


@settings(max_examples=50, deadline=None)
@given(
    title=st.text(max_size=60).filter(str.isprintable),
    comment=st.text(max_size=60).filter(lambda s: s.replace("\n", "").isprintable()),
    gain=st.floats(-127, 127),
)
def test_metadata_comes_back(title, comment, gain):
    metadata = Metadata(title=title, comment=comment, gain_db=gain)
    assert abs(metadata.gain_db - gain) <= 1 / 512
    assert metadata.gain == pytest.approx(10 ** (metadata.gain_db / 20))
    info = make_info(extensions=((9, b"kept"),), metadata=metadata)
    data = write_stream(info, make_payloads(info, 5))
    for file in (data, lower(data, 1), cut(data, 300, 900)):
        assert read(file).info.metadata == metadata
        assert read(file).info.extensions == ((9, b"kept"),)
    head = decode(data)[0]
    assert (head["title"], head["comment"], head["gain_db"]) == (title, comment, metadata.gain_db)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": "ä" * 128}, "title of 256 bytes"),
        ({"title": "a\nb"}, "title must be printable"),
        ({"title": "\x1b[2J"}, "title must be printable"),
        ({"comment": "x" * 4097}, "comment of 4097 bytes is too long, the limit is 4096"),
        ({"comment": "a\tb"}, "comment must be printable"),
        ({"title": "\ud800"}, "UTF-8"),
        ({"gain_db": 128}, "gain must be -127 to 127 dB"),
        ({"gain_db": math.nan}, "gain"),
    ],
)
def test_metadata_that_cannot_be_written(changes, message):
    with pytest.raises(BitstreamError, match=message):
        Metadata(**changes)


def with_fields(data, *fields):
    body = data[7 : header_end(data) - 4]
    for tag, value in fields:
        size = len(value)
        body += bytes([tag, size & 127 | 128, size >> 7]) + value
    return with_body(data, body)


@pytest.mark.parametrize(
    "field",
    [(1, b"\xff"), (1, b"\x1b[2J"), (1, bytes(300)), (2, b"x" * 5000), (3, b"1"), (3, b"\x80\x00")],
)
def test_metadata_that_breaks_the_rules_counts_as_absent(field):
    data, _ = make_stream()
    assert read(with_fields(data, field)).info.metadata == Metadata()


def test_the_first_of_two_titles_counts():
    data, _ = make_stream()
    assert read(with_fields(data, (1, b"a"), (1, b"b"))).info.metadata.title == "a"


def test_joining_keeps_a_gain_only_if_it_is_that_of_all():
    def with_gain(gain):
        return make_stream(5, metadata=Metadata(title=f"{gain}", gain_db=gain))[0]

    assert read(concat(with_gain(3), with_gain(3))).info.metadata.gain_db == 3
    mixed = read(concat(with_gain(3), with_gain(-1))).info.metadata
    assert mixed == Metadata(title="3")
