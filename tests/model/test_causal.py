"""A network without look-ahead: 33 ms of latency, and it works everywhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cli import put, speech
from helpers.models import HOP, TINY, analysis, build, heard, noise

from eulerodec import Encoded, audio
from eulerodec.cli import main
from eulerodec.codec import Codec
from eulerodec.codec.weights import save_weights
from eulerodec.model import ModelConfig, joined

CAUSAL = dataclasses.replace(TINY, decoder_look_ahead=0)


@pytest.fixture(scope="module")
def causal(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("weights") / "causal"
    save_weights(directory, build(CAUSAL), name="causal")
    return directory


@pytest.mark.parametrize("config", [TINY, ModelConfig()], ids=["tiny", "default"])
def test_latency_is_that_of_the_framing(config):
    """Three hops: the frame of the sample, its overlap, and that of the decoder's reanalysis."""
    model = build(dataclasses.replace(config, decoder_look_ahead=0))
    assert model.latency_s == pytest.approx(0.033) and model.look_ahead == 3 * HOP - 1


def test_a_frame_knows_nothing_of_the_next_hop():
    """Frame t ends with sample (t + 1) hop - 1; a change right after it is not seen."""
    model, wav = build(CAUSAL), noise(30 * HOP)
    changed = wav.clone()
    changed[..., 20 * HOP] += 100.0
    for before, after in zip(analysis(model, wav), analysis(model, changed), strict=True):
        same = (before == after).all(1)[0]
        assert same[:20].all() and not same[20]


@pytest.mark.usefixtures("here", "same_threads")
def test_it_works_everywhere(causal, capsys):
    codec = Codec.from_pretrained(causal)
    x = speech(40_000)
    encoder = codec.streaming_encoder()
    packets = [p for part in np.array_split(x, 99, 1) for p in encoder.push(part)]
    packets += encoder.flush()
    whole = Encoded(packets, encoder.info.with_counts(40_000, 40_000))
    decoder = codec.streaming_decoder(encoder.info)
    parts = [*map(decoder.push, packets), decoder.flush(40_000)]
    sound = codec.decode(whole, block_frames=decoder.block_frames)
    assert torch.equal(torch.cat(parts, -1), sound)
    coded = joined([codec.model.coder.decode(p.payload, 1, p.n_frames) for p in packets])
    plain = heard(codec.model, coded, 40_000)[:, 0]
    assert torch.allclose(sound, plain, rtol=0, atol=1e-5)

    put("a.wav", 40_000)
    weights = ["--weights", str(causal)]
    assert main(["encode", "a.wav", "-o", "a.eul", *weights]) == 0
    assert main(["decode", "a.eul", "-o", "b.wav", *weights]) == 0
    assert audio.read("b.wav")[0].shape == (1, 40_000)
    capsys.readouterr()
    assert main(["info", str(causal), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["latency_ms"] == pytest.approx(33.0)
    assert facts["look_ahead_ms"] < 33 < facts["receptive_field_ms"]
