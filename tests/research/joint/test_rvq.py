"""Training and coding of the residual quantiser, against values worked out by hand."""

import itertools
import math

import pytest
import torch

from research.joint import ResidualVQ

pytestmark = pytest.mark.numeric


def quantizer(seed=0, dim=2, stages=3, size=16, **more):
    torch.manual_seed(seed)
    return ResidualVQ(dim, stages, size, **more)


def latents(batch=4, dim=2, frames=50, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2 * dim, frames, generator=generator)


def rows(z):
    """Planar [B, 2D, T] -> [B*T, 2D]."""
    return z.transpose(1, 2).reshape(-1, z.shape[1])


# --- coding


@pytest.mark.parametrize("beam", [1, 4])
def test_decode_sums_the_codes(beam):
    rvq = quantizer()
    z = latents(batch=2)
    codes = rvq.encode(z, beam=beam)
    assert codes.shape == (2, 3, 50) and codes.dtype == torch.int64
    out = rvq.decode(codes)
    assert out.shape == z.shape
    want = sum(rvq.codebooks[k, codes[1, k, 7]] for k in range(3))
    assert torch.allclose(out[1, :, 7], want)


def test_fewer_stages_are_a_prefix_of_more():
    rvq, z = quantizer(stages=5), latents()
    full = rvq.encode(z, beam=1)
    for stages in range(1, 6):
        assert torch.equal(rvq.encode(z, stages, beam=1), full[:, :stages])


def test_each_stage_lowers_the_error_of_fitted_codebooks():
    rvq, z = quantizer(stages=5, size=64), latents(frames=500)
    rvq.fit(z)
    codes = rvq.encode(z, beam=1)
    errors = [float((z - rvq.decode(codes[:, :k])).square().mean()) for k in range(1, 6)]
    assert all(b < 0.8 * a for a, b in itertools.pairwise(errors))


def test_no_frames():
    rvq = quantizer()
    codes = rvq.encode(latents(frames=1)[..., :0], 2)
    assert codes.shape == (4, 2, 0) and codes.dtype == torch.int64
    assert rvq.decode(codes).shape == (4, 4, 0)


@pytest.mark.parametrize("stages", [0, 4, -1])
def test_wrong_number_of_stages_names_the_allowed(stages):
    rvq, z = quantizer(), latents()
    with pytest.raises(ValueError, match=rf"n_codebooks={stages}\b.*1\.\.3"):
        rvq.encode(z, stages)
    if stages >= 0:
        with pytest.raises(ValueError, match=r"1\.\.3"):
            rvq.decode(torch.zeros(1, stages, 5, dtype=torch.int64))


def test_evaluation_changes_nothing_and_agrees_with_encode():
    rvq, z = quantizer().eval(), latents()
    before = {k: v.clone() for k, v in rvq.state_dict().items()}
    out = rvq(z)
    assert all(torch.equal(before[k], v) for k, v in rvq.state_dict().items())
    codes = rvq.encode(z, beam=1)
    assert torch.equal(out.codes, codes)
    assert torch.allclose(out.quantized, rvq.decode(codes), atol=1e-6)


