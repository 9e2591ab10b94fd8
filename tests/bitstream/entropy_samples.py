"""Small tables of an entropy coder, and codes that they expect."""

import numpy as np

from eulerodec.bitstream import EntropyTables
from eulerodec.bitstream.entropy import decode_packet


def make_tables(n_codebooks=3, bits=8, seed=0):
    """Tables with weights at random, many of them large: skewed frequencies, clipped units."""
    rng = np.random.default_rng(seed)
    k, s, m = n_codebooks, 1 << bits, 1 << bits // 2
    p, d, h, n_levels, z = s // m, 3, 5, 6, 4

    def ints(kind, low, high, *shape):
        return rng.integers(low, high, shape, endpoint=True).astype(kind)

    return EntropyTables(
        rank=np.stack([rng.permutation(s) for _ in range(k)]).astype("uint16"),
        features=ints("int16", -500, 500, k, s, d),
        sizes=ints("uint8", 1, z - 1, k, s),
        levels=np.array([1, 90, 300, 700, 1500, 4000], "int32"),
        powers=np.round(65536 * 2 ** (-np.arange(512) / 32)).astype("int32"),
        w_before=ints("int8", -100, 100, k, d, h),
        w_now=ints("int8", -100, 100, k, d, h),
        level_before=ints("int16", -3000, 9000, k, n_levels, h),
        level_now=ints("int16", -3000, 9000, k, n_levels, h),
        size_before=ints("int16", -3000, 9000, k, z, h),
        size_above=ints("int16", -3000, 9000, k, z, h),
        w_part=ints("int8", -30, 30, k, h, p),
        b_part=ints("int16", -900, 900, k, p),
        w_member=ints("int8", -30, 30, k, p, h, m),
        b_member=ints("int16", -900, 900, k, p, m),
    )


def expected_codes(tables, n_channels, n_codebooks, n_frames, seed=0):
    """Codes [C, K, T] drawn with the frequencies of the tables: what random bytes decode to."""
    rng = np.random.default_rng(seed)
    payload = n_frames.to_bytes(2, "big") + rng.bytes(4 * n_channels * n_codebooks * n_frames)
    return decode_packet(payload, tables, n_channels, n_codebooks)
