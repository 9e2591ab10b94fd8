"""The codec as a model of transformers, against the codec itself."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.cli import speech

from eulerodec import Codec, audio
from eulerodec.codec.weights import DEFAULT_WEIGHTS
from eulerodec.errors import AudioError, BitstreamError, ConfigError, WeightsError

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from eulerodec.hf import (  # noqa: E402
    EuleroDecConfig,
    EuleroDecFeatureExtractor,
    EuleroDecModel,
)

RATE = 24_000
LENGTHS = (30_000, 1, 5 * 264, 12_345, 70_000)  # the last has codes of two packets


@pytest.fixture(scope="module")
def directory(weights, tmp_path_factory):
    """What a model saved."""
    directory = tmp_path_factory.mktemp("hf") / "tiny"
    EuleroDecModel.from_pretrained(weights).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def model(directory):
    return transformers.AutoModel.from_pretrained(directory)


@pytest.fixture(scope="module")
def wavs():
    return [(0.5 + 0.1 * k) * speech(n)[0] for k, n in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def inputs(directory, wavs):
    extractor = transformers.AutoFeatureExtractor.from_pretrained(directory)
    assert type(extractor) is EuleroDecFeatureExtractor and extractor.sampling_rate == RATE
    return extractor(wavs, sampling_rate=RATE, return_tensors="pt")


@pytest.mark.parametrize("k", [1, 8, 9])
def test_a_padded_batch_has_the_codes_and_audio_of_its_items(model, codec, wavs, inputs, k):
    assert inputs["input_values"].shape == (len(wavs), 1, max(LENGTHS))
    coded = model.encode(**inputs, num_quantizers=k)
    mask = model.get_audio_codes_mask(inputs["padding_mask"])
    assert coded.audio_codes.dtype == torch.int64 and mask.shape == coded.audio_codes[:, 0].shape
    heard = model.decode(**coded).audio_values
    assert heard.shape == inputs["input_values"].shape and heard.dtype == torch.float32
    for i, wav in enumerate(wavs):
        alone = codec.encode(wav, RATE, n_codebooks=k)
        assert torch.equal(coded.audio_codes[i][:, mask[i]], alone.codes[0])
        assert torch.equal(coded.levels[i, : alone.levels.shape[1]], alone.levels[0])
        assert not coded.audio_codes[i][:, ~mask[i]].any()
        want = codec.decode(alone)[0]
        torch.testing.assert_close(heard[i, 0, : len(wav)], want, rtol=0, atol=1e-5)
        assert not heard[i, 0, len(wav) :].any()


def test_real_speech_by_the_bundled_weights(talk):
    codec = Codec.from_pretrained()
    model = EuleroDecModel.from_pretrained()
    outputs = model(torch.from_numpy(talk)[None, None])
    encoded = codec.encode(talk, RATE, n_codebooks=8)
    assert torch.equal(outputs.audio_codes, encoded.codes)
    assert torch.equal(outputs.levels, encoded.levels)
    assert outputs.audio_values.shape == (1, 1, len(talk))
    torch.testing.assert_close(outputs.audio_values[0], codec.decode(encoded), rtol=0, atol=1e-5)


def test_without_a_mask_all_that_the_codes_hold_is_heard(model, codec):
    wav = torch.from_numpy(speech(3_000))[None]
    coded = model.encode(wav)
    assert coded.padding_mask is None and coded.audio_codes.shape == (
        1,
        8,
        model.network.n_frames(3_000),
    )
    heard = model.decode(coded.audio_codes, levels=coded.levels).audio_values
    assert heard.shape[2] == (coded.audio_codes.shape[2] - 1) * 264
    want = codec.decode(codec.encode(wav[0], RATE, n_codebooks=8))
    torch.testing.assert_close(heard[0, :, :2_700], want[:, :2_700], rtol=0, atol=1e-5)


def test_codes_alone_have_the_level_of_speech(model, codec):
    """As a language model makes them."""
    from eulerodec import Encoded

    codes = torch.randint(0, 256, (2, 4, 30), generator=torch.Generator().manual_seed(0))
    heard = model.decode(codes).audio_values
    for i in range(2):
        encoded = Encoded.from_codes(codes[i : i + 1], codec.stream_info(n_codebooks=4))
        torch.testing.assert_close(heard[i], codec.decode(encoded), rtol=0, atol=1e-5)


def test_masks_may_have_the_shape_of_the_audio_and_any_type(model, inputs):
    want = model(**inputs)
    for mask in (
        inputs["padding_mask"].bool()[:, None],
        inputs["padding_mask"].float(),
    ):
        got = model(inputs["input_values"], mask)
        assert torch.equal(got.audio_codes, want.audio_codes)
        assert torch.equal(got.audio_values, want.audio_values)


def test_outputs_as_tuples(model, inputs):
    codes, levels, mask = model.encode(**inputs, return_dict=False)
    (heard,) = model.decode(codes, mask, levels, return_dict=False)
    outputs = model(**inputs, return_dict=False)
    assert torch.equal(outputs[0], codes) and torch.equal(outputs[2], heard)


def test_directories_are_those_of_the_codec(directory, codec, weights, tmp_path):
    """In both ways, to the byte."""
    assert Codec.from_pretrained(directory).weights_sha256 == codec.weights_sha256
    codec.save_pretrained(tmp_path / "codec")
    for file in ("config.json", "model.safetensors", "codes.safetensors", "README.md"):
        assert (tmp_path / "codec" / file).read_bytes() == (directory / file).read_bytes()
    model = transformers.AutoModelForAudioTokenization.from_pretrained(tmp_path / "codec")
    assert type(model) is EuleroDecModel
    for key, tensor in codec.model.state_dict().items():
        assert torch.equal(model.state_dict()[f"network.{key}"], tensor)
    assert model.codec.name == "tiny" and not model.training


def test_the_configuration(directory, codec, tmp_path):
    config = transformers.AutoConfig.from_pretrained(directory)
    assert type(config) is EuleroDecConfig and config.model_type == "eulerodec"
    assert (config.sampling_rate, config.hop_length) == (RATE, 264)
    assert config.frame_rate == pytest.approx(RATE / 264)
    settings = codec.model.config.to_dict()
    assert {k: getattr(config, k) for k in settings} == json.loads(json.dumps(settings))
    model = transformers.AutoModel.from_pretrained(directory)
    assert (model.config.codebook_size, model.config.num_quantizers) == (256, 16)
    config.save_pretrained(tmp_path)
    again = transformers.AutoConfig.from_pretrained(tmp_path)
    assert again.network_settings() == config.network_settings()
    with_option = transformers.AutoModel.from_pretrained(directory, return_dict=False)
    assert isinstance(with_option(torch.zeros(1, 1, 500)), tuple)


def test_a_network_made_from_a_configuration(codec):
    """It is new, with the bundled codes, and starts as the codec's own does."""
    settings = codec.model.config.to_dict()
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(EuleroDecConfig(**settings))
    from eulerodec.codec.weights import build_network

    torch.manual_seed(0)
    other = build_network(settings)
    for key, tensor in other.state_dict().items():
        assert torch.equal(model.state_dict()[f"network.{key}"], tensor)
    assert model.codec.codes_sha256 == Codec.from_pretrained(DEFAULT_WEIGHTS).codes_sha256
    assert model(torch.zeros(1, 1, 300)).audio_values.shape == (1, 1, 300)


