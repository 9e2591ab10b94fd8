"""Files with bytes changed, left out or put in: an AudioError or samples, nothing else."""

from __future__ import annotations

import functools
import io
import warnings

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from eulerodec import audio
from eulerodec.errors import AudioError

RATE = 24_000
KINDS = ("WAV", "OGG", "OPUS", "MP3", "FLAC", "AIFF", "CAF", "W64", "AU")


@functools.cache
def coded(kind: str) -> bytes:
    x = 0.1 * np.sin(np.arange(RATE // 2) * 0.1)
    buffer = io.BytesIO()
    container, subtype = ("OGG", "OPUS") if kind == "OPUS" else (kind, None)
    with soundfile.SoundFile(buffer, "w", RATE, 1, subtype, format=container) as sound:
        if kind not in ("W64", "AU"):
            sound.title = "a title"
        sound.write(x)
    return buffer.getvalue()


@st.composite
def mutations(draw, data: bytes) -> bytes:
    """Most changes fall into headers, which are at the start."""
    place = st.one_of(st.integers(0, min(200, len(data) - 1)), st.integers(0, len(data) - 1))
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(place)
        what = draw(st.sampled_from(("change", "size", "cut", "insert", "join")))
        if what == "change":
            out[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif what == "size":  # as headers have them
            out[at : at + 4] = draw(st.sampled_from((bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff")))
        elif what == "cut":
            del out[at : at + draw(st.integers(1, 2000))]
        elif what == "insert":
            out[at:at] = draw(st.binary(min_size=1, max_size=40))
        else:
            out += data[at:]
    return bytes(out)


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("kind", KINDS)
@given(values=st.data())
@settings(max_examples=40, deadline=None)
def test_mutated_files(kind, values):
    data = values.draw(mutations(coded(kind)))
    source = values.draw(st.sampled_from((io.BytesIO, Pipe)))(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with audio.open_reader(source, recover=values.draw(st.booleans())) as reader:
                n_samples = sum(x.shape[1] for x in reader.blocks(5000))
        except AudioError as error:
            assert "\n" not in str(error)
        else:
            assert n_samples == (reader.n_samples if reader.n_samples is not None else n_samples)
            assert n_samples < 500 * len(data)
