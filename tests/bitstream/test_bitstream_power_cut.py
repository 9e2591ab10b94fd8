"""A live recording that ends in a power cut is readable up to its last complete packet."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.streams import make_info, make_stream, packet_offsets, pairs

from eulerodec.bitstream import EulReader, EulWriter, read
from eulerodec.errors import BitstreamError

ROOT = Path(__file__).parents[2]


class Dies:
    """A file whose machine loses power after ``size`` bytes."""

    def __init__(self, size):
        self.left = size
        self.data = bytearray()

    def write(self, data, /):
        self.data += data[: max(self.left, 0)]
        self.left -= len(data)
        if self.left < 0:
            raise OSError("power")
        return len(data)


def test_killed_at_any_byte():
    data, payloads = make_stream(14, live=True)
    offsets = packet_offsets(data)
    for size in range(len(data)):
        sink = Dies(size)
        with pytest.raises(OSError, match="power"), EulWriter(sink, make_info()) as writer:
            for n_frames, payload in payloads:
                writer.write(payload, n_frames)
            writer.close(14 * 264 - 176)
        got = bytes(sink.data)
        assert got == data[:size]
        if size < offsets[0]:
            with pytest.raises(BitstreamError, match=r"empty|header"):
                read(got, recover=True)
            continue
        whole = payloads[: sum(end <= size for end in offsets[1:])]
        file = read(got, recover=True)
        assert pairs(file.packets) == whole
        assert file.info.n_samples == file.n_frames * 264
        assert [damage.kind for damage in file.damage] == ["truncated"] and file.lost_s == 0
        reader = EulReader(io.BytesIO(got), recover=True)  # and it can be sought in
        assert reader.scan() == file.n_frames
        if whole:
            assert pairs(reader.packets_between(1, 3)) == whole[:1]


def test_a_power_cut_that_leaves_zeros():
    data, payloads = make_stream(live=True)
    file = read(data[: packet_offsets(data)[2]] + bytes(5000), recover=True)
    assert pairs(file.packets) == payloads[:2]
    assert [damage.kind for damage in file.damage] == ["truncated"]


SCRIPT = """
import sys
from eulerodec.bitstream import EulWriter, StreamInfo
info = StreamInfo(model_id="live", weights_hash=bytes(8), input_sample_rate=24000, bitrate_kbps=6,
                  frames_per_packet=16)
with open(sys.argv[1], "wb") as file, EulWriter(file, info, sync=True) as writer:
    for packet in range(10**6):
        writer.write(packet.to_bytes(4, "big") * 3, 16)
        if packet == 12:
            print("on", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
def test_a_process_that_is_killed(tmp_path):
    """With a buffered file: what ``sync`` wrote is there, whatever the buffer still held."""
    path = tmp_path / "live.eul"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None and process.stdout.readline() == b"on\n"
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    file = read(path, recover=True)
    assert len(file.packets) >= 13
    assert pairs(file.packets) == [(16, i.to_bytes(4, "big") * 3) for i in range(len(file.packets))]
    assert [damage.kind for damage in file.damage] == ["truncated"]


def test_sync_flushes_every_packet():
    class Buffered(io.BytesIO):
        flushed = 0

        def flush(self):
            self.flushed = len(self.getvalue())

    sink = Buffered()
    writer = EulWriter(sink, make_info(), sync=True)
    assert sink.flushed == len(sink.getvalue()) > 0
    writer.write(b"abc", 4)
    assert sink.flushed == writer.bytes_written
    plain = Buffered()
    EulWriter(plain, make_info()).write(b"abc", 4)
    assert plain.flushed == 0
