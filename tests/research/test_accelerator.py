"""Batched fits and look-ups against the parts of the codec that they stand in for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eulerodec.bitstream.payload import PacketCodes, PayloadCoder
from eulerodec.codec.weights import build_network
from eulerodec.quantize import PacketCoder
from eulerodec.quantize.allocation import Allocation
from eulerodec.quantize.energies import BlockEnergies
from eulerodec.train import tables as reference
from eulerodec.train.material import PACKET, synthetic
from eulerodec.train.recipe import load_recipe
from research.accelerator import codes as fit
from research.accelerator.decoder import Packets, Settings, Training
from research.accelerator.workers import RATES, Store, fields, write_layouts

RECIPE = Path(__file__).parents[2] / "recipes" / "eulerodec-24khz.toml"
SIX = RATES.index(6.0)


@pytest.fixture(scope="module")
def model():
    return build_network({})


@pytest.fixture(scope="module")
def store(model, tmp_path_factory):
    """Six crops of synthetic sounds, one of them silent, with their layouts."""
    folder = tmp_path_factory.mktemp("store")
    audio = synthetic(7.0, 24_000, 3)[: 6 * 24_024].reshape(6, -1)
    audio[4] = 0
    store = Store(folder / "crops", fields(model.book, audio.shape[1]), len(audio))
    store["audio"][:] = np.rint(audio * 32767)
    with torch.no_grad():
        bands = model.analysis(torch.from_numpy(np.array(store["audio"]))[:, None] / 32768.0)[1]
    store["bands"][:] = bands.transpose(1, 2).numpy()
    (folder / "codes").write_bytes(model.book.to_bytes())
    write_layouts(str(folder / "crops"), str(folder / "codes"), 0)
    return store


def test_layouts_are_those_of_single_packets(model, store):
    book = model.book
    coding, payload = BlockEnergies(book.tables, book.energy_weight), PayloadCoder(book.tables)
    for n in range(len(store)):
        codes = PacketCodes.empty(book.tables, 1, PACKET)
        rest = coding.search(np.array(store["bands"][n])[None], codes)
        layout = payload.layout(codes)
        assert store["level"][n] == codes.levels[0]
        if codes.levels[0] == 0:
            continue
        more = book.n_energies - book.tables.n_base
        coding.refine(rest, codes, np.full((1, rest.shape[1]), more))
        # rounding may decide between codes that are equally near
        assert (store["energies"][n] == codes.energies[0].T).mean() > 0.99
        assert (store["classes"][n] == layout.classes[0]).mean() > 0.9
        depths = Allocation(book.tables).depths(layout, rest.shape[1], 750, 1.0)
        found = store["latent_depth"][n, SIX]
        assert np.abs(found - depths.latents[0]).max() <= 1
        assert found.sum() == pytest.approx(depths.latents.sum(), rel=0.02)


def test_packets_hold_what_the_coder_looks_up(model, store):
    book = model.book
    shape = (len(store), PACKET, book.n_codebooks)
    codes = torch.randint(2048, shape, generator=torch.Generator().manual_seed(0)).short()
    packets = Packets(store, codes, model, "cpu")
    heard = np.flatnonzero(store["level"] > 0)
    assert len(packets) == len(heard) == 5
    rates = torch.tensor([0, 2, SIX, 8, 9])
    coded, audio = packets(torch.arange(5), rates)
    coder = PacketCoder(book)
    for k, n in enumerate(heard):
        one = PacketCodes.empty(book.tables, 1, PACKET)
        one.levels[0] = store["level"][n]
        stages = np.arange(book.n_codebooks)[:, None]
        one.latents[0] = np.where(stages < store["latent_depth"][n, rates[k]], codes[n].T, -1)
        stages = np.arange(book.n_energies)[:, None] - book.tables.n_base
        one.energies[0] = np.where(
            stages < store["energy_depth"][n, rates[k]], store["energies"][n].T, -1
        )
        expected = coder.look_up(one)
        torch.testing.assert_close(coded.z[k], expected.z[0], rtol=1e-5, atol=1e-5)
        # the coder takes whole sixteenths of a decibel for what is too loud
        torch.testing.assert_close(coded.bands[k], expected.bands[0], rtol=0, atol=0.007)
        assert coded.n_stages[k].equal(expected.n_stages[0])
        assert coded.n_energies[k].equal(expected.n_energies[0])
        assert np.array_equal(audio[k, 0].numpy() * 32768, store["audio"][n])


def test_kmeans_is_no_worse_than_that_of_the_package():
    x = np.random.default_rng(0).standard_normal((4096, 8)).astype(np.float32)
    weight = np.linspace(0.1, 1, len(x)).astype(np.float32)

    def error(book, index):
        return float((np.square(x - book[index]).sum(1) * weight).sum())

    book = reference.kmeans(x, 32, weight)
    there = error(book, reference.nearest(x, book))
    found = fit.kmeans(torch.from_numpy(x), 32, torch.from_numpy(weight), ((1, 7),))
    index = fit.nearest(torch.from_numpy(x), found)
    assert np.array_equal(index.numpy(), reference.nearest(x, found.numpy()))
    assert error(found.numpy(), index.numpy()) < 1.02 * there


def test_an_unused_code_moves_to_a_used_one():
    x = torch.randn(100, 4, generator=torch.Generator().manual_seed(1))
    book = torch.cat([torch.zeros(1, 4), torch.full((1, 4), 1e3)])
    moved = fit.means(x, torch.ones(100), fit.nearest(x, book), book)
    assert moved.abs().max() < 10


def test_counts_follow_the_codes(model, store):
    shape = (len(store), PACKET, model.book.n_codebooks)
    counted = fit.counted(model.book.tables, store, torch.full(shape, 5).short())
    heard = store["level"] > 0
    one = store["classes"][heard][0, 0]
    assert counted.latent_counts[0, one].argmax() == 5
    assert (counted.latent_counts.astype(int) + 1).sum(-1).max() == 1 << 16


def test_a_step_moves_the_network_and_not_the_transform(model, store):
    recipe = load_recipe(RECIPE)
    network = build_network({})
    z = fit.unit_latents(
        store["audio"], store["gain"], lambda wav: network.analysis(wav[:, None])[0], "cpu"
    )
    codes = fit.encode(z.flatten(0, 1), network.book.codebooks.float(), 1, 4096).view(6, PACKET, -1)
    packets = Packets(store, codes, network, "cpu")
    before = network.decoder.gain_proj.weight.detach().clone()
    settings = Settings(seconds=1e9, batch_size=2, rate=1e-3, warmup=1, ema=0.5)
    training = Training(network, recipe, packets, packets, settings, lambda text: None)
    for rate in training.rates.values():
        rate.fill_(1e-3)
    training._step()
    loss, norm, steps = training.lately.tolist()
    assert steps == 1 and np.isfinite(loss) and norm > 0
    assert not network.decoder.gain_proj.weight.equal(before)
    transform = dict(build_network({}).decoder.transform.named_parameters())
    for name, value in network.decoder.transform.named_parameters():
        assert value.equal(transform[name]), name  # it rests
    averaged = training.average.decoder.gain_proj.weight
    half = (before + network.decoder.gain_proj.weight.detach()) / 2
    torch.testing.assert_close(averaged, half)
    assert np.isfinite(training.score(6.0))
