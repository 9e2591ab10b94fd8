"""What is done to every mutated file: all that the package can do with one."""

from __future__ import annotations

import io
import time

from helpers.code_tables import assert_beginning, random_tables

from eulerodec.bitstream import (
    ConstantCoder,
    EulReader,
    Packet,
    PayloadCoder,
    RateControl,
    StreamInfo,
    concat_files,
    cut_file,
    dumps,
    lower_rate,
    read,
    read_range,
)
from eulerodec.errors import BitstreamError, ConfigError

# A mutated file is some kilobytes, and a packet has 8 bytes at least.
MAX_SECONDS = 5.0

PLANES = PayloadCoder(random_tables())


def packets_limit(data: bytes) -> int:
    """Packets, lost ones too, that may come out of ``data``."""
    return len(data) // 4 + 65


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
    assert len(file.packets) <= packets_limit(data) and file.damage == []
    assert not any(packet.lost for packet in file.packets)
    assert info.n_samples is not None and info.n_samples <= file.n_frames * info.hop_length
    # What was read can be written, and reads the same.
    again = read(dumps(info, file.packets))
    assert again.info == info and again.packets == file.packets
    reader = EulReader(io.BytesIO(data))
    assert reader.scan() == file.n_frames and reader.info == info
    for packet in file.packets[:2]:
        _decode(info, packet, number)


def _decode(info: StreamInfo, packet: Packet, number: int) -> None:
    """Any payload of planes is some codes, and a part of it the first of them."""
    payload, n_channels, n_frames = packet.payload, info.n_channels, packet.n_frames
    assert payload is not None
    if info.coding == "constant":
        codes = ConstantCoder(info).decode(payload, n_frames)
        assert codes.codes.shape == (n_channels, info.n_codebooks, n_frames)
    else:
        part = payload[: number % (len(payload) + 1)]
        whole = PLANES.decode(payload, n_channels, n_frames)
        assert_beginning(PLANES.decode(part, n_channels, n_frames), whole)


def _recover(data: bytes, number: int) -> None:
    file = read(data, recover=True)
    n_frames = file.n_frames
    assert len(file.packets) <= packets_limit(data)
    assert file.lost_s >= 0 and all(damage.start_s >= 0 for damage in file.damage)
    start = 0
    for index, packet in enumerate(file.packets):
        assert (packet.index, packet.start_frame) == (index, start)
        assert 1 <= packet.n_frames <= file.info.frames_per_packet
        start = packet.stop_frame
    parts = file.info.timeline.parts(n_frames)
    assert sum(part.n_samples for _, part in parts) == file.info.n_samples
    for first, part in parts:
        assert first + part.n_frames <= n_frames
    if (
        not any(packet.lost for packet in file.packets)
        and sum(part.n_frames for _, part in parts) == n_frames
    ):
        dumps(file.info, file.packets)


def _ranges(data: bytes, number: int) -> None:
    for recover in (False, True):
        whole = read(data, recover=recover)
        reader = EulReader(io.BytesIO(data), recover=recover)
        n = whole.n_frames
        a, b = sorted((number % (n + 1), number // 7 % (n + 1)))
        found = list(reader.packets_between(a, b))
        assert found == [
            p for p in whole.packets if a < b and p.stop_frame > a and p.start_frame < b
        ]
        assert reader.scan() == n


def _cut(data: bytes, number: int) -> None:
    n = EulReader(io.BytesIO(data)).info.n_input_samples or 10_000
    a, b = sorted((number % (n + 1), number * 31 % (n + 1)))
    sink = io.BytesIO()
    info = cut_file(io.BytesIO(data), sink, a, b)
    file = read(sink.getvalue())
    assert file.info == info and info.n_input_samples is not None
    assert info.n_input_samples <= max(b - a, 0)
    assert read_range(io.BytesIO(data), a, b).packets == file.packets


def _rate(data: bytes, number: int) -> None:
    kbps = number % 1600 / 100 + 0.01
    sink = io.BytesIO()
    try:
        info = lower_rate(io.BytesIO(data), sink, kbps)
    except ConfigError:  # less than one codebook
        return
    old, new = read(data), read(sink.getvalue())
    assert new.info == info and len(new.packets) == len(old.packets)
    if info.coding == "constant":
        return
    control = RateControl(EulReader(io.BytesIO(sink.getvalue())).info, kbps)
    for before, after in zip(old.packets, new.packets, strict=True):
        assert before.payload is not None and after.payload is not None
        assert before.payload.startswith(after.payload)
        assert len(after.payload) <= control.budget(after.n_frames)
        control.spend(after.n_frames, len(after.payload))


def _concat(data: bytes, number: int) -> None:
    sink = io.BytesIO()
    concat_files([io.BytesIO(data), io.BytesIO(data)], sink)
    payloads = [packet.payload for packet in read(data).packets]
    assert [packet.payload for packet in read(sink.getvalue()).packets] == payloads * 2
