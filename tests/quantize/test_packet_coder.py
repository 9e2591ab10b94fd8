"""Packets and files of planes, from latents and energies to bytes and back."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.code_tables import arrays, assert_beginning, n_codes, random_tables
from helpers.streams import lower, make_info, split

from eulerodec.bitstream import EulWriter, RateControl, open_reader
from eulerodec.bitstream.code_tables import TOTAL
from eulerodec.quantize import packet_coder
from eulerodec.quantize.code_book import CodeBook
from eulerodec.quantize.packet_coder import PacketCoder
from eulerodec.quantize.search import beam_search, search_tables

TABLES = random_tables()


def make_coder(tables=TABLES, codebooks=None, size=6):
    generator = torch.Generator().manual_seed(0)
    shape = tables.n_latents, tables.latent_counts.shape[2], size
    scale = 0.7 ** torch.arange(tables.n_latents)[:, None, None]
    if codebooks is None:
        codebooks = torch.randn(*shape, generator=generator) * scale
    return PacketCoder(CodeBook(tables, codebooks, np.ones(tables.n_bands, np.float32)))


CODER = make_coder()


def noise(n_channels=1, n_frames=12, seed=0, size=6):
    """Latents [C, D, T] and energies [C, N, T] of noise whose level changes by 40 dB."""
    generator = torch.Generator().manual_seed(seed)
    softer = 4 * torch.rand(n_channels, 1, n_frames, generator=generator)
    bands = -1 - softer + 0.3 * torch.randn(n_channels, 3, n_frames, generator=generator)
    z = torch.randn(n_channels, size, n_frames, generator=generator) * 10 ** (-0.375 * (1 + softer))
    return z, bands


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_bytes", [0, 1, 9, 40, 75, 5000])
def test_a_payload_holds_the_first_of_the_codes(n_channels, n_bytes):
    z, bands = noise(n_channels)
    payload = CODER.encode(z, bands, n_bytes)
    assert len(payload) <= n_bytes
    assert len(payload) == n_bytes or n_bytes == 5000
    codes = CODER.search(z, bands, n_bytes)[0]
    found = CODER.payload.decode(payload, n_channels, 12)
    assert_beginning(found, codes)
    if n_bytes == 5000:
        assert n_codes(found) == sum(x.size for x in arrays(codes))


def test_more_bytes_more_codes_less_error():
    z, bands = noise(2)
    errors, counts = [], []
    for n_bytes in (10, 40, 80, 160):
        decoded = CODER.decode(CODER.encode(z, bands, n_bytes), 2, 12)
        errors.append(float((decoded.z - z).square().sum()))
        counts.append(int(decoded.n_stages.sum()))
    assert errors == sorted(errors, reverse=True) and counts == sorted(counts)
    assert errors[-1] < 0.2 * float(z.square().sum())


def test_every_truncation_decodes():
    z, bands = noise(2, 5)
    payload = CODER.encode(z, bands, 60)
    for n in range(len(payload) + 1):
        decoded = CODER.decode(payload[:n], 2, 5)
        assert decoded.z.shape == z.shape and decoded.bands.shape == bands.shape
        assert bool(decoded.z.isfinite().all()) and bool(decoded.bands.isfinite().all())
        assert decoded.n_stages.shape == decoded.n_energies.shape == (2, 5)
    assert CODER.decode(b"", 2, 5).z.abs().max() == 0


def test_digital_silence():
    z, bands = torch.zeros(1, 6, 12), torch.full((1, 3, 12), -16.0)
    payload = CODER.encode(z, bands, 100)
    assert len(payload) <= 2
    decoded = CODER.decode(payload, 1, 12)
    assert decoded.z.abs().max() == 0 and decoded.bands.max() < -9


def test_codes_that_cost_little_are_searched_deeper(monkeypatch):
    """Half of the frequency is that of code 0, and all latents have it: 1 bit, in the mean 5."""
    counts = np.full(TABLES.latent_counts.shape, 127, np.uint16)
    counts[..., 0] += TOTAL - 256 * 128
    alike = np.full(TABLES.energy_counts.shape, 255, np.uint16)
    tables = replace(TABLES, latent_counts=counts, energy_counts=alike)
    books = torch.full((tables.n_latents, 256, 6), 9.0)
    books[:, 0] = 0.0
    z, bands = torch.zeros(1, 6, 24), noise(1, 24)[1]
    coder, calls = make_coder(tables, books), []

    def counted(*args):
        calls.append(args)
        return beam_search(*args)

    monkeypatch.setattr(packet_coder, "beam_search", counted)
    payload = coder.encode(z, bands, 60)
    assert len(calls) > 1
    assert_beginning(coder.payload.decode(payload, 1, 24), coder.search(z, bands, 60)[0])


@pytest.mark.parametrize("kbps", [1, 6, 7.3])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_file_is_no_larger_than_its_rate_allows(kbps, n_channels):
    n_frames, n_samples = 50, 50 * 264 - 100
    info = make_info(bitrate_kbps=kbps, n_channels=n_channels, frames_per_packet=12)
    info = info.with_counts(n_samples, n_samples)
    z, bands = noise(n_channels, n_frames)
    control, sink, start, codes = RateControl(info), io.BytesIO(), 0, []
    with EulWriter(sink, info) as writer:
        for n in split(n_frames, 12):
            part = slice(start, start + n)
            budget = control.budget(n)
            payload = CODER.encode(z[..., part], bands[..., part], budget)
            codes.append(CODER.search(z[..., part], bands[..., part], budget)[0])
            control.spend(n, len(payload))
            writer.write(payload, n)
            start += n
    data = sink.getvalue()
    allowed = kbps * n_channels * n_samples / 24_000 * 125
    assert len(data) <= allowed + 64
    # the payloads of such a small model end, at high rates, before the bytes do
    assert kbps > 6 or len(data) > allowed

    for file in (data, lower(data, max(0.6 * kbps, 1))):
        with open_reader(file) as reader:
            for packet, whole in zip(reader.packets(), codes, strict=True):
                assert packet.payload is not None
                found = CODER.payload.decode(packet.payload, n_channels, packet.n_frames)
                assert_beginning(found, whole)


def test_a_cut_payload_is_the_payload_of_fewer_bytes():
    """The same codes, as far as the bytes go; a search for fewer bytes may choose other latents."""
    z, bands = noise(1, 12)
    high, codes = CODER.encode(z, bands, 120), CODER.search(z, bands, 120)[0]
    for n_bytes in range(0, 121, 11):
        cut = CODER.payload.encode(codes, n_bytes)
        assert len(cut) <= n_bytes and high.startswith(cut)
        found = [CODER.payload.decode(part, 1, 12) for part in (cut, high[:n_bytes])]
        assert n_codes(found[0]) == n_codes(found[1])
    low = CODER.search(z, bands, 60)[0]
    np.testing.assert_array_equal(low.levels, codes.levels)
    base = slice(TABLES.n_base)
    np.testing.assert_array_equal(low.energies[:, base], codes.energies[:, base])


def test_only_an_encoder_makes_the_tables_of_the_search(monkeypatch):
    """They are twice as large as the codebooks themselves."""
    z, bands = noise()
    payload = CODER.encode(z, bands, 60)
    constant = CODER.encode_constant(z, bands, 4)
    made = []

    def spy(codebooks):
        made.append(codebooks.dtype)
        return search_tables(codebooks)

    monkeypatch.setattr(packet_coder, "search_tables", spy)
    coder = make_coder()
    assert coder.codebooks.dtype == torch.float16
    coder.decode(payload, 1, 12)
    coder.decode_constant(constant)
    assert made == []
    assert coder.encode(z, bands, 60) == coder.encode(z, bands, 60) == payload
    assert made == [torch.float16]
    assert coder.to(torch.device("cpu")).encode(z, bands, 60) == payload
    assert len(made) == 2  # anew, on the new device
