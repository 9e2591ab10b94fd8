"""Ablation variants of the network: what complex arithmetic is compared with.

:func:`build_model` gives a :class:`VariantModel` for the ``[model]`` of a recipe. Everything around
the network (STFT, quantiser, loss, data) is the same for all.

* ``complex``: the trunks as they are.
* ``real``: the same trunks of ordinary real layers. (re, im) are two real channels; every complex
  convolution is a real one with bias and free weights between all of them, 2x2 whitening is an RMS
  norm, the modulus gate a gated linear unit.
* ``polar``: the real trunks in the mixed domain. In go the log-magnitude and the cosine and sine
  of the phase, out come a log-magnitude and a phase, as the direction of a pair of numbers (Ai &
  Ling 2023, arXiv 2211.15974; APCodec, arXiv 2402.10533).

A real layer of as many real channels as the complex one has real *and* imaginary parts takes the
same multiplications and has twice the parameters, so variants are matched in one or the other by
their widths.

With ``transform_path = false`` the fixed lapped transform is left out and the network has to learn
the whole code by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from eulerodec.errors import ConfigError
from eulerodec.model import channel_rms
from eulerodec.model.trunk import (
    FrequencyAttention,
    Trunk,
    WindowedAttention,
    cat_planar,
    local_level,
    scale_channels,
)
from eulerodec.nn import (
    STFT,
    ComplexConv1d,
    ComplexConv2d,
    ComplexRMSNorm,
    MagnitudeGLU,
    WhiteningNorm,
    magnitude,
    power_compress,
    power_expand,
    scale_planar,
)
from research.joint import Decoder, Encoder, JointConfig, JointModel
from research.joint.fit import initialize as initialize_joint
from research.joint.transform import set_lapped_transform

__all__ = ["VariantConfig", "VariantModel", "build_model", "cost", "initialize"]

ARITHMETICS = ("complex", "real", "polar")


@dataclass(frozen=True, kw_only=True)
class VariantConfig(JointConfig):
    """A :class:`JointConfig` with the switches of :mod:`research.variants`.

    ``encoder_channels`` and ``decoder_channels`` are pairs of real channels for the real and polar
    arithmetic.

    Attributes:
        arithmetic: ``complex``, ``real`` or ``polar``.
        transform_path: whether the fixed lapped transform is there.
        attention: False leaves the axial attention out.
        whitening: False puts an RMS norm in the place of 2x2 whitening.
        activation: ``magnitude`` gates by modulus, ``split`` by re and im apart.
    """

    arithmetic: str = "complex"
    transform_path: bool = True
    attention: bool = True
    whitening: bool = True
    activation: str = "magnitude"

    def __post_init__(self) -> None:
        if self.arithmetic not in ARITHMETICS:
            allowed = ", ".join(f'"{a}"' for a in ARITHMETICS)
            raise ConfigError(f"arithmetic={self.arithmetic!r}; allowed: {allowed}")
        if self.arithmetic != "complex":  # a unit gated by itself, whatever the recipe says
            object.__setattr__(self, "activation", "split")
            object.__setattr__(self, "whitening", False)
        if self.activation not in ("magnitude", "split"):
            raise ConfigError(f'activation={self.activation!r}; allowed: "magnitude", "split"')
        super().__post_init__()


def build_model(values: dict[str, Any]) -> VariantModel:
    """The network of a recipe's ``[model]``."""
    return VariantModel(VariantConfig.from_dict(values))


class SplitGate(nn.Module):
    """``value * sigmoid(gate)``: re and im gate themselves, apart."""

    def forward(self, value: Tensor, gate: Tensor) -> Tensor:
        return value * torch.sigmoid(gate)


def ablate(module: nn.Module, config: VariantConfig) -> None:
    """Takes out of a network what the switches turn off, in place."""
    if isinstance(module, Trunk) and not config.attention:
        attention = (FrequencyAttention, WindowedAttention)
        module.layers = nn.ModuleList(x for x in module.layers if not isinstance(x, attention))
    for name, child in module.named_children():
        if isinstance(child, WhiteningNorm) and not config.whitening:
            setattr(module, name, ComplexRMSNorm(child.channels, child.floor))
        elif isinstance(child, MagnitudeGLU) and config.activation == "split":
            setattr(module, name, SplitGate())
        else:
            ablate(child, config)


class RealRMSNorm(nn.Module):
    """``x * scale / sqrt(mean_channels x^2 + floor)``, ``[B, C, *]``, one scale per channel."""

    def __init__(self, channels: int, floor: float) -> None:
        super().__init__()
        self.floor = floor
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        gain = torch.rsqrt(wide.square().mean(1, keepdim=True) + self.floor)
        return (wide * gain * self.scale.view((-1,) + (1,) * (x.ndim - 2))).to(x.dtype)


