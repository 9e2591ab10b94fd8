"""The network from inside: its blocks, its algebra, its start from data, its gradients."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from helpers.models import HOP, TINY, agree, build, latents, low_pass, noise, snr_db
from torch import nn

from eulerodec import ModelConfig
from eulerodec import nn as cnn
from eulerodec.model import local_level
from eulerodec.model.fit import initialize
from eulerodec.train.losses import ReconstructionLoss
from eulerodec.train.recipe import LossConfig

PLAIN = dict(energy_stages=(), pitch_channels=0)  # latents alone


@pytest.fixture(scope="module")
def tiny():
    return build()


@pytest.fixture(scope="module")
def default():
    return build(ModelConfig())


# --- what it is made of


def kinds(model):
    return {type(m) for m in model.modules()}


def test_default_model_uses_all_kinds_of_complex_block(default):
    assert {
        cnn.STFT,
        cnn.ComplexConv1d,
        cnn.WidelyLinearConv1d,
        cnn.WhiteningNorm,
        cnn.MagnitudeGLU,
        cnn.AxialAttention,
        cnn.TimeAttention,
    } <= kinds(default)
    for part in (default.encoder, default.decoder):
        axes = [m.axis for m in part.modules() if isinstance(m, cnn.AxialAttention)]
        assert sorted(axes) == ["frequency", "time"]
        assert {cnn.ComplexConv1d, cnn.WhiteningNorm, cnn.MagnitudeGLU} <= kinds(part)


def test_nothing_else_has_weights_but_real_gains(default):
    """No real network acts on complex values: only gains that multiply them, what gives such gains
    for periods of the pitch, and what predicts energies from moduli."""
    real = {
        name
        for name, module in default.named_modules()
        if list(module.parameters(recurse=False)) and not module.__module__.startswith(cnn.__name__)
    }
    assert {
        name for name in real if not name.startswith(("energies.predictors.", "decoder.pitch."))
    } == {
        "decoder.stage_gain",
        "decoder.gain_proj",
        "decoder.repair.condition_proj",
        "decoder.repair.noise_proj",
        "decoder.repair.trust_proj",
    }


def turn(x, angle):
    """Planar x times e^(i angle)."""
    return cnn.to_planar(cnn.to_complex(x) * complex(math.cos(angle), math.sin(angle)))


def test_the_trunk_turns_with_the_phase_of_its_input():
    model = build()
    x = latents_like(model)
    with torch.no_grad():
        out, turned = model.encoder.trunk(x), model.encoder.trunk(turn(x, 0.7))
    assert torch.allclose(turned, turn(out, 0.7), atol=1e-4)


def latents_like(model):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 2 * model.stft.n_bins, 12, generator=generator)


# --- level


def test_local_level_is_the_root_mean_square_of_the_last_frames():
    x = torch.randn(1, 6, 30, generator=torch.Generator().manual_seed(0))
    z = cnn.to_complex(x)
    for right in (0, 1):
        level = local_level(x, right)
        assert level.shape == (1, 1, 30)
        window = z[0, :, 20 - 8 : 20 + right + 1].abs().square()
        assert float(level[0, 0, 20]) == pytest.approx(math.sqrt(window.mean()), rel=1e-5)
        # nothing before the start: the same as zeros
        padded = nn.functional.pad(x, (10, 0))
        assert torch.allclose(local_level(padded, right)[..., 10:], level, rtol=1e-5)
    assert torch.allclose(local_level(7.0 * x, 1), 7.0 * local_level(x, 1), rtol=1e-5)
    assert (local_level(torch.zeros(1, 6, 4), 1) > 0).all()


@pytest.mark.parametrize("gain", [0.05, 10.0])
def test_the_network_treats_a_whisper_as_it_treats_a_shout(tiny, gain):
    """Encoder and decoder are homogeneous (of degree 3/4 and 4/3), as are their two paths."""
    wav = noise(6000, level=0.1)
    quiet = latents(tiny, wav)
    loud = latents(tiny, gain * wav)
    degree = tiny.config.latent_exponent
    scale = gain**degree
    assert torch.allclose(loud, scale * quiet, rtol=1e-2, atol=1e-3 * scale * quiet.abs().max())
    with torch.no_grad():
        audio = tiny(wav, quantize=False).audio
        scaled = tiny(gain * wav, quantize=False).audio
        # the network path is not idle in this
        path = tiny.encoder.transform_path(tiny.stft.analysis(wav[:, 0]))
    # not exactly: energies have a floor, which bands without a latent of their own come near to
    assert snr_db(gain * audio, scaled) > 35
    assert snr_db(quiet, path) < 40


def test_polarity_is_kept(tiny):
    wav = noise(3000)
    assert torch.allclose(latents(tiny, -wav), -latents(tiny, wav), atol=1e-6)


# --- before training


def test_fresh_model_is_a_lapped_transform_codec():
    """64 pairs are 128 of 264 coefficients: all below 5.8 kHz is kept."""
    model = build(ModelConfig(**PLAIN), live=False)
    wav = low_pass(12000, 5000)
    with torch.no_grad():
        assert snr_db(wav, model(wav, quantize=False).audio) > 30


def test_with_all_coefficients_the_transform_path_is_exact():
    model = build(dataclasses.replace(TINY, latent_dim=132, **PLAIN), live=False)
    wav = noise(6000)
    with torch.no_grad():
        assert snr_db(wav, model(wav, quantize=False).audio) > 80


def test_transform_is_the_textbook_mdct():
    """Against the sum of Princen, Johnson & Bradley 1987, in numpy, over the windowed frame."""
    model = build(live=False)
    wav = noise(2 * HOP, seed=4)
    spec = model.stft.analysis(wav[:, 0])[..., 1:2]  # the frame of all 528 samples
    with torch.no_grad():
        found = model.encoder.transform(spec)[0, :, 0].numpy()
    n, k = np.arange(528), np.arange(HOP)
    x = wav[0, 0].double().numpy() * np.sin(np.pi * (n + 0.5) / 528)
    kernel = np.cos(np.pi / HOP * (n[:, None] + 0.5 + HOP / 2) * (k + 0.5))
    expected = math.sqrt(2 / HOP) * x @ kernel
    assert np.allclose(found[:132], expected[0::2], atol=1e-5)
    assert np.allclose(found[132:], expected[1::2], atol=1e-5)


@pytest.fixture(scope="module")
def small():
    """A model with few codes, before and after it was set from data; coloured noise."""
    config = dataclasses.replace(TINY, n_codebooks=4, codebook_size=64, **PLAIN)
    wavs = torch.cat([low_pass(8000, 3000, seed) + 0.1 * noise(8000, 1, seed) for seed in range(4)])
    before, after = build(config, live=False), build(config, live=False)
    torch.manual_seed(0)
    initialize(after, wavs)
    return before, after, wavs


def test_data_initialisation_lowers_the_quantisation_error(small):
    before, after, wavs = small
    errors = []
    for model in (before, after):
        z = latents(model, wavs)
        q = model.quantizer.decode(model.quantizer.encode(z))
        errors.append(float((z - q).square().sum() / z.square().sum()))
    assert errors[1] < 0.7 * errors[0] and errors[1] < 0.7


def test_data_initialisation_finds_the_strongest_components(small):
    """The Karhunen-Loeve map is unitary, keeps the most energy, and decorrelates."""
    before, after, wavs = small
    z = latents(after, wavs)
    assert z.square().sum() > latents(before, wavs).square().sum()
    flat = z.transpose(1, 2).reshape(-1, 16).double()
    covariance = flat.t() @ flat
    # latents pair up components 2j and 2j+1
    power = torch.stack(covariance.diagonal().chunk(2), -1).flatten()
    assert (power.diff() <= 1e-6 * power[0]).all()
    off = covariance - torch.diag(covariance.diagonal())
    assert off.abs().max() < 1e-3 * power[0]
    spec = after.stft.analysis(wavs[:, 0])
    with torch.no_grad():
        mdct = cnn.power_compress(after.encoder.transform(spec), 0.75)
        back = after.decoder.expand(after.encoder.select(mdct))
        again = after.encoder.select(back)
    assert torch.allclose(again, after.encoder.select(mdct), atol=1e-3)


def test_data_initialisation_scales_the_inputs_of_the_network(small):
    _, model, wavs = small
    spec = cnn.power_compress(model.stft.analysis(wavs[:, 0]), 0.5)
    features = spec / local_level(spec, model.encoder.right)
    power = 2 * features.unflatten(1, (2, -1)).square().mean((0, 1, 3))
    expected = power.sqrt().clamp_min(0.02 * float(power.max()) ** 0.5)
    assert torch.allclose(model.encoder.tilt, expected, rtol=1e-3)
    assert torch.equal(model.encoder.tilt, model.decoder.tilt)


# --- training


def test_gradient_reaches_every_parameter():
    model = build().train()
    wav = noise(8000, batch=2)
    out = model(wav, n_codebooks=torch.tensor([6, 12]))
    assert out.audio.shape == wav.shape and out.codes.shape == (2, 12, 32)
    total, _ = ReconstructionLoss(LossConfig(), model.sample_rate)(out.audio, wav)
    (total + 0.25 * out.losses["commitment"]).backward()
    for name, parameter in model.named_parameters():
        if name.startswith("energies."):  # fitted before training, by themselves
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_network_path_leaves_zero_in_a_few_steps():
    """It starts at zero, output projections first; after three steps all of it moves."""
    model = build(live=False).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    start = {k: v.detach().clone() for k, v in model.named_parameters()}
    wav = noise(4000, batch=2)
    for _ in range(4):
        optimizer.zero_grad()
        audio = model(wav, n_codebooks=torch.tensor([6, 12])).audio
        (audio - wav).square().mean().backward()
        optimizer.step()
    still = {k for k, v in model.named_parameters() if torch.equal(v, start[k])}
    assert {k for k in still if not k.startswith("energies.")} == set()


def test_unquantised_forward_has_no_codes_and_no_commitment(tiny):
    out = tiny(noise(1000), quantize=False)
    assert out.codes is None and out.losses == {} and out.stats == {}


def test_forward_in_evaluation_equals_encode_and_decode(tiny):
    wav = noise(4000)
    with torch.no_grad():
        out = tiny(wav, n_codebooks=torch.tensor([7]))
    assert agree(out.codes[:, :7], tiny.encode(wav, 7, beam=1)) and (out.codes[:, 7:] == -1).all()
    decoded = tiny.decode(out.codes[:, :7], 4000)
    assert torch.allclose(out.audio, decoded, rtol=0, atol=1e-5)
