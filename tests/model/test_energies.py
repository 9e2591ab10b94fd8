"""Band energies: filters, the loop over frames, streams, invariance."""

import math

import pytest
import torch
from helpers.models import agree
from torch.nn import functional as F

from eulerodec.model import Bands, EuleroDec, ModelConfig
from eulerodec.model.energies import EnergyCoder
from eulerodec.model.fit import code_vectors, fit_energy_stage
from eulerodec.nn import STFT, Clock, band_centres, erb_width, triangles

RATE, HOP = 24000, 264


def coder(seed=0, n_stages=2, size=64):
    torch.manual_seed(seed)
    coder = EnergyCoder(Bands(RATE, HOP), 8, n_stages, size, 16).eval()
    for net in coder.predictors:
        torch.nn.init.normal_(net.out_proj.weight, 0.0, 0.1)
    return coder.requires_grad_(False)


def examples(frames=50, batch=2, seed=1):
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(batch, 16, frames, generator=g)
    mdct = torch.randn(batch, HOP, frames, generator=g)
    return z, mdct


def turned(x, angle):
    re, im = x.chunk(2, 1)
    c, s = math.cos(angle), math.sin(angle)
    return torch.cat([c * re - s * im, s * re + c * im], 1)


def test_erb_width_of_glasberg_and_moore():
    assert erb_width(1000.0) == pytest.approx(132.6, abs=0.1)
    assert erb_width(100.0) == pytest.approx(35.5, abs=0.1)


def test_triangles_share_every_frequency_out():
    centres = band_centres(RATE, 91.0)
    assert centres[0] == 91.0 and centres[-1] < RATE / 2 and centres.diff().min() >= 91.0
    hertz = torch.linspace(0.0, RATE / 2, 500, dtype=torch.float64)
    weights = triangles(centres, hertz)
    torch.testing.assert_close(weights.sum(0), torch.ones(500, dtype=torch.float64))
    assert (weights >= 0).all() and (weights > 0).sum(0).max() <= 2
    # at a centre only its own band counts
    torch.testing.assert_close(triangles(centres, centres), torch.eye(len(centres)).double())


def test_energies_of_white_noise_and_of_silence():
    stft, sigma = STFT(2 * HOP, HOP), 0.1
    wav = sigma * torch.randn(1, 40 * RATE, generator=torch.Generator().manual_seed(0))
    energies = Bands(RATE, HOP).energies(stft.analysis(wav))[..., 2:-2]
    expected = sigma**2 * float(stft.window.square().sum())
    # mean of the power, not of its logarithm
    means = (10.0**energies).mean((0, 2))
    torch.testing.assert_close(means, torch.full_like(means, expected), rtol=0.05, atol=0.0)
    silent = Bands(RATE, HOP).energies(stft.analysis(torch.zeros(1, 2000)))
    assert silent.max() <= -7.99


def test_search_and_decoder_make_the_same_corrections():
    c = coder()
    z, mdct = examples()
    predicted = c.predict(0, z, mdct)
    target = predicted + 0.5 * torch.randn(
        predicted.shape, generator=torch.Generator().manual_seed(3)
    )
    codes, correction = c.search(0, target, predicted)
    torch.testing.assert_close(
        c.corrections(0, c.vectors(0, codes)), correction, atol=1e-5, rtol=0.0
    )


def test_codes_are_the_nearest_and_the_loop_sees_its_own_past():
    """Against a plain loop: nearest code to what the codes of the frames before leave."""
    c = coder(n_stages=1)
    target = torch.randn(1, c.n_bands, 20, generator=torch.Generator().manual_seed(3))
    codes, _ = c.search(0, target, torch.zeros_like(target))
    book, past = c.codebooks[0], []
    for t in range(20):
        feedback = sum(
            0.6 ** (len(past) - k) * v for k, v in enumerate(past) if len(past) - k <= 12
        )
        rest = (target[0, :, t] - feedback).clamp(-2.0, 2.0)
        distances = ((rest - book) * c.weight).double().square().sum(-1)
        chosen = distances[codes[0, t]]
        assert chosen <= distances.min() * (1 + 1e-5)  # where two are as near, rounding decides
        past.append(book[codes[0, t]])