def _real_conv(inputs: int, outputs: int, std: float | None = None) -> nn.Conv1d:
    """Pointwise; variance-preserving like the complex layers, unless ``std`` says otherwise."""
    layer = nn.Conv1d(inputs, outputs, 1)
    nn.init.normal_(layer.weight, 0.0, inputs**-0.5 if std is None else std)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def make_real(module: nn.Module) -> None:
    """Replaces every complex layer inside by the real one of the same planar shape, in place.

    A replacement keeps the scale of the initial weights (zero stays zero).
    """
    for name, child in module.named_children():
        if type(child) in (ComplexConv1d, ComplexConv2d):
            kind = nn.Conv1d if type(child) is ComplexConv1d else nn.Conv2d
            real = kind(2 * child.in_channels, 2 * child.out_channels, child.kernel_size)  # type: ignore[arg-type]
            with torch.no_grad():
                real.weight.normal_(0.0, 1.0).mul_(
                    cast(Tensor, child.weight).square().mean().sqrt()
                )
                assert real.bias is not None
                real.bias.zero_()
            setattr(module, name, real)
        elif isinstance(child, WhiteningNorm | ComplexRMSNorm):
            # the power of a complex number is that of its two parts together
            setattr(module, name, RealRMSNorm(2 * child.channels, child.floor / 2))
        else:
            make_real(child)


def polar_features(x: Tensor) -> Tensor:
    """Planar ``[B, 2F, T]`` -> ``[B, 3F, T]``: log-modulus (floor 0.01), cosine and sine."""
    r = magnitude(x)
    return torch.cat([torch.log(r + 0.01), scale_planar(x, 1.0 / r)], 1)


class VariantEncoder(Encoder):
    """Planar STFT ``[B, 2F, T]`` -> planar latents ``[B, 2D, T]``."""

    config: VariantConfig

    def __init__(self, config: VariantConfig) -> None:
        super().__init__(config)
        ablate(self, config)
        width, bins = config.encoder_channels, config.n_fft // 2 + 1
        if config.arithmetic != "complex":
            make_real(self)
        if config.arithmetic == "polar":
            self.trunk.in_proj = _real_conv(3 * bins, 2 * width)  # type: ignore[assignment]
        if not config.transform_path:
            del self.transform, self.select
            if config.arithmetic == "complex":
                self.out_proj.reset_parameters()
            else:
                self.out_proj = _real_conv(2 * width, 2 * config.latent_dim)

    def forward(self, spec: Tensor) -> Tensor:
        features = power_compress(spec, self.config.feature_exponent)
        level = local_level(features, self.right)
        features = scale_channels(features / level, 1.0 / self.tilt)
        if self.config.arithmetic == "polar":
            features = polar_features(features)
        delta = self.out_proj(self.trunk(features)).float()
        if not self.config.transform_path:
            return delta * level
        z = self.transform_path(spec)
        return z + scale_channels(delta, self.latent_scale) * local_level(z, self.right)


