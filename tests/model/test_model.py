"""The network from outside: budgets, shapes, exact lengths, bounded context, config."""

import dataclasses
import json
import math

import pytest
import torch
from helpers.models import HOP, TINY, agree, build, latents, noise
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eulerodec import AudioError, ConfigError, ModelConfig
from eulerodec.codec.streaming import StreamDecoder, StreamEncoder
from eulerodec.model import Latents

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


@pytest.mark.parametrize(("rate", "hop"), [(16_000, 256), (48_000, 500)])
def test_other_sample_rates_and_hops(rate, hop):
    """Frames, bands, a stream and training are those of the config, nothing is of 24 kHz."""
    model = build(dataclasses.replace(TINY, sample_rate=rate, hop_length=hop))
    assert model.frame_rate == rate / hop and model.stft.n_fft == 2 * hop
    assert float(model.bands.centres[-1]) < rate / 2
    assert float(model.bands.centres[-1] + 3 * model.bands.centres.diff()[-1]) > rate / 2
    n = 21 * hop + 7
    wav = noise(n)
    codes = model.encode(wav)
    assert codes.shape == (1, 12, 23)
    audio = model.decode(codes, n)
    assert audio.shape == (1, 1, n) and torch.isfinite(audio).all()
    encoder = StreamEncoder(model, 12, sample_rate=rate, block_frames=4)
    parts = [encoder.push(wav[0, 0, k : k + 1000].numpy()) for k in range(0, n, 1000)]
    streamed = torch.cat([*parts, encoder.flush()], -1)
    # roundings of another block size may decide between two codes that are equally near
    assert streamed.shape == codes.shape and (streamed == codes).float().mean() > 0.99
    decoder = StreamDecoder(model, 12, sample_rate=rate, block_frames=4)
    heard = torch.cat([decoder.push(codes), decoder.flush(n)], -1)
    torch.testing.assert_close(heard, audio[0], rtol=0, atol=1e-4)
    model.train()(wav).audio.square().mean().backward()


@pytest.mark.parametrize("shape", [(1000,), (1, 1000), (1, 2, 1000)])
def test_channels_are_items_of_a_batch(tiny, shape):
    with pytest.raises(AudioError, match=r"\[B, 1, N\]"):
        tiny.encode(torch.zeros(shape))


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
    codes = tiny.encode(wav, beam=1)
    assert torch.equal(tiny.encode(wav, 6, beam=1), codes[:, :6])
    half = tiny.decode(codes[:, :6], 5000)
    assert half.shape == wav.shape and torch.isfinite(half).all()
    assert not torch.equal(half, tiny.decode(codes, 5000))


def test_decoder_is_told_the_number_of_stages(tiny):
    wav = noise(3000)
    z, bands = latents(tiny, wav), tiny.band_energies(tiny.stft.analysis(wav[:, 0]))
    with torch.no_grad():
        six, twelve = (tiny.decoder(z, bands, torch.tensor([k])) for k in (6, 12))
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


def touched(audio, n, source):
    """First and last place of ``source`` with a gradient to sample n of ``audio [1, 1, N]``."""
    # scaled up: through many small weights at the far end it would round to zero
    scale = torch.tensor(1e20)
    (gradient,) = torch.autograd.grad(audio[0, 0, n], source, scale, retain_graph=True)
    where = gradient.flatten().nonzero()
    return int(where.min()), int(where.max())


