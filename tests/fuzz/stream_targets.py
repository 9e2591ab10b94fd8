"""What is done to every mutated file: all that the package can do with one."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np

from eulerodec.bitstream import (
    EulReader,
    concat_files,
    cut_file,
    drop_stages_file,
    dumps,
    read,
    read_range,
)
from eulerodec.errors import BitstreamError

# A mutated file is some kilobytes. Codes are 8 bytes for 8 bits or more, lost packets count too,
# at most twice what was read and 64 packets of 64 KiB. Entropy coding makes a 16th of it at most.
MAX_SECONDS = 5.0


def codes_limit(data: bytes) -> int:
    """Codes that may come out of ``data``."""
    return (48 if data[7:8] == b"\1" else 3) * len(data) + 66 * 65_536


def check_stream(data: bytes, number: int) -> None:
    """Only a BitstreamError of one line, and results that agree with each other."""
    start = time.process_time()
    for call in (_read, _recover, _ranges, _cut, _rate, _concat):
        try:
            call(data, number)
        except BitstreamError as error:
            text = str(error)
            assert text and "\n" not in text and len(text) < 1000, text
    elapsed = time.process_time() - start
    assert elapsed < MAX_SECONDS, f"{elapsed:.1f} s"


def _read(data: bytes, number: int) -> None:
    file = read(data)
    info = file.info
    assert file.codes.size <= codes_limit(data) and file.damage == []
    assert file.codes.shape[:2] == (info.n_channels, info.n_codebooks)
    assert info.n_samples is not None and info.n_samples <= file.codes.shape[2] * info.hop_length
    # What was read can be written, and reads the same.
    again = read(dumps(info, file.codes))
    assert again.info == info and np.array_equal(again.codes, file.codes)
    assert info.metadata is not None and info.context is not None
    reader = EulReader(io.BytesIO(data))
    assert reader.scan() == file.codes.shape[2] and reader.info == info


def _recover(data: bytes, number: int) -> None:
    file = read(data, recover=True)
    n_frames = file.codes.shape[2]
    assert file.codes.size <= codes_limit(data)
    assert file.lost_s >= 0 and all(damage.start_s >= 0 for damage in file.damage)
    parts = file.info.parts(n_frames)
    assert sum(part.n_samples for _, part in parts) == file.info.n_samples
    for first, part in parts:
        assert first + part.n_frames <= n_frames
    # With zeros for what is lost it can be written; of fixed width, since 64 lost packets are four
    # million codes, and to code them takes seconds.
    fixed = file.info.replace(entropy_tables=None)
    dumps(fixed, file.codes[:, :, : sum(part.n_frames for _, part in parts)].clip(0))


def _ranges(data: bytes, number: int) -> None:
    for recover in (False, True):
        whole = read(data, recover=recover).codes
        reader = EulReader(io.BytesIO(data), recover=recover)
        a, b = sorted((number % (whole.shape[2] + 1), number // 7 % (whole.shape[2] + 1)))
        assert np.array_equal(reader.read_frames(a, b), whole[:, :, a:b])
        assert reader.scan() == whole.shape[2]


def _cut(data: bytes, number: int) -> None:
    n = EulReader(io.BytesIO(data)).info.n_input_samples or 10_000
    a, b = sorted((number % (n + 1), number * 31 % (n + 1)))
    sink = io.BytesIO()
    info = cut_file(io.BytesIO(data), sink, a, b)
    file = read(sink.getvalue())
    assert file.info == info and info.n_input_samples <= max(b - a, 0)
    assert np.array_equal(read_range(io.BytesIO(data), a, b).codes, file.codes)


def _rate(data: bytes, number: int) -> None:
    sink = io.BytesIO()
    drop_stages_file(io.BytesIO(data), sink, 1)
    assert np.array_equal(read(sink.getvalue()).codes, read(data).codes[:, :1])


def _concat(data: bytes, number: int) -> None:
    sink = io.BytesIO()
    concat_files([io.BytesIO(data), io.BytesIO(data)], sink)
    codes = read(data).codes
    assert np.array_equal(read(sink.getvalue()).codes, np.concatenate([codes, codes], axis=2))


Check = Callable[[bytes, int], None]