def test_the_loop_mends_what_is_slow():
    """A constant error is coded better and better, though the codebook is coarse."""
    c = coder(n_stages=1)
    c.codebooks[0, 0] = 0.0
    target = torch.full((1, c.n_bands, 30), 0.4)
    for k in range(1, 9):
        c.codebooks[0, k] = 0.05 * k
    _, correction = c.search(0, target, torch.zeros_like(target))
    assert (correction[..., 5:] - 0.4).abs().max() < 0.06


def test_missing_codes_correct_nothing():
    c = coder()
    vectors = c.vectors(0, torch.tensor([[3, -1, 5]]))
    assert not vectors[..., 1].any()
    torch.testing.assert_close(vectors[0, :, 2], c.codebooks[0, 5])


@pytest.mark.parametrize("block", [1, 3, 7])
def test_a_stream_gives_the_same(block):
    c = coder()
    delayed, frames = 2, 30
    z, mdct = examples(frames)
    target = torch.randn(2, c.n_bands, frames, generator=torch.Generator().manual_seed(5))
    expected = []
    known = None
    for k in range(2):
        predicted = c.predict(k, z, mdct, known)
        codes, correction = c.search(k, target, predicted)
        known = predicted + correction
        expected.append((codes, known))

    clock = Clock()
    state, other = c.start(clock, delayed), c.start(clock, delayed)
    # what comes before the stream may be anything
    lead = torch.Generator().manual_seed(9)

    def led(x):
        return torch.cat([torch.randn(*x.shape[:2], delayed, generator=lead), x], -1)

    parts = [led(x) for x in (z, mdct, target)]
    got = [[], [], [], []]
    for start in range(0, frames + delayed, block):
        a, b, e = (x[..., start : start + block] for x in parts)
        known = decoded = None
        for k in range(2):
            predicted = c.predict(k, a, b, known, state)
            codes, correction = c.search(k, e, predicted, state)
            known = predicted + correction
            decoded = c.predict(k, a, b, decoded, other) + c.corrections(
                k, c.vectors(k, codes), other
            )
            got[k].append(codes)
            got[2 + k].append(decoded)
        clock.start += block
    for k in range(2):
        assert agree(torch.cat(got[k], -1)[..., delayed:], expected[k][0])
        torch.testing.assert_close(
            torch.cat(got[2 + k], -1)[..., delayed:], expected[k][1], atol=1e-4, rtol=0.0
        )


def test_turning_all_phases_changes_nothing():
    c = coder()
    z, mdct = examples()
    a = c.predict(0, z, mdct)
    b = c.predict(0, turned(z, 1.0), turned(mdct, 1.0))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_energies_are_foretold_from_the_past_alone():
    c = coder()
    z, mdct = examples()
    before = c.predict(0, z, mdct)
    z, mdct = z.clone(), mdct.clone()
    z[..., 30:] = 9.0
    mdct[..., 30:] = 9.0
    after = c.predict(0, z, mdct)
    assert torch.equal(before[..., :30], after[..., :30])
    assert not torch.equal(before[..., 30:], after[..., 30:])


def test_fitting_foretells_and_codes_better():
    """Energies that follow from the latents in part, and an error that a codebook can hold."""
    c = coder(n_stages=1, size=32).requires_grad_(True)
    z, mdct = examples(frames=40, batch=64)
    level = mdct.unflatten(1, (2, -1)).square().sum((1, 2)).log10()[:, None]
    g = torch.Generator().manual_seed(2)
    hidden = 0.5 * torch.randn(64, 1, 40, generator=g)
    target = (level + hidden).expand(-1, c.n_bands, -1)
    before = (c.predict(0, z, mdct) - target).square().mean().sqrt()
    known = fit_energy_stage(c, 0, [(z, mdct, None)], target, steps=150)
    predicted = (c.predict(0, z, mdct) - target).square().mean().sqrt()
    left = (known - target).square().mean().sqrt()
    assert predicted < 0.7 * before  # what follows from the latents
    assert left < 0.3 * predicted  # what does not, one number for all bands, is coded
    assert 8 < float(c.perplexity()[0]) <= 32