@pytest.mark.parametrize("name", CONFIGS)
def test_receptive_field_and_look_ahead_are_those_of_the_gradient(name):
    """From one output sample back to the input, unquantised: exactly the stated range.

    Without energy stages, whose memory the gradient does not see.
    """
    model = build(dataclasses.replace(CONFIGS[name], energy_stages=(), pitch_channels=0), seed=1)
    full = build(CONFIGS[name], seed=1)
    assert full.look_ahead == model.look_ahead + 2 * HOP  # a period of the pitch
    assert full.receptive_field >= model.receptive_field
    blocks = model.receptive_field // HOP + 4
    wav = noise(blocks * HOP, seed=2).requires_grad_()
    audio = model(wav, quantize=False).audio
    middle = (blocks - model.look_ahead // HOP - 2) * HOP
    past = model.receptive_field - model.look_ahead - 1
    # the bounds are for any sample; the first one of a block reaches furthest ahead
    assert touched(audio, middle, wav)[1] == middle + model.look_ahead
    # and the last one furthest back
    last = middle + HOP - 1
    assert touched(audio, last, wav)[0] == last - past
    assert model.latency_s == (model.look_ahead + 1) / 24000


def test_one_sample_changes_only_the_codes_that_may_see_it(tiny):
    encoder, frames = tiny.encoder, 60
    wav = noise(frames * HOP)
    codes, z = tiny.encode(wav), latents(tiny, wav)
    position = 30 * HOP + 100
    changed = wav.clone()
    changed[..., position] += 0.5
    new_codes, new_z = tiny.encode(changed), latents(tiny, changed)
    # STFT frames 30 and 31 hold the sample
    first, last = 30 - encoder.look_ahead, 31 + encoder.look_back
    assert torch.equal(new_codes[..., :first], codes[..., :first])
    outside = torch.ones(frames + 1, dtype=torch.bool)
    outside[first : last + 1] = False
    assert torch.equal(new_z[..., outside], z[..., outside])
    # an energy code depends on all those before it
    of_latents = [k for k in range(12) if k not in TINY.energy_stages]
    assert torch.equal(new_codes[:, of_latents][..., outside], codes[:, of_latents][..., outside])
    assert not torch.allclose(new_z[..., 30:32], z[..., 30:32], rtol=0.1)
    assert not torch.equal(new_codes[..., 30:32], codes[..., 30:32])


def test_one_latent_touches_only_the_audio_that_may_see_it(tiny):
    """Exactly the stated range of frames, by the gradient; what that range means, by a change."""
    decoder = tiny.decoder
    at = decoder.look_back + 4
    n = (at + decoder.look_back + 6) * HOP
    codes = tiny.encode(noise(n))
    latents = tiny.dequantize(codes)
    probe = torch.zeros(1, 1, codes.shape[-1], requires_grad=True)

    def audio(probe):
        moved = Latents(
            latents.z + probe,
            [z + probe for z in latents.prefixes],
            [vectors + probe for vectors in latents.vectors],
        )
        spec = decoder(moved.z, tiny.decode_bands(moved), torch.tensor([12]))
        return tiny.stft.synthesis(spec, n)[:, None]

    # spectrum frames at - look_ahead to at + look_back, frame t spans (t-1) hop to (t+1) hop
    first, end = (at - decoder.look_ahead - 1) * HOP, (at + decoder.look_back + 1) * HOP
    heard = audio(probe)
    assert touched(heard, end - 1, probe)[0] == at and touched(heard, end, probe)[0] > at
    # the longest period of the pitch is a little shorter than its two hops
    assert touched(heard, first + 2 * HOP, probe)[1] == at and touched(heard, first, probe)[1] < at
    change = torch.zeros_like(probe)
    change[..., at] = 1.0
    with torch.no_grad():
        difference = (audio(change) - heard)[0, 0].abs()
    assert difference[:first].max() < 1e-6 and difference[end:].max() < 1e-6
    assert difference[at * HOP - HOP : at * HOP + HOP].max() > 1e-3


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

    Batched products may round otherwise.
    """
    long, short = noise(40 * HOP, seed=1), noise(20 * HOP + 57, seed=2)
    padded = nn.functional.pad(short, (0, long.shape[-1] - short.shape[-1]))
    batch = torch.cat([long, padded])
    z, codes = latents(tiny, batch), tiny.encode(batch)
    for item, wav in enumerate((long, short)):
        end = tiny.n_frames(wav.shape[-1]) - (tiny.encoder.look_ahead if item else 0)
        alone = latents(tiny, wav)[..., :end]
        assert torch.allclose(z[item : item + 1, :, :end], alone, rtol=1e-4, atol=1e-6)
        assert agree(codes[item, :, :end], tiny.encode(wav)[0, :, :end])
    audio = tiny.decode(codes, 40 * HOP)
    assert torch.allclose(audio[:1], tiny.decode(codes[:1], 40 * HOP), rtol=0, atol=1e-5)


# --- config


def test_config_survives_json():
    for config in CONFIGS.values():
        assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("latent_dims", "latent_dim"), ("n_codebook", "n_codebooks"), ("bandz", "bands")],
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
        (dict(latent_dim=0), "latent_dim=0.*from 1"),
        (dict(decoder_blocks=1025), "decoder_blocks=1025.*1024"),
        (dict(latent_exponent=math.nan), "latent_exponent=nan.*above 0"),
    ],
)
def test_impossible_settings_are_named(changes, word):
    with pytest.raises(ConfigError, match=word):
        ModelConfig(**changes)
