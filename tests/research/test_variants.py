"""Variants: matched sizes, exact equivariance where it is claimed, gradients, training."""

import dataclasses
from pathlib import Path

import pytest
import torch

from eulerodec.errors import ConfigError
from eulerodec.train.recipe import load_recipe
from research.joint import JointConfig, JointModel
from research.score import equivariance_error
from research.study import RQ2, RQ3, RQ3_PATH, VARIANTS
from research.variants import (
    RealRMSNorm,
    VariantConfig,
    VariantModel,
    build_model,
    cost,
    initialize,
    polar_features,
)

pytestmark = pytest.mark.numeric
RECIPES = Path(__file__).parents[2] / "recipes/research"
SMALL = dict(
    latent_dim=8, codebook_size=32, encoder_channels=16, decoder_channels=16, encoder_blocks=2,
    decoder_blocks=2, encoder_look_ahead=1, decoder_look_ahead=1, attention_window=(4, 1),
    bands=4, frequency_heads=1, time_heads=2,
)  # fmt: skip


def small(**changes) -> VariantModel:
    torch.manual_seed(0)
    return build_model({**SMALL, "arithmetic": "complex", "transform_path": False, **changes})


def wav(batch: int = 2, n: int = 6000) -> torch.Tensor:
    return 0.1 * torch.randn(batch, 1, n, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def costs() -> dict[str, dict[str, float]]:
    return {v: cost(build_model(load_recipe(RECIPES / f"{v}.toml").model), 0.1) for v in VARIANTS}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_matched(costs, name):
    base = costs["path-complex" if name.startswith("path") else "complex"]
    if name.endswith("-params") or name in ("path-real", "path-polar"):
        assert costs[name]["parameters"] == pytest.approx(base["parameters"], rel=0.025)
    if name.endswith("-macs"):
        assert costs[name]["macs_per_second"] == pytest.approx(base["macs_per_second"], rel=0.03)


def test_cost_by_hand():
    """One real and one complex pointwise map: numbers that can be counted on paper."""
    complex_, real = small(), small(arithmetic="real")
    layer, variant = complex_.encoder.trunk.in_proj, real.encoder.trunk.in_proj
    assert sum(p.numel() for p in layer.parameters()) == 2 * 265 * 16
    assert sum(p.numel() for p in variant.parameters()) == (2 * 265) * (2 * 16) + 2 * 16
    # as many multiplications: four real ones for each complex weight, one for each real weight
    assert cost(complex_)["macs_per_second"] == cost(real)["macs_per_second"]


def test_recipes_differ_in_the_model_alone():
    assert {*RQ2, *RQ3, *RQ3_PATH} == set(VARIANTS)
    for names in ((*RQ2, *RQ3), RQ3_PATH):
        recipes = [load_recipe(RECIPES / f"{v}.toml") for v in names]
        rest = [dataclasses.replace(r, model={}) for r in recipes]
        assert all(r == rest[0] for r in rest)
        quantisers = [{k: r.model[k] for k in ("latent_dim", "codebook_size")} for r in recipes]
        assert all(q == quantisers[0] for q in quantisers)


@pytest.mark.parametrize("path", [False, True])
@pytest.mark.parametrize("arithmetic", ["complex", "real", "polar"])
def test_forward_and_gradients(arithmetic, path):
    model = small(arithmetic=arithmetic, transform_path=path)
    initialize(model, wav(4))
    x = wav()
    out = model(x, bitrate_kbps=torch.tensor([3.2, 40.0]))
    assert out.audio.shape == x.shape and torch.isfinite(out.audio).all()
    # the last layers may start at zero; after one step everything behind them moves too
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        loss = (model(x).audio - x).square().mean()
        loss = loss + model(x, bitrate_kbps=torch.full((2,), 12.0)).audio.square().mean()
        loss.backward()
        optimizer.step()
    for name, p in model.named_parameters():
        assert p.grad is not None and torch.isfinite(p.grad).all(), name
        assert p.grad.abs().max() > 0, name


def test_nothing_complex_is_left_in_a_real_network():
    for arithmetic in ("real", "polar"):
        model = small(arithmetic=arithmetic)
        assert not [n for n, m in model.named_modules() if type(m).__name__.startswith("Complex")]


@pytest.mark.parametrize(
    ("changes", "gone", "instead"),
    [
        (dict(attention=False), {"AxialAttention", "TimeAttention"}, set()),
        (dict(whitening=False), {"WhiteningNorm"}, {"ComplexRMSNorm"}),
        (dict(activation="split"), {"MagnitudeGLU"}, {"SplitGate"}),
    ],
)
def test_a_switch_takes_one_thing_out(changes, gone, instead):
    whole, less = ({type(m).__name__ for m in small(**c).modules()} for c in ({}, changes))
    assert gone <= whole and not gone & less and instead <= less


def test_only_the_complex_network_is_equivariant():
    errors = {
        name: equivariance_error(small(**changes).eval(), wav())
        for name, changes in {
            "complex": {},
            "rms": {"whitening": False},
            "no attention": {"attention": False},
            "split": {"activation": "split"},
            "real": {"arithmetic": "real"},
            "polar": {"arithmetic": "polar"},
        }.items()
    }
    assert max(errors[k] for k in ("complex", "rms", "no attention")) < 1e-4
    assert min(errors[k] for k in ("split", "real", "polar")) > 0.01


def test_with_its_network_at_zero_a_variant_is_the_transform_codec():
    torch.manual_seed(0)
    plain = JointModel(JointConfig(**SMALL))
    for arithmetic in ("complex", "real", "polar"):
        variant = small(arithmetic=arithmetic, transform_path=True)
        assert torch.allclose(variant(wav()).audio, plain(wav()).audio, atol=1e-5), arithmetic


def test_small_parts():
    x = torch.tensor([3.0, 0.0, 4.0, 0.0]).view(1, 4, 1)  # 3 + 4i and 0
    assert polar_features(x).flatten().tolist() == pytest.approx(
        [torch.log(torch.tensor(5.01)).item(), torch.log(torch.tensor(0.01)).item(),
         0.6, 0.0, 0.8, 0.0], abs=1e-3,
    )  # fmt: skip
    y = RealRMSNorm(4, floor=0.0)(x).flatten()
    assert y.tolist() == pytest.approx([3 / 2.5, 0, 4 / 2.5, 0])
    with pytest.raises(ConfigError, match="arithmetic"):
        VariantConfig(arithmetic="quaternion")
    with pytest.raises(ConfigError, match=r"'relu'.*magnitude.*split"):
        VariantConfig(activation="relu")
