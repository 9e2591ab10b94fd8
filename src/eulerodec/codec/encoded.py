"""What encoding gives: codes, and what is needed to decode them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .. import bitstream
from ..bitstream import Damage, Metadata, StreamInfo
from ..errors import ConfigError
from .concealment import LOST

__all__ = ["Encoded"]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Codes of one recording and what is needed to decode them.

    ``codes``: int64 [C, K, T], one row per channel, K = ``n_codebooks``, T latent frames.
    ``info``: the header of the file that these codes make. ``damage``: what was wrong with the
    file they were read from, empty unless it was read with ``recover=True``.
    """

    codes: Tensor
    info: StreamInfo
    damage: list[Damage] = field(default_factory=list)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the input in Hz."""
        return self.info.input_sample_rate

    @property
    def n_samples(self) -> int:
        """Samples per channel of the input, at its own rate."""
        return self._counts[1]

    @property
    def n_samples_model(self) -> int:
        """Samples per channel at the model's rate."""
        return self._counts[0]

    @property
    def _counts(self) -> tuple[int, int]:
        return self.info.capped_counts(self.codes.shape[-1])

    @property
    def n_channels(self) -> int:
        return self.info.n_channels

    @property
    def n_codebooks(self) -> int:
        """Stages K of the codes."""
        return self.info.n_codebooks

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.info.frame_rate

    @property
    def bitrate_kbps(self) -> float:
        """Bitrate of the codes of one channel, without the container."""
        return self.info.nominal_kbps / self.info.n_channels

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate

    @property
    def metadata(self) -> Metadata:
        """Title, comment and gain of the file."""
        return self.info.metadata

    @property
    def codes_or_lost(self) -> Tensor:
        """``codes`` with -1 in the frames that ``damage`` says are lost, for a decoder."""
        codes = self.codes.clone() if self.damage else self.codes
        for damage in self.damage:
            codes[..., damage.start_frame : damage.start_frame + damage.n_frames] = LOST
        return codes

    def truncate(self, n_codebooks: int) -> Encoded:
        """The same recording with only the first stages: a lower rate without encoding again."""
        if not 1 <= n_codebooks <= self.n_codebooks:
            raise ConfigError(
                f"{n_codebooks} stages cannot be taken from codes with {self.n_codebooks}"
            )
        info = self.info.replace(n_codebooks=n_codebooks)
        return Encoded(self.codes[:, :n_codebooks], info, self.damage)

    def to_bytes(self) -> bytes:
        """These codes as the bytes of an ``.eul`` file."""
        return bitstream.dumps(self.info, self.codes.cpu().numpy())

    @classmethod
    def from_bytes(
        cls, data: bytes, *, n_codebooks: int | None = None, recover: bool = False
    ) -> Encoded:
        """Read the bytes of an ``.eul`` file.

        ``n_codebooks`` reads only the first stages. ``recover`` reads what can be read of a
        damaged file, see ``damage``. Errors: :class:`BitstreamError`.
        """
        file = bitstream.read(data, n_codebooks=n_codebooks, recover=recover)
        return cls(torch.from_numpy(file.codes), file.info, file.damage)
