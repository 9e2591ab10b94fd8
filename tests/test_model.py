"""The network: budgets, shapes, bounded context, and what it is before any training."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eulerodec import ConfigError, EuleroDec, ModelConfig
from eulerodec import nn as cnn
from eulerodec.losses import LossConfig, ReconstructionLoss
from eulerodec.model import local_level

HOP = 264
TINY = ModelConfig.tiny()
CONFIGS = {"tiny": TINY, "default": ModelConfig()}


def build(config=TINY, seed=0, live=True):
    """A model in eval mode; ``live`` gives small values to what starts at zero."""
    torch.manual_seed(seed)
    model = EuleroDec(config)
    if live:
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.02)
    return model.eval()


@pytest.fixture(scope="module")
def tiny():
    return build()


@pytest.fixture(scope="module")
def default():
    return build(ModelConfig())


@pytest.fixture(params=["tiny", "default"])
def model(request):
    return request.getfixturevalue(request.param)


def noise(n, batch=1, seed=0, level=0.1):
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(batch, 1, n, generator=generator)


def snr_db(x, y):
    return float(10 * torch.log10(x.square().sum() / (x - y).square().sum()))


def latents(model, wav):
    with torch.no_grad():
        return model.encoder(model.stft.analysis(wav[:, 0]))


# --- budgets


def test_default_model_is_within_its_budgets(default):
    assert sum(p.numel() for p in default.parameters()) <= 10e6
    wav = noise(24000)
    macs = {}
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter:
            codes = default.encode(wav)
        macs["encode"] = counter.get_total_flops() / 2
        with FlopCounterMode(display=False) as counter:
            default.decode(codes, 24000)
        macs["decode"] = counter.get_total_flops() / 2
    assert 0.1e9 < macs["encode"] <= 1.2e9
    assert 0.1e9 < macs["decode"] <= 1.2e9


def test_rates(model):
    assert (model.sample_rate, model.hop_length) == (24000, HOP)
    assert (model.n_codebooks, model.codebook_size) == (12, 2048)
    assert model.frame_rate * math.log2(2048) == pytest.approx(1000)  # bit/s of one stage


# --- shapes and lengths


@pytest.mark.parametrize("n", [0, 1, 263, 264, 265, 5000])
def test_lengths_are_exact(model, n):
    frames = -(-n // HOP) + 1 if n else 0
    assert model.n_frames(n) == frames
    codes = model.encode(noise(n, batch=2))
    assert codes.shape == (2, 12, frames) and codes.dtype == torch.int64
    assert codes.numel() == 0 or 0 <= codes.min() <= codes.max() < 2048
    wav = model.decode(codes, n)
    assert wav.shape == (2, 1, n) and wav.dtype == torch.float32
    assert torch.isfinite(wav).all()


def test_decoding_the_first_stages_only(tiny):
    wav = noise(5000, batch=2)
    codes = tiny.encode(wav)
    assert torch.equal(tiny.encode(wav, 6), codes[:, :6])
    half = tiny.decode(codes[:, :6], 5000)
    assert half.shape == wav.shape and torch.isfinite(half).all()
    assert not torch.equal(half, tiny.decode(codes, 5000))


def test_decoder_is_told_the_number_of_stages(tiny):
    z = latents(tiny, noise(3000))
    with torch.no_grad():
        six, twelve = (tiny.decoder(z, torch.tensor([k])) for k in (6, 12))
    assert not torch.allclose(six, twelve)


@pytest.mark.parametrize("stages", [0, 13])
def test_wrong_number_of_stages(tiny, stages):
    with pytest.raises(ValueError, match=r"1\.\.12"):
        tiny.encode(noise(300), stages)
    with pytest.raises(ValueError, match=r"1\.\.12"):
        tiny.decode(torch.zeros(1, stages, 3, dtype=torch.int64), 300)


def test_extreme_input_gives_finite_audio(tiny):
    square = torch.sign(noise(2000))
    impulse = torch.zeros(1, 1, 2000)
    impulse[..., 900] = 1.0
    for wav in (torch.zeros(1, 1, 2000), 1e-7 * square, square, 1e3 * square, impulse):
        assert torch.isfinite(latents(tiny, wav)).all()
        assert torch.isfinite(tiny.decode(tiny.encode(wav), 2000)).all()


def test_coding_changes_no_state(tiny):
    before = {k: v.clone() for k, v in tiny.state_dict().items()}
    tiny.decode(tiny.encode(noise(2000)), 2000)
    assert all(torch.equal(before[k], v) for k, v in tiny.state_dict().items())


# --- bounded context


def touched(sensitivity):
    """First and last index with a gradient."""
    where = sensitivity.flatten().nonzero()
    return int(where.min()), int(where.max())


@pytest.mark.parametrize("name", CONFIGS)
def test_receptive_field_and_look_ahead_are_those_of_the_gradient(name):
    """From one output sample back to the input, unquantised: exactly the stated range."""
    # no zeros by chance: attention that does not look anywhere would hide its window
    model = build(CONFIGS[name], seed=1)
    blocks = model.receptive_field // HOP + 4
    wav = noise(blocks * HOP, seed=2).requires_grad_()
    audio = model(wav, quantize=False).audio
    middle = (blocks - model.look_ahead // HOP - 2) * HOP
    past = model.receptive_field - model.look_ahead - 1
    # the bounds are for any sample; the first one of a block reaches furthest ahead
    (g,) = torch.autograd.grad(audio[0, 0, middle], wav, retain_graph=True)
    assert touched(g)[1] == middle + model.look_ahead
    # and the last one furthest back
    last = middle + HOP - 1
    (g,) = torch.autograd.grad(audio[0, 0, last], wav)
    assert touched(g)[0] == last - past
    assert model.latency_s == (model.look_ahead + 1) / 24000


def test_one_sample_changes_only_the_codes_that_may_see_it(tiny):
    encoder, frames = tiny.encoder, 60
    wav = noise(frames * HOP)
    codes, z = tiny.encode(wav), latents(tiny, wav)
    position = 30 * HOP + 100
    changed = wav.clone()
    changed[..., position] += 0.5
    # STFT frames 30 and 31 hold the sample
    first, last = 30 - encoder.look_ahead, 31 + encoder.look_back
    new_codes, new_z = tiny.encode(changed), latents(tiny, changed)
    for frame in range(tiny.n_frames(wav.shape[-1])):
        if first <= frame <= last:
            assert not torch.equal(new_z[..., frame], z[..., frame])
        else:
            assert torch.equal(new_z[..., frame], z[..., frame])
            assert torch.equal(new_codes[..., frame], codes[..., frame])
    assert not torch.equal(new_codes[..., 30:32], codes[..., 30:32])


def test_one_code_changes_only_the_audio_that_may_see_it(tiny):
    decoder, frames = tiny.decoder, 60
    n = (frames - 1) * HOP
    codes = tiny.encode(noise(n))
    changed = codes.clone()
    changed[:, 0, 30] = (changed[:, 0, 30] + 1) % 2048
    differs = (tiny.decode(changed, n) != tiny.decode(codes, n))[0, 0].nonzero()
    # spectrum frames 30 - look_ahead to 30 + look_back, frame t spans (t-1) hop to (t+1) hop
    first, end = (30 - decoder.look_ahead - 1) * HOP, (30 + decoder.look_back + 1) * HOP
    assert first <= differs.min() < first + HOP
    assert end - HOP <= differs.max() < end


def test_a_model_without_look_ahead_is_causal():
    config = dataclasses.replace(TINY, encoder_look_ahead=0, decoder_look_ahead=0)
    model = build(config)
    assert model.encoder.look_ahead == 0
    wav = noise(20 * HOP)
    changed = wav.clone()
    changed[..., 10 * HOP :] = 0.3
    z, new = latents(model, wav), latents(model, changed)
    assert torch.equal(z[..., :10], new[..., :10])


def test_padded_batch_equals_single_items(tiny):
    """Up to the end of the shorter item less the look-ahead; beyond, the padding counts as sound.

    Batched products may round otherwise, so a code may differ where two are equally near.
    """
    long, short = noise(40 * HOP, seed=1), noise(20 * HOP + 57, seed=2)
    padded = nn.functional.pad(short, (0, long.shape[-1] - short.shape[-1]))
    batch = torch.cat([long, padded])
    z, codes = latents(tiny, batch), tiny.encode(batch)
    for item, wav in enumerate((long, short)):
        end = tiny.n_frames(wav.shape[-1]) - (tiny.encoder.look_ahead if item else 0)
        alone = latents(tiny, wav)[..., :end]
        assert torch.allclose(z[item : item + 1, :, :end], alone, rtol=1e-4, atol=1e-6)
        same = codes[item, :, :end] == tiny.encode(wav)[0, :, :end]
        assert same.float().mean() > 0.99
    audio = tiny.decode(codes, 40 * HOP)
    assert torch.allclose(audio[:1], tiny.decode(codes[:1], 40 * HOP), atol=1e-6)


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


def test_nothing_else_has_weights_but_two_real_gains(default):
    """No real network anywhere: only gains that multiply complex values."""
    real = {
        name
        for name, module in default.named_modules()
        if list(module.parameters(recurse=False)) and not module.__module__.startswith(cnn.__name__)
    }
    assert real == {"decoder.stage_gain", "decoder.gain_proj"}


@pytest.mark.parametrize(
    ("changes", "gone", "instead"),
    [
        (dict(attention=False), {cnn.AxialAttention, cnn.TimeAttention}, set()),
        (dict(whitening=False), {cnn.WhiteningNorm}, {cnn.ComplexRMSNorm}),
    ],
)
def test_blocks_can_be_switched_off(changes, gone, instead):
    model = build(dataclasses.replace(TINY, **changes))
    assert not gone & kinds(model) and instead <= kinds(model)
    assert model.decode(model.encode(noise(1000)), 1000).shape == (1, 1, 1000)


def test_without_attention_the_context_is_that_of_the_convolutions():
    model = build(dataclasses.replace(TINY, attention=False))
    assert model.encoder.trunk.look_back == 3 and model.encoder.trunk.look_ahead == 1


def test_split_activation_is_another_function_of_the_same_weights(tiny):
    split = EuleroDec(dataclasses.replace(TINY, activation="split")).eval()
    split.load_state_dict(tiny.state_dict())
    wav = noise(2000)
    assert not torch.allclose(latents(tiny, wav), latents(split, wav), atol=1e-4)


def turn(x, angle):
    """Planar x times e^(i angle)."""
    return cnn.to_planar(cnn.to_complex(x) * complex(math.cos(angle), math.sin(angle)))


@pytest.mark.parametrize(
    ("changes", "equivariant"),
    [(dict(), True), (dict(whitening=False), True), (dict(activation="split"), False)],
)
def test_the_trunk_turns_with_the_phase_of_its_input(changes, equivariant):
    model = build(dataclasses.replace(TINY, **changes))
    x = latents_like(model)
    with torch.no_grad():
        out, turned = model.encoder.trunk(x), model.encoder.trunk(turn(x, 0.7))
    assert torch.allclose(turned, turn(out, 0.7), atol=1e-4) is equivariant


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
    assert snr_db(gain * audio, scaled) > 50
    # the network path is not idle in this
    path = tiny.encoder.transform_path(tiny.stft.analysis(wav[:, 0]))
    assert snr_db(quiet, path) < 40


def test_polarity_is_kept(tiny):
    wav = noise(3000)
    assert torch.allclose(latents(tiny, -wav), -latents(tiny, wav), atol=1e-6)


# --- before training


def low_pass(n, hertz, seed=0):
    spectrum = torch.fft.rfft(noise(n, seed=seed))
    spectrum[..., int(hertz / 24000 * n) :] = 0
    return torch.fft.irfft(spectrum, n=n)


def test_fresh_model_is_a_lapped_transform_codec():
    """64 pairs are 128 of 264 coefficients: all below 5.8 kHz is kept."""
    model = build(ModelConfig(), live=False)
    wav = low_pass(12000, 5000)
    with torch.no_grad():
        assert snr_db(wav, model(wav, quantize=False).audio) > 30


def test_with_all_coefficients_the_transform_path_is_exact():
    model = build(dataclasses.replace(TINY, latent_dim=132), live=False)
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
    config = dataclasses.replace(TINY, n_codebooks=4, codebook_size=64)
    wavs = torch.cat([low_pass(8000, 3000, seed) + 0.1 * noise(8000, 1, seed) for seed in range(4)])
    before, after = build(config, live=False), build(config, live=False)
    torch.manual_seed(0)
    after.initialize(wavs)
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
        pairs = cnn.compress(after.encoder.transform(spec), 0.75)
        back = after.decoder.expand(after.encoder.select(pairs))
        again = after.encoder.select(back)
    assert torch.allclose(again, after.encoder.select(pairs), atol=1e-3)


def test_data_initialisation_scales_the_inputs_of_the_network(small):
    _, model, wavs = small
    spec = cnn.compress(model.stft.analysis(wavs[:, 0]), 0.5)
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
    total, _ = ReconstructionLoss(LossConfig())(out.audio, wav)
    (total + 0.25 * out.commitment_loss).backward()
    for name, parameter in model.named_parameters():
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
    assert not still


def test_unquantised_forward_has_no_codes_and_no_commitment(tiny):
    out = tiny(noise(1000), quantize=False)
    assert out.codes is None and float(out.commitment_loss) == 0.0 and out.stats == {}


def test_forward_in_evaluation_equals_encode_and_decode(tiny):
    wav = noise(4000)
    with torch.no_grad():
        out = tiny(wav, n_codebooks=torch.tensor([7]))
    codes = tiny.encode(wav, 7)
    assert torch.equal(out.codes[:, :7], codes) and (out.codes[:, 7:] == -1).all()
    assert torch.allclose(out.audio, tiny.decode(codes, 4000), atol=1e-5)


# --- config


def test_config_survives_json():
    for config in CONFIGS.values():
        assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("latent_dims", "latent_dim"), ("n_codebook", "n_codebooks"), ("atention", "attention")],
)
def test_unknown_setting_names_the_nearest(key, nearest):
    with pytest.raises(ConfigError, match=f"'{key}'.*'{nearest}'"):
        ModelConfig.from_dict({key: 1})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (dict(encoder_channels=100), "encoder_channels=100.*multiple"),
        (dict(decoder_channels=8), "decoder_channels=8.*multiple"),
        (dict(kernel_size=4), "kernel_size=4.*odd"),
        (dict(hop_length=265), "hop_length=265.*even"),
        (dict(activation="relu"), "'relu'.*magnitude.*split"),
    ],
)
def test_impossible_settings_are_named(changes, word):
    with pytest.raises(ConfigError, match=word):
        ModelConfig(**changes)