class VariantDecoder(Decoder):
    """Planar latents ``[B, 2D, T]`` -> planar STFT ``[B, 2F, T]``."""

    config: VariantConfig

    def __init__(self, config: VariantConfig, stft: STFT) -> None:
        super().__init__(config, stft)
        ablate(self, config)
        width, bins, latents = config.decoder_channels, stft.n_bins, config.latent_dim
        start = 0.0 if config.transform_path else None  # what the last layer starts from
        if not config.transform_path:
            del self.transform, self.expand, self.gain_proj
            self.trunk.in_proj = ComplexConv1d(latents, width, 1, bias=False)
            self.out_proj.reset_parameters()
        if config.arithmetic == "complex":
            return
        make_real(self)
        if config.arithmetic == "polar":
            spectrum = 3 * bins if config.transform_path else 0
            inputs = spectrum + 2 * latents
            self.trunk.in_proj = _real_conv(inputs, 2 * width)  # type: ignore[assignment]
            self.out_proj = _real_conv(2 * width, 3 * bins, start)
            if config.transform_path:
                del self.gain_proj  # the gain is one of the outputs
        elif config.transform_path:
            self.gain_proj = _real_conv(2 * width, bins, 0.0)

    def forward(self, z: Tensor, n_codebooks: Tensor) -> Tensor:
        z_level = local_level(z, self.right)
        latents = z / z_level
        gain = self.stage_gain(n_codebooks)[:, :, None]
        exponent, polar = self.config.feature_exponent, self.config.arithmetic == "polar"
        if not self.config.transform_path:
            out = self.out_proj(self.trunk(latents, gain)).float()
            if polar:
                log_modulus, direction = out.tensor_split([out.shape[1] // 3], 1)
                out = scale_planar(_unit(direction), log_modulus.clamp(-10.0, 4.0).exp())
            return power_expand(scale_channels(out, self.tilt) * z_level, exponent)
        base = power_compress(self.transform_path(z), exponent)
        level = local_level(base, self.right)
        spectrum = scale_channels(base / level, 1.0 / self.tilt)
        latents = scale_channels(latents, 1.0 / self.latent_scale)
        if polar:
            features = torch.cat([polar_features(spectrum), latents], 1)
        else:
            features = cat_planar(spectrum, latents)
        h = self.trunk(features, gain)
        out = self.out_proj(h).float()
        if polar:  # a gain on the modulus and a rotation
            log_gain, turn = out.tensor_split([out.shape[1] // 3], 1)
            re, im = _unit(turn + _one_zero(turn)).chunk(2, 1)
            a, b = base.chunk(2, 1)
            turned = torch.cat([a * re - b * im, a * im + b * re], 1)
            return power_expand(scale_planar(turned, log_gain.clamp(-3.0, 3.0).exp()), exponent)
        real = self.config.arithmetic == "real"
        log_gain = self.gain_proj(h if real else magnitude(h).to(h.dtype)).float()
        residual = scale_channels(out, self.tilt) * level
        corrected = scale_planar(base, log_gain.clamp(-3.0, 3.0).exp()) + residual
        return power_expand(corrected, exponent)


def _unit(x: Tensor) -> Tensor:
    """Planar numbers of modulus one (zero stays zero, and its gradient finite)."""
    return scale_planar(x, 1.0 / magnitude(x, eps=1e-4))


def _one_zero(x: Tensor) -> Tensor:
    """The complex number 1 in every channel of a planar tensor like x."""
    re, im = x.chunk(2, 1)
    return torch.cat([torch.ones_like(re), torch.zeros_like(im)], 1)


class VariantModel(JointModel):
    """:class:`JointModel` with the encoder and decoder of a :class:`VariantConfig`."""

    config: VariantConfig

    def __init__(self, config: VariantConfig) -> None:
        super().__init__(config)
        self.encoder = VariantEncoder(config)
        self.decoder = VariantDecoder(config, self.stft)
        if config.transform_path:
            set_lapped_transform(self.encoder, self.decoder, self.stft)


@torch.no_grad()
def initialize(model: VariantModel, wavs: Tensor) -> None:
    """Sets a model from audio; without a transform path only its levels and codebooks."""
    if model.config.transform_path:
        initialize_joint(model, wavs)
        return
    specs = [model.stft.analysis(w[:, 0]) for w in wavs.split(16)]
    features = power_compress(torch.cat(specs), model.config.feature_exponent)
    tilt = channel_rms([features / local_level(features, model.encoder.right)])
    for module in (model.encoder, model.decoder):
        module.tilt.copy_(tilt)
    model.quantizer.fit(torch.cat([model.encoder(spec) for spec in specs]))


def cost(model: JointModel, seconds: float = 1.0) -> dict[str, float]:
    """Trainable parameters of the trunks and their projections, and multiply-accumulates per
    second of audio in their layers.

    A complex product is four real ones. The fixed transform path, the same for all, and the
    products of queries, keys and values are not counted.
    """
    skipped = ("transform", "select", "expand")
    parameters = sum(
        p.numel() for name, p in model.named_parameters() if name.split(".")[1] not in skipped
    )
    macs = 0.0

    def count(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal macs
        taps = layer.weight.numel() / output.shape[1]  # type: ignore[operator, union-attr]
        # a complex weight is two numbers, for half of the planar outputs
        factor = 2.0 if isinstance(layer, ComplexConv1d | ComplexConv2d) else 1.0
        macs += factor * taps * output.numel()

    convolutions = (ComplexConv1d, ComplexConv2d, nn.Conv1d, nn.Conv2d)
    handles = [
        layer.register_forward_hook(count)
        for part in (model.encoder, model.decoder)
        for name, layer in part.named_modules()
        if isinstance(layer, convolutions) and name not in skipped
    ]
    n = round(seconds * model.sample_rate)
    with torch.no_grad():
        model(torch.zeros(1, 1, n))
    for handle in handles:
        handle.remove()
    return {"parameters": parameters, "macs_per_second": macs / seconds}
