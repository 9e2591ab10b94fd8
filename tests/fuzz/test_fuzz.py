"""A short run of the fuzzers; ``fuzz_bitstream.py`` runs them for as long as you like.

Mutated files give one clear error, or results that agree with each other; never much memory.
"""

import contextlib
import io
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]

from fuzz_bitstream import seeds  # noqa: E402
from helpers.cli import speech  # noqa: E402
from mutate_stream import join, mutate_stream, packet, split  # noqa: E402
from stream_targets import check_stream, packets_limit  # noqa: E402

from eulerodec.bitstream import read  # noqa: E402
from eulerodec.codec import Encoded  # noqa: E402
from eulerodec.errors import AudioError, BitstreamError, WeightsError  # noqa: E402

SEEDS = seeds()


def test_the_mutator_starts_from_sound_files():
    for data in SEEDS:
        check_stream(data, 12_345)
        header, packets = split(data)
        assert join(header, packets) == data
        last = packets[-1]
        assert packet(0, last[2], last[3:-3]) == last
        assert all(packet(p[1], p[2], p[8:]) == p for p in packets[:-1])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.sampled_from(range(len(SEEDS))), seed=st.integers(0, 2**32))
def test_mutated_files(which, seed):
    check_stream(mutate_stream(SEEDS[which], random.Random(seed)), seed)


def test_mutations_reach_behind_the_checksums():
    """A fuzzer whose files are all refused at the first checksum would find nothing."""
    rng, readable, reasons = random.Random(1), 0, set()
    for _ in range(300):
        try:
            read(mutate_stream(rng.choice(SEEDS), rng), recover=True)
            readable += 1
        except BitstreamError as error:
            reasons.add(str(error).split(":")[0][:25])
    assert 50 < readable < 300 and len(reasons) > 10


def test_memory_of_mutated_files_is_bounded():
    rng = random.Random(2)
    tracemalloc.start()
    try:
        for _ in range(60):
            data = mutate_stream(rng.choice(SEEDS), rng)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with contextlib.suppress(BitstreamError):
                read(io.BytesIO(data), recover=True)
            used = tracemalloc.get_traced_memory()[1] - before
            # packets, lost ones too; what was read; records of damage; the one being read
            assert used < 600 * packets_limit(data) + 600 * len(data) + 2**20
    finally:
        tracemalloc.stop()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), constant=st.booleans(), recover=st.booleans())
def test_encoded_from_mutated_bytes(codec, own, seed, constant, recover):
    """What the codec can read, it decodes to audio of the length that it says, none of it NaN."""
    rng = random.Random(seed)
    try:
        encoded = Encoded.from_bytes(mutate_stream(own[constant], rng), recover=recover)
    except BitstreamError:
        return
    assert encoded.n_samples_model <= encoded.n_frames * encoded.info.hop_length
    low = encoded.at_rate(n_codebooks=1) if encoded.info.n_codebooks else encoded.at_rate(2)
    assert low.n_frames == encoded.n_frames
    if not any(packet.lost for packet in encoded.packets) and not encoded.damage:
        assert Encoded.from_bytes(encoded.to_bytes()) == encoded
    if encoded.n_frames * encoded.n_channels < 3000:  # or it is slow
        with contextlib.suppress(BitstreamError, WeightsError, AudioError):  # of another model
            wav = codec.decode(encoded, sample_rate=24_000)
            assert len(wav) == encoded.n_channels and bool(wav.isfinite().all())


@pytest.fixture(scope="module")
def own(codec):
    """0.4 s as planes, and in the constant coding."""
    wav = speech(9600)
    planes = codec.compress(wav, 24_000, 8, frames_per_packet=8)
    return planes, codec.compress(wav, 24_000, n_codebooks=7, frames_per_packet=8)


@pytest.mark.parametrize("target", ["stream", "weights"])
def test_the_script_runs(target, tmp_path):
    argv = ["--seconds", "0.5", "--out", str(tmp_path), "--plain", "--target", target]
    command = [sys.executable, str(HERE / "fuzz_bitstream.py"), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MiB at most" in done.stdout
