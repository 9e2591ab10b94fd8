"""Coding in numpy gives what coding in torch gives."""

import numpy as np
import pytest
import torch
from helpers.code_tables import random_tables
from helpers.models import agree
from test_packet_coder import noise

from eulerodec.quantize import CodeBook, PacketCoder, beam_search, search_tables
from eulerodec.quantize import search as torch_search
from eulerodec.quantize.array_coding import ArrayCoding, look_up
from eulerodec.quantize.array_coding import beam_search as array_search
from eulerodec.quantize.code_file import codes_sha256, read_codes

TABLES = random_tables()


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def book():
    scale = 0.7 ** torch.arange(TABLES.n_latents)[:, None, None]
    books = normal(TABLES.n_latents, TABLES.latent_counts.shape[2], 6) * scale
    return CodeBook(TABLES, books, np.linspace(0.5, 2.0, TABLES.n_bands, dtype=np.float32))


@pytest.mark.parametrize("beam", [1, 2, 4, 16])
@pytest.mark.parametrize("size", [256, 512, 100])
def test_search(beam, size):
    books = (normal(5, size, 8) * 0.6 ** torch.arange(5)[:, None, None]).half()
    x, depth = normal(200, 8, seed=1), torch.arange(200) % 6
    transposed, norms = search_tables(books)
    tables = [(b.numpy(), n.numpy()) for b, n in zip(books.float(), norms, strict=True)]
    found = array_search(x.numpy(), tables, beam, depth.numpy())
    expected = beam_search(x, books, beam, (transposed, norms), depth)
    assert agree(torch.from_numpy(found), expected)
    assert ((found >= 0).sum(1) == depth.numpy()).all()
    sums = torch_search.look_up(expected, books)
    np.testing.assert_array_equal(look_up(expected.numpy(), books.numpy()), sums.numpy())


@pytest.mark.parametrize("n_channels", [1, 2])
def test_packets(n_channels):
    codes = book()
    tables, books, weight = read_codes(codes.to_bytes())
    assert codes_sha256(tables, books) == codes.sha256
    ours, theirs = ArrayCoding(tables, books, weight), PacketCoder(codes)
    z, bands = noise(n_channels)
    for n_bytes in (0, 9, 60, 5000):
        packet, payload = ours.search(z.numpy(), bands.numpy(), n_bytes)
        expected, other = theirs.search(z, bands, n_bytes)
        assert len(payload) == len(other)
        assert agree(torch.from_numpy(packet.latents), torch.from_numpy(expected.latents))
        found, want = ours.decode(other, n_channels, 12), theirs.decode(other, n_channels, 12)
        for name in ("z", "bands", "n_stages", "n_energies"):
            np.testing.assert_array_equal(getattr(found, name), getattr(want, name).numpy())
    constant = theirs.encode_constant(z, bands, 4)
    np.testing.assert_array_equal(
        ours.decode_constant(constant).z, theirs.decode_constant(constant).z.numpy()
    )
    assert agree(
        torch.from_numpy(ours.encode_constant(z.numpy(), bands.numpy(), 4).codes),
        torch.from_numpy(constant.codes),
    )
