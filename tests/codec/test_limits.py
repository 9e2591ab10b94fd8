"""What README says that the released weights cannot do, they cannot do, and no worse."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from eulerodec import Codec, audio
from eulerodec.metrics import si_sdr
from eulerodec.samples import SAMPLE

RATE = 24_000
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LIMITS = " ".join(README.split("## Limits")[1].split("## Licences")[0].split())


@pytest.fixture(scope="module")
def released() -> Codec:
    return Codec.from_pretrained()


def there_and_back(codec: Codec, x: np.ndarray, kbps: float) -> np.ndarray:
    encoded = codec.encode(x.astype(np.float32), RATE, bitrate_kbps=kbps)
    return codec.decode(encoded).numpy()[0]


def stated(pattern: str) -> list[float]:
    found = re.search(pattern, LIMITS)
    assert found, pattern
    return [float(number) for number in found.groups()]


def band_of_noise(hertz: float) -> np.ndarray:
    """A third of an octave, 2 s."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(2 * RATE))
    at = np.fft.rfftfreq(2 * RATE, 1 / RATE)
    spectrum[(at < hertz * 2 ** (-1 / 6)) | (at > hertz * 2 ** (1 / 6))] = 0
    x = np.fft.irfft(spectrum)
    return 0.1 * x / x.std()


def tone(hertz: float) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE)


@pytest.mark.parametrize("sound", [tone, band_of_noise])
@pytest.mark.parametrize("hertz", [100, 1000, 2500, 5000, 8000, 10_000])
def test_what_steady_sounds_lose(released, sound, hertz):
    told = stated(
        r"at most ([\d.]+) dB too weak at 6 kbps and ([\d.]+) dB at 12.*"
        r"none more than ([\d.]+) dB too strong"
    )
    x, inside = sound(hertz), slice(4800, -4800)
    for kbps, loss in zip((6, 12), told[:2], strict=True):
        y = there_and_back(released, x, kbps)
        gain = 10 * np.log10(np.mean(y[inside] ** 2) / np.mean(x[inside] ** 2))
        assert -loss - 0.3 < gain < told[2], kbps


def test_what_level_and_offset_cost(released):
    speech = audio.read(SAMPLE)[0][0].astype(np.float64)

    def score(gain: float, offset: float) -> float:
        return si_sdr(speech, there_and_back(released, gain * speech + offset, 6))

    whole = score(1, 0)
    (told,) = stated(r"60 dB below full level loses at most ([\d.]+) dB")
    assert abs(whole - score(0.001, 0)) <= told
    assert "so does speech with an offset of 0.2" in LIMITS
    assert abs(whole - score(1, 0.2)) <= told


def test_what_attacks_lose(released):
    told = stated(r"loses (\d+) dB of its peak at 12 kbps, (\d+) dB at 6 kbps")
    decay = np.exp(-np.arange(6000) / 150)
    x = np.zeros(RATE)
    x[6000:12_000] = 0.5 * np.random.default_rng(0).standard_normal(6000) * decay
    for kbps, loss in zip((12, 6), told, strict=True):
        y = there_and_back(released, x, kbps)
        got = 20 * np.log10(np.abs(x).max() / np.abs(y).max())
        assert got == pytest.approx(loss, abs=1)
        before = np.mean(y[6000 - 240 : 6000] ** 2) / np.mean(x[6000:6240] ** 2)
        assert before > 1e-4  # of the noise before it, which comes within 40 dB