def test_copies_are_independent(model, inputs):
    other = copy.deepcopy(model)
    before = model(**inputs).audio_values
    assert other.codec.model is other.network and other.network is not model.network
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(model(**inputs).audio_values, before)


def test_audio_of_another_rate_is_refused(directory):
    extractor = transformers.AutoFeatureExtractor.from_pretrained(directory)
    with pytest.raises(ValueError, match="sampling rate of 24000"):
        extractor(np.zeros(10, np.float32), sampling_rate=16_000)
    x = audio.resample(speech(1_600, 16_000), 16_000, extractor.sampling_rate)
    assert (
        extractor(x[0], sampling_rate=RATE, return_tensors="pt")["input_values"].shape[2] == 2_400
    )


def test_bad_input_has_one_line(model, directory):
    x, ones = torch.zeros(2, 1, 1_000), torch.ones(2, 1_000)
    left = torch.cat([torch.zeros(2, 1), ones[:, 1:]], 1)
    codes = torch.zeros(2, 4, 5, dtype=torch.int64)
    for error, words, call in (
        (AudioError, r"\[B, 1, N\], not \[2, 2, 9\]", lambda: model.encode(torch.zeros(2, 2, 9))),
        (AudioError, r"\[B, 1, N\], not \[2, 9\]", lambda: model.encode(torch.zeros(2, 9))),
        (AudioError, "recording 0", lambda: model.encode(x + float("nan"))),
        (ConfigError, "pad on the right", lambda: model.encode(x, left)),
        (ConfigError, "does not fit", lambda: model.encode(x, ones[:1])),
        (ConfigError, "does not fit", lambda: model.encode(x, ones[:, :9])),
        (ConfigError, r"\[B, N\] or \[B, 1, N\]", lambda: model.encode(x, ones[:, None, None])),
        (ConfigError, "n_codebooks", lambda: model.encode(x, num_quantizers=99)),
        (BitstreamError, r"\[B, K, T\]", lambda: model.decode(codes[0])),
        (BitstreamError, "code 256 does not fit", lambda: model.decode(codes + 256)),
        (BitstreamError, "levels", lambda: model.decode(codes, levels=torch.full((2, 1), 256))),
        (BitstreamError, "frames", lambda: model.decode(codes, ones.repeat(1, 9))),
        (ConfigError, "1 items", lambda: model.decode(codes, ones[:1])),
        (ConfigError, "do not take dtype=", lambda: load(directory, dtype=torch.float16)),
        (ConfigError, "load_in_8bit", lambda: load(directory, load_in_8bit=True)),
        (WeightsError, "neither", lambda: EuleroDecModel.from_pretrained("gone")),
    ):
        with pytest.raises(error, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def load(directory, **options):
    return transformers.AutoModel.from_pretrained(directory, **options)


def test_without_transformers_a_line_says_what_to_install():
    code = "import sys; sys.modules['transformers'] = None; import eulerodec.hf"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        "ImportError: eulerodec.hf needs transformers: pip install 'eulerodec[hf]'" in done.stderr
    )
