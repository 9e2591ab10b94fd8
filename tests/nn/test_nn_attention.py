import math

import pytest
import torch
from oracle import attention_along_last, complex_randn, native

from eulerodec.nn import AxialAttention, TimeAttention, to_complex, to_planar
from eulerodec.nn import attention as attention_module

TURN = complex(math.cos(0.4), math.sin(0.4))


def make(axis, window, heads=2, channels=4):
    torch.manual_seed(0)
    layer = AxialAttention(channels, heads, axis, window).double()
    if window is not None:
        torch.nn.init.normal_(layer.relative_bias)
    return layer


def oracle(layer, z):
    wqkv = native(layer.qkv.weight).detach()[:, :, 0, 0]
    wout = native(layer.project.weight).detach()[:, :, 0, 0]
    bias = None if layer.window is None else layer.relative_bias.detach()
    if layer.axis == "frequency":
        z = z.transpose(2, 3)
    rows = [
        torch.stack(
            [
                attention_along_last(item[:, row], wqkv, wout, layer.heads, layer.window, bias)
                for row in range(item.shape[1])
            ],
            1,
        )
        for item in z
    ]
    out = torch.stack(rows)
    return out.transpose(2, 3) if layer.axis == "frequency" else out


@pytest.mark.parametrize("axis", ["frequency", "time"])
@pytest.mark.parametrize("window", [None, (3, 2), (4, 0), (0, 0), (20, 9)])
@pytest.mark.parametrize("size", [(3, 5), (2, 1), (1, 19)])
def test_equals_oracle(axis, window, size):
    layer = make(axis, window)
    z = complex_randn(2, 4, *(size if axis == "time" else size[::-1]))
    expected = oracle(layer, z)
    torch.testing.assert_close(layer(z), expected)
    torch.testing.assert_close(layer(to_planar(z)), to_planar(expected))


@pytest.mark.parametrize(("axis", "window"), [("frequency", None), ("time", (3, 1))])
def test_gradcheck(axis, window):
    layer = make(axis, window)
    z = complex_randn(1, 4, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(layer, (z,))


@pytest.mark.parametrize(
    ("axis", "window"), [("frequency", None), ("time", None), ("time", (3, 1))]
)
def test_equivariant(axis, window):
    layer = make(axis, window)
    z = complex_randn(1, 4, 3, 20)
    torch.testing.assert_close(layer(TURN * z), TURN * layer(z))


@pytest.mark.parametrize("window", [(5, 0), (3, 2), (17, 30)])
def test_only_frames_in_the_window_matter(window):
    left, right = window
    layer = make("time", window)
    z = complex_randn(1, 4, 2, 90)
    base = layer(z)
    for place in (0, 15, 16, 44, 89):
        changed = z.clone()
        changed[..., place] += 100.0
        moved = (layer(changed) - base).abs().amax((0, 1, 2)).gt(1e-9).nonzero().flatten()
        assert moved.min() == max(0, place - right) and moved.max() == min(89, place + left)


def test_chunks_with_context_equal_the_whole():
    left, right = 6, 3
    layer = make("time", (left, right))
    z = complex_randn(1, 4, 2, 70)
    whole = layer(z)
    padded = torch.nn.functional.pad(z, (left, right))  # zero frames are what is outside
    step = 23
    for start in range(0, 70, step):
        stop = min(start + step, 70)
        chunk = layer(padded[..., start : stop + left + right])[..., left : left + stop - start]
        torch.testing.assert_close(chunk, whole[..., start:stop])


def test_frequency_attention_keeps_frames_apart():
    layer = make("frequency", None)
    z = complex_randn(1, 4, 5, 6)
    torch.testing.assert_close(layer(z[..., 2:3]), layer(z)[..., 2:3])


def test_time_attention_is_the_one_row_case():
    layer = TimeAttention(4, 2, (3, 3)).double()
    z = complex_randn(2, 4, 20)
    torch.testing.assert_close(layer(z)[:, :, None], layer.attention(z[:, :, None]))


def test_splitting_many_sequences_changes_nothing(monkeypatch):
    z = complex_randn(3, 4, 5, 40)
    for layer in (make("time", (4, 2)), make("frequency", None)):
        whole = layer(z)
        monkeypatch.setattr(attention_module, "_MAX_BATCH", 7)
        torch.testing.assert_close(layer(z), whole)
        monkeypatch.undo()


@pytest.mark.parametrize(("axis", "window"), [("frequency", None), ("time", (5, 2))])
@pytest.mark.parametrize("level", [0.0, 1e-8, 1e4])
@pytest.mark.parametrize("frames", [1, 33])
def test_finite(axis, window, level, frames):
    layer = make(axis, window).float()
    z = complex_randn(1, 4, 3, frames, dtype=torch.complex64)
    for x in (to_planar(z), to_planar(z.real + 0j)):
        x = (level * x).requires_grad_()
        y = layer(x)
        y.sum().backward()
        assert x.grad is not None
        assert y.isfinite().all() and x.grad.isfinite().all()
        for p in layer.parameters():
            assert p.grad is not None and p.grad.isfinite().all()


def test_zero_init_and_bf16():
    layer = AxialAttention(4, 2, "time", (5, 2), zero_init=True)
    x = torch.randn(1, 8, 3, 20)
    assert layer(x).eq(0).all()
    torch.nn.init.normal_(layer.project.weight)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    torch.testing.assert_close(y.float(), layer(x), atol=0.1, rtol=0.05)


def test_memory_grows_linearly():
    """No T x T matrix: 20000 frames would need 3.2 GB for the scores of one head in float64."""
    layer = AxialAttention(1, 1, "time", (8, 8))
    y = layer(torch.randn(1, 2, 1, 20000))
    assert to_complex(y).shape == (1, 1, 1, 20000)


def test_errors():
    with pytest.raises(ValueError, match="multiple of heads"):
        AxialAttention(4, 3, "time")
    with pytest.raises(ValueError, match="axis"):
        AxialAttention(4, 2, "depth")
    with pytest.raises(ValueError, match="window"):
        AxialAttention(4, 2, "time", (-1, 2))
