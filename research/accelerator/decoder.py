"""Training of a decoder on crops that were coded once: nothing in a step waits for the host.

Everything lies on the device: audio, codes, depths for ten rates. A step looks up what a packet of
a random rate holds, decodes it, and goes back through the loss; on CUDA it is one captured graph.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eulerodec.bitstream.code_tables import LEVEL_STEP, LEVEL_ZERO
from eulerodec.metrics import si_sdr
from eulerodec.model import EuleroDec
from eulerodec.quantize import Coded
from eulerodec.train.losses import ReconstructionLoss
from eulerodec.train.optim import set_frozen
from eulerodec.train.recipe import Recipe

from .workers import RATES, Store

Say = Callable[[str], None]


class Packets:
    """Coded crops on the device.

    Args:
        store: what workers wrote.
        codes: of latents, int16 ``[n, T, K]``.
        model: whose code book they are for.
        device: where all of it goes.
    """

    def __init__(self, store: Store, codes: Tensor, model: EuleroDec, device: str) -> None:
        tables = model.book.tables
        keep = np.flatnonzero(store["level"] > 0)  # silence teaches nothing

        def taken(name: str) -> Tensor:
            return torch.from_numpy(np.asarray(store[name])[keep]).to(device)

        self.audio, self.base, self.gain = taken("audio"), taken("base"), taken("gain")
        self.level, self.energies = taken("level"), taken("energies")
        self.latent_depth, self.energy_depth = taken("latent_depth"), taken("energy_depth")
        self.codes = codes[torch.from_numpy(keep).to(codes.device)].to(device)
        books = model.book.codebooks.to(device).float()
        self.n_stages, self.size = books.shape[:2]
        # a code that is absent adds the last row, zero
        self.book = torch.cat([books.flatten(0, 1), torch.zeros_like(books[0, :1])])
        more = torch.from_numpy(tables.energy_books[tables.n_base :].astype(np.float32)).to(device)
        self.n_more = len(more)
        self.energy_book = torch.cat([more.flatten(0, 1), torch.zeros_like(more[0, :1])])
        self.n_base, self.block = tables.n_base, tables.block_frames
        width = torch.from_numpy(tables.band_width.astype(np.float32)).to(device)
        self.share = width / width.sum()
        self.stage = torch.arange(self.n_stages, device=device)
        self.energy_stage = torch.arange(self.n_more, device=device)

    def __len__(self) -> int:
        return len(self.audio)

    def __call__(self, index: Tensor, rate: Tensor) -> tuple[Coded, Tensor]:
        """What packets of crops ``[B]`` hold at rates ``[B]`` (of RATES), and their audio."""
        depth = self.latent_depth[index, rate].long()  # [B, T]
        codes = self.codes[index].long() + self.size * self.stage  # [B, T, K]
        codes = torch.where(self.stage < depth[..., None], codes, len(self.book) - 1)
        z = F.embedding_bag(codes.flatten(0, 1), self.book, mode="sum")
        z = z.view(*depth.shape, -1) * self.gain[index][..., None]
        n_more = self.energy_depth[index, rate].long()  # [B, blocks]
        more = self.energies[index][..., self.n_base :].long() + self.size * self.energy_stage
        more = torch.where(self.energy_stage < n_more[..., None], more, len(self.energy_book) - 1)
        rest = F.embedding_bag(more.flatten(0, 1), self.energy_book, mode="sum")
        base = self.base[index].float()
        bands = base + rest.view(base.shape)
        # no frame is louder than the loudest, whose loudness the level says
        power = torch.pow(10.0, 0.075 / 16 * bands) @ self.share
        loudness = (160 / 0.75) * power.log10()
        bands = bands - (loudness - LEVEL_STEP // 2).clamp_min(0.0)[..., None]
        level = LEVEL_STEP * (self.level[index].float() - LEVEL_ZERO)
        bands = (bands + level[:, None, None]) / 160.0
        known = (n_more + self.n_base).repeat_interleave(self.block, 1)[:, : depth.shape[1]]
        audio = self.audio[index].float()[:, None] / 32768.0
        return Coded(z.transpose(1, 2), bands.transpose(1, 2), depth, known), audio


@dataclass
class Settings:
    """Of a run.

    Attributes:
        seconds: that it may take.
        batch_size: packets of a step.
        rate: peak learning rate.
        ema: decay of the averaged weights.
        warmup: steps.
    """

    seconds: float
    batch_size: int = 64
    rate: float = 6e-4
    ema: float = 0.9995
    warmup: int = 200


class Lookup(nn.Module):
    """``nn.Embedding`` as a product, whose way back needs no sorting."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, index: Tensor) -> Tensor:
        rows = torch.arange(len(self.weight), device=index.device)
        return (index[..., None] == rows).to(self.weight) @ self.weight