def test_mixed_precision_training_uses_the_same_distance():
    rvq, z = quantizer(dim=32, stages=4, size=512).eval(), latents(dim=32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = rvq(z).codes
    assert torch.equal(codes, rvq.encode(z, beam=1))


# --- gradients


@pytest.mark.parametrize("training", [True, False])
def test_straight_through_jacobian_is_the_identity(training):
    rvq = quantizer().train(training)
    z = latents(batch=1, frames=3)

    def quantized(x):
        state = {k: v.clone() for k, v in rvq.state_dict().items()}
        out = rvq(x).quantized
        rvq.load_state_dict(state)
        return out

    jacobian = torch.autograd.functional.jacobian(quantized, z).reshape(12, 12)
    assert torch.equal(jacobian, torch.eye(12))


def test_commitment_of_every_stage_reaches_the_encoder():
    """The gradient of the k-stage loss is 2 (x - q_k) / (D' N power) summed over stages."""
    rvq = quantizer(stages=4).eval()
    x = latents(batch=1, frames=30)
    power = x.square().mean()
    expected = torch.zeros_like(x)
    codes = rvq.encode(x, beam=1)
    for k in range(1, 5):
        left = x - rvq.decode(codes[:, :k])
        assert left.abs().amax() > 0.1
        expected += 2 * left / (x.numel() * power * 4)
    z = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(rvq(z).commitment_loss, z)
    assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("stage", range(4))
def test_loss_of_one_stage_alone_has_a_gradient(stage):
    """With all later stages dropped, the gradient of the loss still grows by this stage's part."""
    rvq = quantizer(stages=4).eval()
    x = latents(batch=1, frames=30)

    def gradient(count):
        z = x.clone().requires_grad_()
        loss = rvq(z, torch.tensor([count])).commitment_loss
        return torch.autograd.grad(loss, z)[0] if count else torch.zeros_like(x)

    part = gradient(stage + 1) - gradient(stage)
    assert part.abs().amax() > 1e-3 and torch.isfinite(part).all()


def test_commitment_does_not_depend_on_the_level():
    rvq, z = quantizer().eval(), latents()
    quiet = quantizer().eval()
    quiet.codebooks.copy_(0.01 * rvq.codebooks)
    loss, small = rvq(z).commitment_loss, quiet(0.01 * z).commitment_loss
    assert torch.allclose(loss, small, rtol=1e-4)


def test_codebooks_have_no_gradient_and_are_no_parameters():
    assert not list(quantizer().parameters())


# --- stages dropped per item


def test_dropped_stages_neither_code_nor_count():
    rvq, z = quantizer(decay=0.0), latents(batch=3)
    before = rvq.codebooks.clone()
    out = rvq(z, torch.tensor([1, 2, 3]))
    assert (out.codes[0, 1:] == -1).all() and (out.codes[0, :1] >= 0).all()
    assert (out.codes[1, 2:] == -1).all() and (out.codes[2] >= 0).all()
    want = before[0][out.codes[0, 0]].t()
    assert torch.allclose(out.quantized[0], want, atol=1e-6)
    # with no memory the counts are those of this batch, and revived codes have half a share
    for k, used in enumerate((150, 100, 50)):
        revived = 0.5 * used / 16
        count = rvq.ema_count[k]
        hits = torch.bincount(out.codes[:, k][out.codes[:, k] >= 0], minlength=16).float()
        assert hits.sum() == used
        dead = hits < 0.05 * used / 16
        assert torch.equal(count[~dead], hits[~dead])
        assert torch.allclose(count[dead], torch.tensor(revived))


# --- moving averages


def test_one_update_by_hand():
    rvq = quantizer(dim=1, stages=1, size=2, decay=0.9, dead_threshold=0.0)
    rvq.codebooks.copy_(torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]]))
    rvq.ema_count.copy_(torch.tensor([[2.0, 4.0]]))
    # three vectors to code 1, one to code 0
    z = torch.tensor([[[2.0, 1.0, 3.0, -3.0], [1.0, 1.0, -1.0, 2.0]]])
    rvq.train()(z)
    assert torch.allclose(rvq.ema_count, torch.tensor([[1.8 + 0.1, 3.6 + 0.3]]))
    first = [(0.9 * -2 + 0.1 * -3) / 1.9, (0.1 * 2) / 1.9]
    second = [(0.9 * 4 + 0.1 * 6) / 3.9, (0.1 * 1) / 3.9]
    assert torch.allclose(rvq.codebooks, torch.tensor([[first, second]]))


def test_a_code_that_is_not_hit_keeps_its_vector():
    rvq = quantizer(dim=1, stages=1, size=2, decay=0.9, dead_threshold=0.0)
    rvq.codebooks.copy_(torch.tensor([[[-9.0, 0.5], [1.0, 0.0]]]))
    z = latents(batch=1, dim=1)
    for _ in range(20):
        rvq.train()(z)
    assert torch.allclose(rvq.codebooks[0, 0], torch.tensor([-9.0, 0.5]), rtol=1e-4)


def test_training_on_one_batch_converges_to_its_means():
    """One stage: every code that is used becomes the mean of what it codes (Lloyd)."""
    rvq, z = quantizer(stages=1, size=8, decay=0.5), latents(frames=200)
    for _ in range(100):
        out = rvq.train()(z)
    index, x = out.codes[:, 0].reshape(-1), rows(z)
    for code in range(8):
        assert torch.allclose(rvq.codebooks[0, code], x[index == code].mean(0), atol=1e-2)


# --- dead codes


