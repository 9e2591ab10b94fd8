"""The EuleroDec network: waveform -> codes -> waveform, complex between STFT and inverse STFT.

Encoder and decoder are each the sum of two paths.

* The *transform path* is a lapped transform codec: a widely linear map of one STFT frame (it
  starts as the MDCT, the critically sampled transform hidden in the STFT; the MDCT is real-linear
  but not complex-linear in the STFT, hence widely linear), magnitude compression of its complex
  coefficients, and a unitary map onto the strongest components (Karhunen-Loeve). Set from data
  before training, it codes at once, and it can be trained on.
* The *network path* sees the compressed STFT, mixes frames and bands through complex gated
  convolutions, 2x2-whitening and axial attention, and adds what a linear transform cannot know. It
  starts at zero.

Some stages of codes hold the energies of frequency bands (:mod:`.energies`); the decoder
brings its bands near to them, with its own spectrum where it has one and with noise where it has
none.

All inner tensors are planar (see :mod:`eulerodec.nn.planar`): [B, 2C, T], real parts first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import AudioError, BitstreamError
from ..nn import STFT
from ..quantize import DEFAULT_BEAM, QuantizerOutput, ResidualVQ, SearchTables
from .bands import Bands
from .config import ModelConfig
from .decoder import Decoder
from .encoder import Encoder
from .energies import EnergyCoder, EnergyState
from .transform import set_lapped_transform

__all__ = ["EuleroDec", "Latents", "ModelOutput"]


@dataclass
class ModelOutput:
    """Training forward.

    Attributes:
        audio: ``[B, 1, N]``.
        spec: planar ``[B, 2F, T]``.
        codes: ``[B, K, T]``, None if not quantised.
        losses: scalars that a training loss may add: ``commitment`` (of the latents to their
            codes) and ``shift`` (power of what the network path adds to the latents, relative to
            the power of the quantisation error); none if not quantised.
        stats: numbers for the log.
    """

    audio: Tensor
    spec: Tensor
    codes: Tensor | None
    losses: dict[str, Tensor]
    stats: dict[str, float]


@dataclass
class Latents:
    """What codes stand for, before the decoder network.

    Attributes:
        z: sum of the latent stages, planar ``[B, 2D, T]``.
        prefixes: for each energy stage that is there, the sum of the latent stages before it,
            planar ``[B, 2D, T]``; z alone if there is none.
        vectors: for each energy stage that is there, its code vectors ``[B, bands, T]``.
    """

    z: Tensor
    prefixes: list[Tensor]
    vectors: list[Tensor]


class EuleroDec(nn.Module):
    """The codec network. ``encode`` and ``decode`` are the product, ``forward`` trains it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # without weights or saved buffers: parts that need them hold the same ones
        self.stft = STFT(config.n_fft, config.hop_length)
        self.bands = Bands(config.sample_rate, config.hop_length)
        self.encoder = Encoder(config)
        latent_stages = config.n_codebooks - len(config.energy_stages)
        self.quantizer = ResidualVQ(config.latent_dim, latent_stages, config.codebook_size)
        self.energies: EnergyCoder | None = None
        if config.energy_stages:
            self.energies = EnergyCoder(
                self.bands,
                config.latent_dim,
                len(config.energy_stages),
                config.codebook_size,
                config.energy_channels,
            )
        self.decoder = Decoder(config, self.stft, self.bands)
        set_lapped_transform(self.encoder, self.decoder, self.stft)

    # ---- facts --------------------------------------------------------------------------------

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    @property
    def hop_length(self) -> int:
        return self.config.hop_length

    @property
    def frame_rate(self) -> float:
        return self.config.frame_rate

    @property
    def n_codebooks(self) -> int:
        return self.config.n_codebooks

    @property
    def codebook_size(self) -> int:
        return self.config.codebook_size

    @property
    def look_ahead(self) -> int:
        """Samples after its own that an output sample can depend on, at most."""
        # sample n of block b = n // hop needs spectrum frames to b + 1, these latents to
        # b + 1 + decoder, these STFT frames to + encoder, and frame t ends with block t
        frames = 1 + self.decoder.look_ahead + self.encoder.look_ahead
        return (frames + 1) * self.hop_length - 1

    @property
    def receptive_field(self) -> int:
        """Samples of input that an output sample can depend on, at most."""
        back = 1 + self.decoder.look_back + self.encoder.look_back
        return self.look_ahead + (back + 1) * self.hop_length

    @property
    def latency_s(self) -> float:
        """Algorithmic latency in seconds: look-ahead including the framing."""
        return (self.look_ahead + 1) / self.sample_rate

    def n_frames(self, n_samples: int) -> int:
        """Latent frames for that many samples: ceil(N / hop_length) + 1, 0 for 0."""
        return self.stft.n_frames(n_samples)

    # ---- coding -------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(
        self, wav: Tensor, n_codebooks: int | None = None, beam: int = DEFAULT_BEAM
    ) -> Tensor:
        """Waveform ``[B, 1, N]`` at sample_rate -> codes int64 ``[B, K, T]``, T = n_frames(N).

        Args:
            n_codebooks: stages K (each 11 bit per frame); all by default.
            beam: paths of the residual search; more is slower and a little better.
        """
        spec = self._analysis(wav)
        if spec.shape[-1] == 0:
            z = spec.new_zeros(len(spec), 2 * self.config.latent_dim, 0)
        else:
            z = self.encoder(spec)
        return self.search(z, self.band_energies(spec), n_codebooks, beam)

    @torch.no_grad()
    def decode(self, codes: Tensor, n_samples: int) -> Tensor:
        """Codes int64 ``[B, K, T]`` (K from 1 to n_codebooks) -> waveform ``[B, 1, n_samples]``."""
        if codes.ndim != 3 or codes.is_floating_point():
            raise BitstreamError(f"codes must be integers [B, K, T], not {list(codes.shape)}")
        if codes.numel() and not -1 <= int(codes.min()) <= int(codes.max()) < self.codebook_size:
            raise BitstreamError(f"a code lies outside 0 to {self.codebook_size - 1} (or -1: lost)")
        codes = codes.long()
        # a stream that was cut has no last, half empty frame
        short = max(0, self.n_frames(n_samples) - codes.shape[-1])
        latents = self.dequantize(F.pad(codes, (0, short), value=-1))
        stages = torch.full((len(codes),), codes.shape[1], device=codes.device)
        spec = self.decoder(latents.z, self.decode_bands(latents), stages)
        return self.stft.synthesis(spec, n_samples)[:, None]

    def _analysis(self, wav: Tensor) -> Tensor:
        """Waveform ``[B, 1, N]`` -> planar STFT ``[B, 2F, T]``."""
        if wav.ndim != 3 or wav.shape[1] != 1:
            raise AudioError(
                f"the network takes audio [B, 1, N], not {list(wav.shape)}: channels are items of"
                " the batch"
            )
        return self.stft.analysis(wav[:, 0])

    def band_energies(self, spec: Tensor) -> Tensor | None:
        """log10 energies ``[B, bands, T]`` of a planar STFT; None without energy stages."""
        return None if self.energies is None else self.bands.energies(spec)

    def latent_stages(self, n_codebooks: int) -> int:
        """How many of the first ``n_codebooks`` stages code latents."""
        return n_codebooks - sum(k < n_codebooks for k in self.config.energy_stages)

    @property
    def _restarts(self) -> list[int]:
        """Latent stages before which the search settles: energies are predicted from there."""
        return [position - k for k, position in enumerate(self.config.energy_stages)]

    def _check_stages(self, stages: int) -> None:
        if not 1 <= stages <= self.n_codebooks:
            raise ValueError(
                f"n_codebooks={stages} but this model has {self.n_codebooks}; "
                f"allowed: 1..{self.n_codebooks}"
            )

    @torch.no_grad()
    def search(
        self,
        z: Tensor,
        target: Tensor | None,
        n_codebooks: int | None = None,
        beam: int = DEFAULT_BEAM,
        tables: SearchTables | None = None,
        state: EnergyState | None = None,
    ) -> Tensor:
        """Latents ``[B, 2D, T]`` and measured energies ``[B, bands, T]`` -> codes ``[B, K, T]``.

        Args:
            n_codebooks, beam: as for :meth:`encode`.
            tables: the quantiser's, if they are at hand.
            state: of the energies, for the next block of a stream.
        """
        stages = self.n_codebooks if n_codebooks is None else n_codebooks
        self._check_stages(stages)
        stages_of_latents = self.latent_stages(stages)
        latent = self.quantizer.encode(z, stages_of_latents, beam, tables, self._restarts)
        if self.energies is None:
            return latent
        if z.shape[-1] == 0:
            return latent.new_zeros(len(latent), stages, 0)
        assert target is not None
        codes = latent
        for position, code, _, _ in self._code_energies(latent, target, stages, state):
            codes = _insert(codes, position, code)
        return codes

    def _code_energies(
        self, latent: Tensor, target: Tensor, stages: int, state: EnergyState | None = None
    ) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """For each energy stage: its position, its codes, the energies before and after it."""
        assert self.energies is not None
        known = None
        for k, position in enumerate(self.config.energy_stages):
            if position >= stages:
                return
            prefix = self.quantizer.decode(latent[:, : position - k])
            predicted = self.energies.predict(k, prefix, self.decoder.mdct(prefix), known, state)
            code, correction = self.energies.search(k, target, predicted, state)
            known = predicted + correction
            yield position, code, predicted, known

    def dequantize(self, codes: Tensor) -> Latents:
        """Codes int64 ``[B, K, T]`` -> what they stand for; -1 (missing) adds nothing."""
        stages = codes.shape[1]
        self._check_stages(stages)
        there = [k for k in self.config.energy_stages if k < stages]
        latent = codes[:, [k for k in range(stages) if k not in there]] if there else codes
        z = self.quantizer.decode(latent)
        stages_before = [p - k for k, p in enumerate(there)]
        prefixes = [
            z if n == latent.shape[1] else self.quantizer.decode(latent[:, :n])
            for n in stages_before
        ]
        vectors = []
        if self.energies is not None:
            vectors = [self.energies.vectors(k, codes[:, p]) for k, p in enumerate(there)]
        return Latents(z, prefixes or [z], vectors)

    def decode_bands(self, latents: Latents, state: EnergyState | None = None) -> Tensor | None:
        """log10 energies ``[B, bands, T]`` that the decoder works with; None without such stages.

        Args:
            latents: of :meth:`dequantize`.
            state: for the next block of a stream.
        """
        if self.energies is None or latents.z.shape[-1] == 0:
            return None
        known: Tensor | None = None
        for k, prefix in enumerate(latents.prefixes):
            known = self.energies.predict(k, prefix, self.decoder.mdct(prefix), known, state)
            if k < len(latents.vectors):
                known = known + self.energies.corrections(k, latents.vectors[k], state)
        return known

    def perplexity(self) -> Tensor:
        """exp(entropy) of each stage's code use in training, ``[n_codebooks]``."""
        use = list(self.quantizer.perplexity())
        if self.energies is not None:
            own = self.energies.perplexity()
            for k, position in enumerate(self.config.energy_stages):
                use.insert(position, own[k])
        return torch.stack(use)

    # ---- training -----------------------------------------------------------------------------

    def forward(
        self, wav: Tensor, *, n_codebooks: Tensor | None = None, quantize: bool = True
    ) -> ModelOutput:
        """Waveform ``[B, 1, N]`` through the whole codec, with gradients.

        Args:
            n_codebooks: int ``[B]``, stages for each item; all by default.
            quantize: False passes the latents unquantised (an upper bound).
        """
        spec = self._analysis(wav)
        transformed, shift = self.encoder.paths(spec)
        z = transformed + shift
        bands = self.band_energies(spec)
        codes, losses, stats = None, {}, {}
        if quantize:
            if n_codebooks is None:
                n_codebooks = torch.full((len(wav),), self.n_codebooks, device=wav.device)
            positions = torch.tensor(self.config.energy_stages, device=wav.device)
            latent_stages = n_codebooks - (n_codebooks[:, None] > positions).sum(1)
            if self.training and not self.quantizer.training:
                out = self._frozen_codes(z, latent_stages)
            else:
                out = self.quantizer(z, latent_stages)
            error = (out.quantized - z).detach().square().mean().clamp_min(1e-12)
            losses = {"commitment": out.commitment_loss, "shift": shift.square().mean() / error}
            z, codes, stats = out.quantized, out.codes, out.stats
            if bands is not None:
                codes, bands = self._energy_codes(codes, bands, n_codebooks)
        else:
            n_codebooks = torch.zeros(len(wav), dtype=torch.int64, device=wav.device)
        spec = self.decoder(z, bands, n_codebooks)
        audio = self.stft.synthesis(spec, wav.shape[-1])[:, None]
        return ModelOutput(audio, spec, codes, losses, stats)

    def _frozen_codes(self, z: Tensor, stages: Tensor) -> QuantizerOutput:
        """Codes as :meth:`encode` chooses them, which the networks learn to work with."""
        with torch.autocast(z.device.type, enabled=False):
            x = z.detach().float()
            codes = self.quantizer.encode(x, beam=DEFAULT_BEAM, restarts=self._restarts)
            there = torch.arange(codes.shape[1], device=z.device)[:, None] < stages[:, None, None]
            codes = torch.where(there, codes, -1)
            quantized = z.float() + (self.quantizer.decode(codes) - x)  # straight through
        return QuantizerOutput(quantized, codes, z.new_zeros(()), {})

    @torch.no_grad()
    def _energy_codes(
        self, latent: Tensor, target: Tensor, n_codebooks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All codes of a training batch, and the energies that each item's decoder knows."""
        codes, bands = latent, None
        for position, code, predicted, known in self._code_energies(
            latent, target, self.n_codebooks
        ):
            there = (n_codebooks > position)[:, None, None]
            bands = torch.where(there, known, predicted if bands is None else bands)
            codes = _insert(codes, position, torch.where(there[:, 0], code, -1))
        assert bands is not None
        return codes, bands


def _insert(codes: Tensor, position: int, code: Tensor) -> Tensor:
    """Codes ``[B, K, T]`` with one more stage ``[B, T]`` at a position."""
    return torch.cat([codes[:, :position], code[:, None], codes[:, position:]], 1)
