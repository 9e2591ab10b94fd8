"""The network from outside: budgets, shapes, exact lengths, bounded context, config."""

import dataclasses
import json
import math

import pytest
import torch
from helpers.models import HOP, TINY, analysis, build, heard, noise, unquantised
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eulerodec import AudioError, ConfigError, ModelConfig

CONFIGS = {"tiny": TINY, "default": ModelConfig()}


@pytest.fixture(scope="module")
def tiny():
    return build()


@pytest.fixture(scope="module")
def default():
    return build(ModelConfig())


@pytest.fixture(params=["tiny", "default"])
def model(request):
    return request.getfixturevalue(request.param)


def macs(run):
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        run()
    return counter.get_total_flops() / 2


# --- budgets


def test_default_model_is_within_its_budgets(default):
    assert sum(p.numel() for p in default.parameters()) <= 5e6
    wav = noise(24000)
    z, bands = analysis(default, wav)
    assert 0.01e9 < macs(lambda: default.analysis(wav)) <= 0.05e9
    assert 0.1e9 < macs(lambda: default.decoder(default.exact(z, bands))) <= 1.2e9


def test_frame_rate(model):
    assert (model.sample_rate, model.hop_length) == (24000, HOP)
    assert model.frame_rate * math.log2(2048) == pytest.approx(1000)  # bit/s of a code a frame


def test_codes_that_do_not_fit_the_config():
    with pytest.raises(ConfigError, match="codes of 264 numbers a frame do not fit hop_length=256"):
        build(dataclasses.replace(TINY, hop_length=256))
    with pytest.raises(ConfigError, match="codes of 30 bands do not fit sample_rate=16000"):
        build(dataclasses.replace(TINY, sample_rate=16000))


@pytest.mark.parametrize("shape", [(1000,), (1, 1000), (1, 2, 1000)])
def test_channels_are_items_of_a_batch(tiny, shape):
    for call in (tiny.analysis, tiny):
        with pytest.raises(AudioError, match=r"\[B, 1, N\]"):
            call(torch.zeros(shape))


# --- shapes and lengths


