"""A live recording that ends in a power cut is readable up to its last complete packet."""

import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from bitstream_samples import make_codes, make_info, make_stream, packet_offsets

from eulerodec.bitstream import EulReader, EulWriter, read
from eulerodec.errors import BitstreamError


class Dies:
    """A file whose machine loses power after ``size`` bytes."""

    def __init__(self, size):
        self.left = size
        self.data = bytearray()

    def write(self, data, /):
        self.data += data[: self.left]
        self.left -= len(data)
        if self.left < 0:
            raise OSError("power")
        return len(data)


def test_killed_at_any_byte():
    data, codes = make_stream(14, live=True)
    offsets = packet_offsets(data)
    for size in range(len(data)):
        sink = Dies(size)
        with pytest.raises(OSError, match="power"), EulWriter(sink, make_info()) as writer:
            for frame in range(14):  # a live source gives one frame after the other
                writer.write(codes[:, :, frame : frame + 1])
            writer.close(14 * 264 - 176)
        got = bytes(sink.data)
        assert got == data[:size]
        if size < offsets[0]:
            with pytest.raises(BitstreamError, match=r"empty|header"):
                read(got, recover=True)
            continue
        whole = sum(end <= size for end in offsets[1:])
        file = read(got, recover=True)
        assert np.array_equal(file.codes, codes[:, :, : whole * 4])
        assert file.info.n_samples == file.codes.shape[2] * 264
        assert [damage.kind for damage in file.damage] == ["truncated"] and file.lost_s == 0
        reader = EulReader(io.BytesIO(got), recover=True)  # and it can be sought in
        assert reader.scan() == file.codes.shape[2]
        if whole:
            assert np.array_equal(reader.read_frames(1, 3), codes[:, :, 1:3])


SCRIPT = """
import sys, time
import numpy as np
from eulerodec.bitstream import EulWriter, StreamInfo
info = StreamInfo(model_id="live", weights_hash=bytes(8), input_sample_rate=24000, n_codebooks=6,
                  frames_per_packet=16)
with open(sys.argv[1], "wb") as file, EulWriter(file, info, sync=True) as writer:
    for frame in range(10**6):
        writer.write(np.full((1, 6, 1), frame % 2048))
        if frame == 200:
            print("on", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
def test_a_process_that_is_killed(tmp_path):
    """With a buffered file: what ``sync`` wrote is there, whatever the buffer still held."""
    path = tmp_path / "live.eul"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"on\n"
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    data = path.read_bytes()
    file = read(data, recover=True)
    n = file.codes.shape[2]
    assert n >= 192 and n % 16 == 0
    assert file.codes[0, 3].tolist() == [frame % 2048 for frame in range(n)]
    assert [damage.kind for damage in file.damage] == ["truncated"]


def test_sync_flushes_every_packet():
    class Buffered(io.BytesIO):
        flushed = 0

        def flush(self):
            self.flushed = len(self.getvalue())

    sink = Buffered()
    writer = EulWriter(sink, make_info(), sync=True)
    assert sink.flushed == len(sink.getvalue()) > 0
    writer.write(make_codes(1, 3, 9))
    assert sink.flushed == writer.bytes_written
    plain = Buffered()
    EulWriter(plain, make_info()).write(make_codes(1, 3, 9))
    assert plain.flushed == 0
