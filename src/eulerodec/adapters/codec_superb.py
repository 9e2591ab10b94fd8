"""A codec for the Codec-SUPERB benchmark, to be used in a checkout of it.

A file ``SoundCodec/codec/eulerodec_24khz_8.py`` there makes ``load_codec("eulerodec_24khz_8")``
work::

    from eulerodec.adapters.codec_superb import EuleroDecBaseCodec


    class Codec(EuleroDecBaseCodec):
        n_codebooks = 8
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..codec import Codec, Encoded
from ..errors import AudioError

try:
    from SoundCodec.base_codec.general import BaseCodec, BatchExtractedUnit, ExtractedUnit
except ImportError as error:
    raise ImportError(
        "eulerodec.adapters.codec_superb needs a checkout of Codec-SUPERB on PYTHONPATH"
    ) from error

__all__ = ["EuleroDecBaseCodec"]


class EuleroDecBaseCodec(BaseCodec):
    """Tokens, the same number in every frame, of recordings with one channel.

    Attributes:
        weights: a bundled name, a directory, or ``user/name`` of the hub.
        n_codebooks: codes of each frame.
    """

    weights = "eulerodec-24khz"
    n_codebooks = 8

    def config(self) -> None:
        """Load the weights; the base class calls it."""
        self.codec = Codec.from_pretrained(self.weights, "auto")
        self.sampling_rate = self.codec.sample_rate
        self.setting = f"{self.codec.name}_{self.n_codebooks}"

    def extract_unit(self, data: dict[str, Any]) -> Any:
        """Codes ``[K, T]`` of ``data["audio"]``, and what :meth:`decode_unit` needs.

        Audio of another rate than ``sampling_rate``, if it says so, is resampled.

        Raises:
            AudioError: samples that cannot be coded, or more than one channel.
        """
        sound = data["audio"]
        rate = sound.get("sampling_rate") or self.sampling_rate
        encoded = self.codec.encode(sound["array"], rate, n_codebooks=self.n_codebooks)
        if encoded.n_channels != 1:
            raise AudioError(f"Codec-SUPERB has one channel, the audio {encoded.n_channels}")
        return ExtractedUnit(unit=encoded.codes[0], stuff_for_synth=encoded)

    def decode_unit(self, stuff_for_synth: Encoded) -> NDArray[np.float32]:
        """Samples ``[N]`` at ``sampling_rate``."""
        return self.codec.decode(stuff_for_synth, self.sampling_rate)[0].numpy()

    def batch_decode_unit(
        self, batch_extracted_unit: BatchExtractedUnit
    ) -> list[NDArray[np.float32]]:
        """:meth:`decode_unit` of several, which go through the network together."""
        items = batch_extracted_unit.stuff_for_synth
        return [wav[0].numpy() for wav in self.codec.decode_batch(items, self.sampling_rate)]