class TestInTheModel:
    def model(self):
        torch.manual_seed(0)
        return EuleroDec(ModelConfig.tiny()).eval()

    def wav(self, n=12000):
        return 0.1 * torch.randn(1, 1, n, generator=torch.Generator().manual_seed(4))

    def test_the_first_stages_do_not_depend_on_how_many_follow(self):
        model, wav = self.model(), self.wav()
        twelve = model.encode(wav, beam=1)
        for k in (1, 5, 6, 7, 11):
            assert torch.equal(model.encode(wav, k, beam=1), twelve[:, :k])

    def test_up_to_an_energy_stage_they_do_not_depend_on_it_with_several_paths_either(self):
        model, wav = self.model(), self.wav()
        twelve = model.encode(wav)
        assert torch.equal(model.encode(wav, 6), twelve[:, :6])
        assert torch.equal(model.encode(wav, 5), twelve[:, :5])
        assert not torch.equal(model.encode(wav, 9), model.encode(wav, 9, beam=1))

    def test_energy_stages_add_nothing_to_the_latents(self):
        model, wav = self.model(), self.wav()
        codes = model.encode(wav, beam=1)
        latents = model.dequantize(codes)
        rest = [k for k in range(12) if k not in (5, 11)]
        torch.testing.assert_close(latents.z, model.quantizer.decode(codes[:, rest]))
        torch.testing.assert_close(latents.prefixes[0], model.quantizer.decode(codes[:, :5]))
        assert torch.equal(latents.prefixes[1], latents.z)
        assert model.latent_stages(5) == model.latent_stages(6) == 5
        assert model.latent_stages(12) == 10

    def test_training_and_coding_use_the_same_codes_and_energies(self):
        model, wav = self.model(), self.wav()
        wav = F.pad(wav, (0, -wav.shape[-1] % HOP))
        for stages in (3, 6, 12):
            out = model(wav, n_codebooks=torch.tensor([stages]))
            codes = out.codes[:, :stages]
            assert agree(codes, model.encode(wav, stages, beam=1))
            assert (out.codes[:, stages:] == -1).all()
            decoded = model.decode(codes, wav.shape[-1])
            torch.testing.assert_close(out.audio, decoded, atol=1e-5, rtol=0.0)

    def test_with_frozen_codes_training_takes_those_of_the_search(self):
        model, wav = self.model(), self.wav()
        wav = F.pad(wav, (0, -wav.shape[-1] % HOP)).repeat(3, 1, 1)
        stages = torch.tensor([6, 12, 11])
        model.train()
        model.quantizer.eval()
        out = model(wav, n_codebooks=stages)
        for k, codes in zip(stages.tolist(), out.codes, strict=True):
            assert agree(codes[None, :k], model.encode(wav[:1], k))
            assert (codes[k:] == -1).all()
        assert float(out.losses["commitment"]) == 0.0
        out.audio.square().mean().backward()  # straight through to the encoder
        assert model.encoder.out_proj.weight.grad.abs().sum() > 0

    def test_the_decoder_brings_bands_near_to_their_energies(self):
        """Latents of nothing, energies of noise: noise of these energies comes out.

        Frames of independent phases lose half of their energy, 0.3 in log10, when they overlap.
        """
        model = self.model()
        repair, energies = model.decoder.repair, model.energies
        with torch.no_grad():
            repair.noise_proj.bias.zero_()
            repair.trust_proj.bias[: energies.n_bands] = 9.0
            repair.trust_proj.bias[energies.n_bands :] = 0.3
        g = torch.Generator().manual_seed(0)
        z = 1e-3 * torch.randn(1, 16, 60, generator=g)
        bands = torch.full((1, energies.n_bands, 60), -1.0)
        spec = model.decoder(z, bands, torch.tensor([12]))
        heard = model.bands.energies(model.stft.reanalysis(spec))[..., 4:-4]
        error = (heard.mean((0, 2)) + 1.0).abs()
        assert error.mean() < 0.2 and error.max() < 0.5

    def test_vectors_of_all_codes_have_places_of_their_own(self):
        model = self.model()
        vectors = code_vectors(model)
        bands = model.energies.n_bands
        assert vectors.shape == (12, 2048, 16 + 2 * bands)
        for k in range(12):
            used = vectors[k].abs().amax(0) > 0
            places = {5: range(16, 16 + bands), 11: range(16 + bands, 16 + 2 * bands)}
            assert set(used.nonzero().flatten().tolist()) <= set(places.get(k, range(16)))
        first = model.quantizer.codebooks[0].square().sum(-1).mean()
        share = float(vectors[5].square().sum(-1).mean() / first)
        assert share == pytest.approx(0.1, rel=1e-4)