class Training:
    """A decoder, its optimiser and its average.

    Args:
        model: changed in place.
        recipe: its loss, and what rests.
        packets: to learn from.
        held_out: to be measured with.
        settings: of the run.
        say: gets a line now and then.
    """

    def __init__(
        self, model: EuleroDec, recipe: Recipe, packets: Packets, held_out: Packets,
        settings: Settings, say: Say,
    ) -> None:  # fmt: skip
        self.model, self.packets, self.held_out = model, packets, held_out
        self.settings, self.say = settings, say
        device = packets.audio.device
        set_frozen(model, recipe.optim.freeze_until)
        self.loss = ReconstructionLoss(recipe.loss, model.sample_rate).to(device)
        for name in ("stage_gain", "energy_gain"):
            setattr(model.decoder, name, Lookup(getattr(model.decoder, name).weight))
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        params = [p for p in model.parameters() if p.requires_grad]
        self.averaged = [p for p, q in zip(self.average.parameters(), model.parameters(),
                                           strict=True) if q.requires_grad]  # fmt: skip
        groups: dict[float, list[Tensor]] = {}
        for name, p in model.named_parameters():
            if p.requires_grad:
                factor = next(
                    (f for k, f in recipe.optim.lr_multipliers.items() if name.startswith(k)), 1.0
                )
                groups.setdefault(factor, []).append(p)
        self.rates = {f: torch.zeros((), device=device) for f in groups}
        cuda = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            [{"params": ps, "lr": self.rates[f]} for f, ps in groups.items()],
            betas=(recipe.optim.betas[0], recipe.optim.betas[1]),
            weight_decay=0.0, capturable=cuda, foreach=cuda,
        )  # fmt: skip
        self.params, self.clip = params, recipe.train.grad_clip
        weights = torch.zeros(len(RATES), device=device)
        for kbps in recipe.train.bitrates_kbps:
            weights[RATES.index(kbps)] += 1
        # every rate a little
        self.draw = (weights / weights.sum() * 0.8 + 0.2 / len(RATES)).cumsum(0)[:-1].contiguous()
        self.lately = torch.zeros(3, device=device)  # loss, norm, steps
        self.graph: torch.cuda.CUDAGraph | None = None

    def _forward(self) -> None:
        device, n = self.packets.audio.device, self.settings.batch_size
        index = torch.randint(len(self.packets), (n,), device=device)
        rate = torch.bucketize(torch.rand(n, device=device), self.draw)
        coded, audio = self.packets(index, rate)
        spec = self.model.decoder(coded)
        decoded = self.model.stft.synthesis(spec, audio.shape[-1])[:, None]
        total, _ = self.loss(decoded, audio)
        total.backward()
        grads = [p.grad for p in self.params if p.grad is not None]
        norm = torch.stack(torch._foreach_norm(grads)).norm()  # pyright: ignore
        scale = (self.clip / (norm + 1e-6)).clamp_max(1.0)
        good = torch.isfinite(norm)
        for grad in grads:  # a step with numbers that are not finite does nothing
            torch.nan_to_num_(grad, 0.0, 0.0, 0.0)
        torch._foreach_mul_(grads, torch.where(good, scale, 0.0))  # pyright: ignore
        self.optimizer.step()
        add = torch.stack([total.detach(), norm, torch.ones_like(norm)])
        self.lately += torch.where(good, add, 0.0)

    def _step(self) -> None:
        grads = [p.grad for p in self.params if p.grad is not None]
        if grads:
            torch._foreach_zero_(grads)  # pyright: ignore
        self._forward()
        share = 1.0 - self.settings.ema
        torch._foreach_lerp_(self.averaged, self.params, share)  # pyright: ignore

    def _capture(self) -> None:
        """One step as a graph; eager steps go on where that fails."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._step()
            self.graph = graph
        except Exception as error:  # any reason is one to go on without
            self.say(f"no graph: {error!s:.500}")
            torch.cuda.synchronize()

    def run(self) -> None:
        settings, begin = self.settings, time.monotonic()
        cuda = self.packets.audio.device.type == "cuda"
        if cuda:
            for rate in self.rates.values():
                rate.fill_(1e-7)
            self._capture()
        step, said = 0, begin
        while True:
            done = (time.monotonic() - begin) / settings.seconds
            if done >= 1.0:
                break
            rate = settings.rate * 0.5 * (1 + math.cos(math.pi * done))
            rate *= min(1.0, (step + 1) / settings.warmup)
            for factor, tensor in self.rates.items():
                tensor.fill_(factor * rate)
            if self.graph is None:
                self._step()
            else:
                self.graph.replay()
            step += 1
            if cuda and step % 20 == 0:
                torch.cuda.synchronize()  # the clock must not run ahead
            if time.monotonic() - said > settings.seconds / 16:
                said = time.monotonic()
                self._report(step, said - begin, rate)
        self._report(step, time.monotonic() - begin, 0.0)

    def _report(self, step: int, seconds: float, rate: float) -> None:
        loss, norm, n = self.lately.tolist()
        self.lately.zero_()
        six, twelve = self.score(6.0), self.score(12.0)
        self.say(
            f"step {step}, {seconds:.0f} s, rate {rate:.2e}, loss {loss / max(n, 1):.4f}, norm"
            f" {norm / max(n, 1):.3f}, good {n:.0f}, held out {six:.3f} / {twelve:.3f} dB"
        )

    @torch.no_grad()
    def score(self, kbps: float) -> float:
        """SI-SDR of held-out packets in dB."""
        model, scores = self.average, []
        device = self.held_out.audio.device
        for index in torch.arange(len(self.held_out), device=device).split(64):
            rate = torch.full_like(index, RATES.index(kbps))
            coded, audio = self.held_out(index, rate)
            decoded = model.stft.synthesis(model.decoder(coded), audio.shape[-1])
            scores += [si_sdr(x, y) for x, y in zip(audio[:, 0].cpu(), decoded.cpu(), strict=True)]
        return float(np.mean(scores))