def test_a_dead_code_comes_back_and_stays():
    rvq, z = quantizer(stages=1, size=16, decay=0.9), latents(frames=200)
    rvq.fit(z)
    with torch.no_grad():  # one code far from all data
        rvq.codebooks[0, 3] = 100.0
        rvq.ema_count[0, 3] = 1e-4
    rvq.train()
    out = rvq(z)
    assert out.stats["dead_codes"] == 1
    revived = rvq.codebooks[0, 3].clone()
    # it became one of the vectors of the batch
    assert (revived - rows(z)).abs().amax(1).amin() < 1e-5
    for _ in range(60):
        out = rvq(z)
        assert out.stats["dead_codes"] == 0
    hits = torch.bincount(out.codes.reshape(-1), minlength=16)
    assert hits[3] > 0.05 * hits.float().mean()


def test_the_threshold_is_relative_to_the_number_of_codes_in_use():
    """Few vectors for each code do not make it dead; few compared with the others do."""
    rvq = quantizer(stages=1, size=4, decay=0.0, dead_threshold=0.4)
    rvq.codebooks.copy_(torch.tensor([[[0.0] * 4, [10.0] * 4, [20.0] * 4, [30.0] * 4]]))
    z = torch.tensor([0.0, 10.0, 20.0, 30.0]).repeat(1, 4, 1)
    assert rvq.train()(z).stats["dead_codes"] == 0  # one vector each
    z = torch.tensor([0.0] * 7 + [10.0] * 7 + [20.0] * 7 + [30.0]).repeat(1, 4, 1)
    # codes are now exact means; 1 hit is below 0.4 of the uniform 22 / 4
    assert rvq(z).stats["dead_codes"] == 1


def test_data_initialisation_leaves_no_code_dead():
    rvq, z = quantizer(stages=4, size=64), latents(frames=500)
    rvq.fit(z)
    out = rvq.train()(z)
    assert out.stats["dead_codes"] < 1
    assert (rvq.perplexity() > 32).all()


def test_fit_is_better_than_the_random_start_and_survives_silence():
    z = latents(frames=300)
    rvq = quantizer(size=64)
    start = float((z - rvq.decode(rvq.encode(z, beam=1))).square().mean())
    rvq.fit(z)
    assert float((z - rvq.decode(rvq.encode(z, beam=1))).square().mean()) < 0.5 * start
    rvq.fit(torch.zeros(1, 4, 200))
    assert torch.isfinite(rvq.codebooks).all()
    assert rvq.decode(rvq.encode(torch.zeros(1, 4, 5))).abs().amax() < 1e-4


def test_revival_takes_residuals_of_items_that_use_the_stage():
    rvq = quantizer(stages=2, size=16, decay=0.0)
    with torch.no_grad():  # half of the second stage is far from all data, so dead
        rvq.codebooks[1, 8:] = 1e4
    z = latents(batch=2, frames=100)
    z[0] += 50.0  # the item that stops after stage 1, where its residual is large
    assert rvq.train()(z, torch.tensor([1, 2])).stats["dead_codes"] >= 4
    assert rvq.codebooks[1].abs().amax() < 10.0


def test_fit_is_deterministic():
    first, second = quantizer(), quantizer()
    torch.manual_seed(1)
    first.fit(latents())
    torch.manual_seed(2)
    second.fit(latents())
    assert torch.equal(first.codebooks, second.codebooks)


# --- use of the codes


@pytest.mark.parametrize(
    ("counts", "perplexity"),
    [
        ([1, 1, 1, 1], 4.0),
        ([5, 0, 0, 0], 1.0),
        ([3, 3, 0, 0], 2.0),
        # entropy of (1/2, 1/4, 1/8, 1/8) is 1.75 bit
        ([4, 2, 1, 1], 2**1.75),
        ([0.9, 0.1, 0, 0], math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))),
    ],
)
def test_perplexity(counts, perplexity):
    rvq = quantizer(stages=1, size=4)
    rvq.ema_count.copy_(torch.tensor([counts]))
    assert rvq.perplexity().tolist() == pytest.approx([perplexity], rel=1e-5)


def test_stats_are_plain_numbers():
    stats = quantizer().train()(latents()).stats
    assert set(stats) == {"perplexity_mean", "perplexity_min", "dead_codes"}
    assert all(type(value) is float for value in stats.values())
    assert stats["perplexity_min"] <= stats["perplexity_mean"] <= 16


def test_state_is_saved_whole():
    rvq = quantizer()
    for _ in range(3):
        rvq.train()(latents())
    copy = quantizer(seed=9)
    copy.load_state_dict(rvq.state_dict())
    z = latents(seed=5)
    torch.manual_seed(0)
    rvq(z)
    torch.manual_seed(0)
    copy.train()(z)
    assert torch.equal(rvq.codebooks, copy.codebooks)