@pytest.mark.parametrize("n", [1, 263, 264, 265, 5000])
def test_lengths_are_exact(model, n):
    frames = -(-n // HOP) + 1
    assert model.n_frames(n) == frames
    z, bands = analysis(model, noise(n, batch=2))
    assert z.shape == (2, HOP, frames) and bands.shape == (2, 30, frames)
    wav = heard(model, model.exact(z, bands), n)
    assert wav.shape == (2, 1, n) and wav.dtype == torch.float32
    assert torch.isfinite(wav).all()


def test_decoder_is_told_what_is_known_of_each_frame(tiny):
    """More stages or energies in one frame change the audio around it, and no other."""
    n = 200 * HOP
    coded = tiny.exact(*analysis(tiny, noise(n)))
    before = heard(tiny, coded, n)[0, 0]
    decoder, at = tiny.decoder, 100
    first, end = (at - decoder.look_ahead - 1) * HOP, (at + decoder.look_back + 1) * HOP
    for name in ("n_stages", "n_energies"):
        known = getattr(coded, name).clone()
        known[0, at] = 1
        changed = heard(tiny, dataclasses.replace(coded, **{name: known}), n)[0, 0]
        difference = (changed - before).abs()
        assert difference[at * HOP - HOP : at * HOP + HOP].max() > 1e-6
        assert difference[:first].max() < 1e-6 and difference[end:].max() < 1e-6


def test_extreme_input_gives_finite_audio(tiny):
    square = torch.sign(noise(2000))
    impulse = torch.zeros(1, 1, 2000)
    impulse[..., 900] = 1.0
    for wav in (torch.zeros(1, 1, 2000), 1e-7 * square, square, 1e3 * square, impulse):
        z, bands = analysis(tiny, wav)
        assert torch.isfinite(z).all() and torch.isfinite(bands).all()
        coded = tiny.coder.decode(tiny.coder.encode(z, bands, 60), 1, z.shape[-1])
        assert torch.isfinite(heard(tiny, coded, 2000)).all()


def test_coding_changes_no_state(tiny):
    before = {k: v.clone() for k, v in tiny.state_dict().items()}
    tiny(noise(2000), bitrate_kbps=torch.tensor([6.0]))
    assert all(torch.equal(before[k], v) for k, v in tiny.state_dict().items())


# --- bounded context


def touched(audio, n, source):
    """First and last place of ``source`` with a gradient to sample n of ``audio [1, 1, N]``."""
    # scaled up: through many small weights at the far end it would round to zero
    scale = torch.tensor(1e20)
    (gradient,) = torch.autograd.grad(audio[0, 0, n], source, scale, retain_graph=True)
    where = gradient.flatten().nonzero()
    return int(where.min()), int(where.max())


@pytest.mark.parametrize("name", CONFIGS)
def test_receptive_field_and_look_ahead_are_those_of_the_gradient(name):
    """From one output sample back to the input, unquantised: exactly the stated range, less the
    periods of the pitch, which gradients do not pass through."""
    model = build(CONFIGS[name], seed=1)
    blocks = model.receptive_field // HOP + 4
    wav = noise(blocks * HOP, seed=2)
    with torch.no_grad():
        z, bands = model.analysis(wav)
    probe = torch.zeros(1, 1, z.shape[-1], requires_grad=True)
    coded = model.exact(z + probe, bands)
    audio = model.stft.synthesis(model.decoder(coded), wav.shape[-1])[:, None]
    middle = (blocks - model.look_ahead // HOP - 2) * HOP
    # frame t is made of the samples (t - 1) hop to (t + 1) hop - 1
    # the bounds are for any sample; the first one of a block reaches furthest ahead
    ahead = model.look_ahead - model.decoder.pitch.right * HOP
    assert (touched(audio, middle, probe)[1] + 1) * HOP - 1 == middle + ahead
    # and the last one furthest back
    last = middle + HOP - 1
    past = model.receptive_field - model.look_ahead - 1 - model.decoder.pitch.left * HOP
    assert (touched(audio, last, probe)[0] - 1) * HOP == last - past
    assert model.latency_s == (model.look_ahead + 1) / 24000


def test_one_sample_changes_only_the_frames_it_is_in(tiny):
    wav = noise(60 * HOP)
    changed = wav.clone()
    changed[..., 30 * HOP + 100] += 0.5
    inside = torch.zeros(61, dtype=torch.bool)
    inside[30:32] = True
    for before, after in zip(analysis(tiny, wav), analysis(tiny, changed), strict=True):
        assert torch.equal(before[..., ~inside], after[..., ~inside])
        assert not torch.allclose(before[..., inside], after[..., inside], rtol=0.01)


def test_one_latent_touches_only_the_audio_that_may_see_it(tiny):
    """Exactly the stated range of frames, by the gradient; what that range means, by a change."""
    decoder = tiny.decoder
    at = decoder.look_back + 4
    n = (at + decoder.look_back + 6) * HOP
    z, bands = analysis(tiny, noise(n))
    probe = torch.zeros(1, 1, z.shape[-1], requires_grad=True)

    def audio(probe):
        return tiny.stft.synthesis(decoder(tiny.exact(z + probe, bands)), n)[:, None]

    # spectrum frames at - look_ahead to at + look_back, frame t spans (t-1) hop to (t+1) hop
    first, end = (at - decoder.look_ahead - 1) * HOP, (at + decoder.look_back + 1) * HOP
    given = audio(probe)
    # gradients do not pass through the periods of the pitch
    edge = end - decoder.pitch.left * HOP
    assert touched(given, edge - 1, probe)[0] == at and touched(given, edge, probe)[0] > at
    edge = first + decoder.pitch.right * HOP
    assert touched(given, edge, probe)[1] == at and touched(given, edge - 1, probe)[1] < at
    change = torch.zeros_like(probe)
    change[..., at] = 1.0
    with torch.no_grad():
        difference = (audio(change) - given)[0, 0].abs()
    assert difference[:first].max() < 1e-6 and difference[end:].max() < 1e-6
    assert difference[at * HOP - HOP : at * HOP + HOP].max() > 1e-3


def test_a_model_without_look_ahead_is_causal():
    model = build(dataclasses.replace(TINY, decoder_look_ahead=0))
    wav = noise(20 * HOP)
    changed = wav.clone()
    changed[..., 10 * HOP :] = 0.3
    with torch.no_grad():
        before, after = unquantised(model, wav), unquantised(model, changed)
    sure = 10 * HOP - model.look_ahead
    assert torch.allclose(before[..., :sure], after[..., :sure], rtol=0, atol=1e-6)
    assert not torch.allclose(before[..., 10 * HOP :], after[..., 10 * HOP :], atol=1e-2)


def test_padded_batch_equals_single_items(tiny):
    """Up to the end of the shorter item less the look-ahead; beyond, the padding counts as sound.

    Batched products may round otherwise.
    """
    long, short = noise(40 * HOP, seed=1), noise(20 * HOP + 57, seed=2)
    padded = nn.functional.pad(short, (0, long.shape[-1] - short.shape[-1]))
    together = unquantised(tiny, torch.cat([long, padded]))
    for item, wav in enumerate((long, short)):
        end = wav.shape[-1] - (tiny.look_ahead if item else 0)
        alone = unquantised(tiny, wav)
        assert torch.allclose(together[item, :, :end], alone[0, :, :end], rtol=0, atol=1e-5)


# --- config


def test_config_survives_json():
    for config in CONFIGS.values():
        assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("latent_dims", "latent_dim"), ("pitch_channel", "pitch_channels"), ("bandz", "bands")],
)
def test_unknown_setting_names_the_nearest(key, nearest):
    with pytest.raises(ConfigError, match=f"'{key}'.*'{nearest}'"):
        ModelConfig.from_dict({key: 1})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (dict(decoder_channels=100), "decoder_channels=100.*multiple"),
        (dict(decoder_channels=8), "decoder_channels=8.*multiple"),
        (dict(kernel_size=4), "kernel_size=4.*odd"),
        (dict(hop_length=265), "hop_length=265.*even"),
        (dict(latent_dim=0), "latent_dim=0.*from 1"),
        (dict(latent_dim=133), "latent_dim=133: a frame has 132"),
        (dict(decoder_blocks=1025), "decoder_blocks=1025.*1024"),
        (dict(latent_exponent=math.nan), "latent_exponent=nan.*above 0"),
    ],
)
def test_impossible_settings_are_named(changes, word):
    with pytest.raises(ConfigError, match=word):
        ModelConfig(**changes)
