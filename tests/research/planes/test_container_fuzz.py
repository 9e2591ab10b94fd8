"""Mutated files: one clear error, or results that agree with each other; never much memory."""

import contextlib
import io
import random
import tracemalloc
from pathlib import Path

from container_samples import concat, cut, make_constant, make_stream
from container_targets import check_container, packets_limit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutate_container import join, mutate_container, packet, split

from eulerodec.errors import BitstreamError
from research.planes.container import read

GOLDEN = Path(__file__).parents[2] / "golden"


def seeds():
    """Sound files of every kind."""
    files = [bytes.fromhex(p.read_text()) for p in sorted(GOLDEN.glob("container_*.hex"))]
    for live in (False, True):
        files.append(make_constant(40, live=live, n_codebooks=2)[0])
        files.append(make_stream(60, live=live, input_sample_rate=44_100)[0])
    parts = [cut(files[-1], start, start + 4000) for start in (2000, 20_000)]
    return [*files, parts[0], concat(*parts)]


SEEDS = seeds()


def test_the_mutator_starts_from_sound_files():
    for data in SEEDS:
        check_container(data, 12_345)
        header, packets = split(data)
        assert join(header, packets) == data
        last = packets[-1]
        assert packet(0, last[2], last[3:-3]) == last
        assert all(packet(p[1], p[2], p[8:]) == p for p in packets[:-1])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.sampled_from(range(len(SEEDS))), seed=st.integers(0, 2**32))
def test_mutated_files(which, seed):
    check_container(mutate_container(SEEDS[which], random.Random(seed)), seed)


def test_mutations_reach_behind_the_checksums():
    """A fuzzer whose files are all refused at the first checksum would find nothing."""
    rng, readable, reasons = random.Random(1), 0, set()
    for _ in range(300):
        try:
            read(mutate_container(rng.choice(SEEDS), rng), recover=True)
            readable += 1
        except BitstreamError as error:
            reasons.add(str(error).split(":")[0][:25])
    assert 50 < readable < 300 and len(reasons) > 10


def test_memory_of_mutated_files_is_bounded():
    rng = random.Random(2)
    tracemalloc.start()
    try:
        for _ in range(60):
            data = mutate_container(rng.choice(SEEDS), rng)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with contextlib.suppress(BitstreamError):
                read(io.BytesIO(data), recover=True)
            used = tracemalloc.get_traced_memory()[1] - before
            # packets, lost ones too; what was read; records of damage; the one being read
            assert used < 600 * packets_limit(data) + 600 * len(data) + 2**20
    finally:
        tracemalloc.stop()
