"""Exported graphs give what the network gives."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import snr_db

from eulerodec import Codec, ConfigError, audio
from eulerodec.cli import main
from eulerodec.codec.frames import PacketFrames, unstacked
from eulerodec.export import export_onnx
from eulerodec.samples import SAMPLE


def run(path: Path, *inputs: torch.Tensor) -> list[torch.Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]
    feed = {n: x.contiguous().numpy() for n, x in zip(names, inputs, strict=True)}
    return [torch.from_numpy(x) for x in session.run(None, feed)]


def compare(codec: Codec, folder: Path) -> None:
    """Analysis and decoder on the clip at 6 kbps, all of it and a short part."""
    model = codec.model
    wav, rate = audio.read(SAMPLE)
    encoded = codec.encode(wav, rate, bitrate_kbps=6)
    read = PacketFrames(model, encoded.info)
    frames = torch.cat([read(packet) for packet in encoded.packets], -1)
    for part in (frames, frames[..., 100:107]):
        coded, _ = unstacked(part, model.bands.count)
        with torch.no_grad():
            expected = model.stft.complete(model.decoder(coded))
        (found,) = run(
            folder / "decoder.onnx", coded.z, coded.bands, coded.n_stages, coded.n_energies
        )
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        assert snr_db(expected, found) > 100
    hops = torch.from_numpy(wav[:, : 200 * model.hop_length])
    with torch.no_grad():
        expected = model.describe(model.stft.transform(hops))
    for x, y in zip(run(folder / "analysis.onnx", hops), expected, strict=True):
        assert snr_db(y, x) > 100


def test_graphs_give_what_the_network_gives(graphs, codec):
    compare(codec, graphs)


def test_graphs_of_the_bundled_weights(packages, tmp_path):
    codec = Codec.from_pretrained()
    export_onnx(codec, tmp_path)
    compare(codec, tmp_path)


def test_a_quiet_band_keeps_its_floor(graphs, codec):
    """An optimiser that drops a sum with 1e-8 would change what is made of silence."""
    model = codec.model
    z = torch.zeros(1, 264, 40)
    bands = torch.full((1, model.bands.count, 40), -8.0)
    known = torch.full((1, 40), 2)
    found, _ = run(graphs / "analysis.onnx", torch.zeros(1, 41 * 264))[::-1]
    np.testing.assert_allclose(found, -8.0, atol=1e-5)
    z[:, :20, 15:20] = 3.0
    (found,) = run(graphs / "decoder.onnx", z, bands, known, known)
    coded, _ = unstacked(
        torch.cat([z, bands, known[:, None], known[:, None], 0 * known[:, None]], 1),
        model.bands.count,
    )
    with torch.no_grad():
        assert snr_db(model.stft.complete(model.decoder(coded)), found) > 80


def test_the_folder_says_what_it_holds(graphs, codec):
    facts = json.loads((graphs / "onnx.json").read_text())
    assert facts["name"] == codec.name
    assert facts["weights_sha256"] == codec.weights_sha256
    assert facts["sha256"].keys() == {"analysis.onnx", "decoder.onnx", "codes.safetensors"}
    for name, sha256 in facts["sha256"].items():
        assert hashlib.sha256((graphs / name).read_bytes()).hexdigest() == sha256


def test_the_command_tells_what_is_missing(here, w, monkeypatch, capsys):
    monkeypatch.setattr("eulerodec.export.onnx._PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match="no_such_package: pip install"):
        export_onnx(Codec.from_pretrained(w[1]), here)
    assert main(["export", w[1], "-o", "out"]) == 2
    assert "pip install 'eulerodec[export]'" in capsys.readouterr().err
    assert not Path("out").exists()
