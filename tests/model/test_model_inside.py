"""The network from inside: its blocks, its algebra, its start from data, its gradients."""

import math

import numpy as np
import pytest
import torch
from helpers.models import HOP, analysis, build, heard, low_pass, noise, snr_db, unquantised
from torch import nn

from eulerodec import ModelConfig
from eulerodec import nn as cnn
from eulerodec.model import local_level
from eulerodec.model.fit import initialize
from eulerodec.train.losses import ReconstructionLoss
from eulerodec.train.recipe import LossConfig


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
    axes = [m.axis for m in default.modules() if isinstance(m, cnn.AxialAttention)]
    assert sorted(axes) == ["frequency", "time"]


def test_nothing_else_has_weights_but_real_gains(default):
    """No real network acts on complex values: only gains that multiply them, and what gives such
    gains for periods of the pitch."""
    real = {
        name
        for name, module in default.named_modules()
        if list(module.parameters(recurse=False)) and not module.__module__.startswith(cnn.__name__)
    }
    assert {name for name in real if not name.startswith("decoder.pitch.")} == {
        "decoder.stage_gain",
        "decoder.energy_gain",
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
    generator = torch.Generator().manual_seed(3)
    inputs = 2 * (model.stft.n_bins + model.config.latent_dim)
    x = torch.randn(2, inputs, 12, generator=generator)
    gain = 0.1 * torch.randn(2, model.config.decoder_channels, 12, generator=generator)
    with torch.no_grad():
        out, turned = model.decoder.trunk(x, gain), model.decoder.trunk(turn(x, 0.7), gain)
    assert torch.allclose(turned, turn(out, 0.7), atol=1e-4)


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
    """Encoder and decoder are homogeneous (of degree 3/4 and 4/3)."""
    wav = noise(6000, level=0.1)
    quiet, loud = (analysis(tiny, x)[0] for x in (wav, gain * wav))
    scale = gain**tiny.config.latent_exponent
    assert torch.allclose(loud, scale * quiet, rtol=1e-2, atol=1e-3 * scale * quiet.abs().max())
    with torch.no_grad():
        audio, scaled = unquantised(tiny, wav), unquantised(tiny, gain * wav)
    # not exactly: energies have a floor, which bands without a latent of their own come near to
    assert snr_db(gain * audio, scaled) > 35
    assert snr_db(wav, audio) < 40  # the network is not idle in this


def test_polarity_is_kept(tiny):
    wav = noise(3000)
    z, bands = analysis(tiny, wav)
    turned, same = analysis(tiny, -wav)
    assert torch.allclose(turned, -z, atol=1e-6) and torch.equal(bands, same)
    upright, over = (heard(tiny, tiny.exact(x, bands), 3000) for x in (z, -z))
    assert torch.allclose(over, -upright, atol=1e-6)


# --- before training


def test_the_transform_path_is_exact():
    """Neither the periods of the pitch nor the network change anything before they are trained."""
    model = build(live=False)
    wav = noise(6000)
    z, bands = analysis(model, wav)
    with torch.no_grad():
        coded = model.exact(z, bands)
        spec, plain = model.decoder.transform_path(coded.z, coded.n_stages)
    assert snr_db(wav[:, 0], model.stft.synthesis(plain, 6000)) > 80
    assert torch.equal(spec, plain)


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
def fitted():
    """A model that was set from coloured noise, and that noise."""
    wavs = torch.cat([low_pass(8000, 3000, seed) + 0.1 * noise(8000, 1, seed) for seed in range(4)])
    model = build(live=False)
    initialize(model, wavs)
    return model, wavs


def test_the_network_sees_the_strongest_components(fitted):
    """The Karhunen-Loeve map is unitary, keeps the most energy, and decorrelates."""
    model, wavs = fitted
    z = analysis(model, wavs)[0]
    with torch.no_grad():
        seen, before = (m.decoder.select(z) for m in (model, build(live=False)))
    assert z.square().sum() > seen.square().sum() > before.square().sum()
    flat = seen.transpose(1, 2).reshape(-1, 16).double()
    covariance = flat.t() @ flat
    # latents pair up components 2j and 2j+1
    power = torch.stack(covariance.diagonal().chunk(2), -1).flatten()
    assert (power.diff() <= 1e-6 * power[0]).all()
    off = covariance - torch.diag(covariance.diagonal())
    assert off.abs().max() < 1e-3 * power[0]


def test_data_initialisation_scales_the_inputs_of_the_network(fitted):
    model, wavs = fitted
    spec = cnn.power_compress(model.stft.analysis(wavs[:, 0]), 0.5)
    features = spec / local_level(spec, model.decoder.right)
    power = 2 * features.unflatten(1, (2, -1)).square().mean((0, 1, 3))
    expected = power.sqrt().clamp_min(0.02 * float(power.max()) ** 0.5)
    assert torch.allclose(model.decoder.tilt, expected, rtol=1e-3)


# --- training


KBPS = torch.tensor([6.0, 12.0])


def test_gradient_reaches_every_parameter_of_the_decoder():
    model = build().train()
    wav = noise(24_000, batch=2)
    out = model(wav, bitrate_kbps=KBPS)
    assert out.audio.shape == wav.shape and 0 < out.stats["n_stages"] < 14
    total, _ = ReconstructionLoss(LossConfig(), model.sample_rate)(out.audio, wav)
    total.backward()
    for name, parameter in model.named_parameters():
        if name.startswith("encoder."):  # codes are made without gradients
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_network_path_leaves_zero_in_a_few_steps():
    """It starts at zero, output projections first; after three steps all of it moves."""
    model = build(live=False).train()
    optimizer = torch.optim.Adam(model.decoder.parameters(), 1e-3)
    start = {k: v.detach().clone() for k, v in model.decoder.named_parameters()}
    wav = noise(4000, batch=2)
    for _ in range(4):
        optimizer.zero_grad()
        audio = model(wav, bitrate_kbps=KBPS).audio
        (audio - wav).square().mean().backward()
        optimizer.step()
    now = model.decoder.named_parameters()
    assert {k for k, v in now if torch.equal(v, start[k])} == set()


def test_forward_is_a_packet_there_and_back(tiny):
    """Of the bytes that the bitrate gives to each item."""
    wav = noise(24_000, batch=2)
    with torch.no_grad():
        out = tiny(wav, bitrate_kbps=KBPS)
    z, bands = analysis(tiny, wav)
    for k, size in enumerate((750, 1500)):
        item = slice(k, k + 1)
        payload = tiny.coder.encode(z[item], bands[item], size, beam=1)
        coded = tiny.coder.decode(payload, 1, z.shape[-1])
        assert torch.allclose(out.audio[item], heard(tiny, coded, 24_000), rtol=0, atol=1e-4)
