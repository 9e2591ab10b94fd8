"""Systems with known behaviour, in a module of their own that other processes load quickly."""

from __future__ import annotations

import os

import numpy as np

from eulerodec.errors import AudioError
from eulerodec.evaluate.systems import Coded, parse
from eulerodec.evaluate.systems.base import System

RATE = 24_000


class Fake(System):
    """What ``make`` does with the samples."""

    title = "fake"

    def __init__(self, make, text="fake:1", version="1"):
        super().__init__(parse(text))
        self.make, self.version = make, version

    @property
    def identity(self):
        return {"version": self.version}

    def code(self, wav):
        return self.make(wav)


def copy(wav):
    return Coded(wav, RATE, 1000, 1100)


def half_the_rate(wav):
    """Says 16 kHz of samples that are 24 kHz."""
    return Coded(wav, 16_000, 1000, 1100)


def other_speech(wav):
    """The decoded signal of some other clip."""
    return Coded(np.ascontiguousarray(wav[::-1]), RATE, 1000, 1100)


def fail(wav):
    raise AudioError("no\nluck")


def nan(wav):
    return Coded(wav * np.float32("nan"), RATE, 1000, 1100)


def die(wav):
    os._exit(9)
