"""Faster kernels compute what the plain ones do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unnoise.networks import fast_dtype
from unnoise.networks.hardware import has_kernels
from unnoise.networks.unet import layers
from unnoise.networks.unet import norm as norms
from unnoise.networks.unet.attention import (
    attend,
    batched_is_faster,
    blocks_are_faster,
    in_blocks,
    tiles_are_faster,
)
from unnoise.networks.unet.layers import Convolution, Linear, TokenLinear
from unnoise.networks.unet.norm import GroupNorm
from unnoise.networks.unet.phases import Phases
from unnoise.networks.unet.residual import Upsample, double

LAYERS = {
    "3x3": (lambda: Convolution(16, 24, 3, padding=1), (2, 16, 8, 8)),
    "1x1": (lambda: Convolution(16, 24, 1, bias=False), (2, 16, 8, 8)),
    "half": (lambda: Convolution(16, 24, 3, stride=2), (2, 16, 9, 9)),
    "linear": (lambda: Linear(16, 24), (2, 16)),
    "tokens": (lambda: TokenLinear(16, 24, bias=False), (2, 5, 16)),
}


@pytest.mark.skipif(not has_kernels(torch.bfloat16), reason="no kernel reads such a layout here")
@pytest.mark.parametrize("kind", LAYERS)
def test_a_weight_that_is_laid_out_once_computes_the_same_and_follows_its_changes(kind):
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    layer, x = make().bfloat16().requires_grad_(False), torch.randn(shape).bfloat16()
    if x.ndim == 4:  # as all maps of our networks are
        x = x.contiguous(memory_format=torch.channels_last)

    def kept_and_plain(layer):
        with torch.inference_mode():
            kept = layer(x)
        return kept, layer(x)

    def agree(layer):
        kept, plain = kept_and_plain(layer)
        torch.testing.assert_close(kept, plain, atol=2e-2, rtol=2e-2)
        assert kept.stride() == plain.stride()

    agree(layer)
    assert layer._kept._known is not None
    layer.weight.mul_(2.0)
    agree(layer)
    layer.weight = nn.Parameter(layer.weight * 3.0, requires_grad=False)
    agree(layer)
    twin = copy.deepcopy(layer)
    twin.weight.neg_()
    agree(twin)
    agree(layer)
    assert set(layer.state_dict()) <= {"weight", "bias"}


@pytest.mark.skipif(not has_kernels(torch.bfloat16), reason="no kernel reads such a layout here")
def test_large_weights_and_those_that_do_not_tell_of_changes_are_not_kept(monkeypatch):
    monkeypatch.setattr(layers, "_LIGHT", {"linear": 100, "convolution": 100})
    for make, shape in LAYERS.values():
        layer, x = make().bfloat16(), torch.randn(shape).bfloat16()
        with torch.inference_mode():
            layer(x)
        assert layer._kept._known is None
    monkeypatch.undo()
    with torch.inference_mode():
        for make, shape in LAYERS.values():
            layer, x = make().bfloat16(), torch.randn(shape).bfloat16()
            before = layer(x)
            layer.weight.mul_(2.0)
            assert not torch.equal(layer(x), before)


@pytest.mark.parametrize("masked", [False, True])
def test_batched_attention_agrees_with_the_definition(masked):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 64, 16)
    mask = torch.arange(64).view(1, 1, 1, 64) < torch.tensor([10, 64]).view(2, 1, 1, 1) if masked else None
    rounded = [t.bfloat16() for t in (q, k, v)]
    assert batched_is_faster(*rounded[:2])
    expected = F.scaled_dot_product_attention(*(t.double() for t in rounded), attn_mask=mask)
    ours = attend(*rounded, mask).double()
    wanted = expected.transpose(1, 2).flatten(2)
    assert (ours - wanted).norm() < 1e-2 * wanted.norm()  # bfloat16 keeps 8 bits


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "scores", [1, 40 * 7, 40 * 64 * 3, 2**20]
)  # rows, some rows, some heads, all at once
def test_attention_in_blocks_agrees_with_the_definition(masked, scores):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 5, n, 16).bfloat16() for n in (64, 40, 40))
    mask = torch.arange(40).view(1, 1, 1, 40) < torch.tensor([10, 40]).view(2, 1, 1, 1) if masked else None
    wanted = F.scaled_dot_product_attention(*(t.double() for t in (q, k, v)), attn_mask=mask)
    wanted = wanted.transpose(1, 2).flatten(2)
    ours = in_blocks(q, k, v, mask, scores).double()
    assert (ours - wanted).norm() < 1e-2 * wanted.norm()
    assert torch.equal(ours, in_blocks(q, k, v, mask).double())  # the size of a block changes nothing


@torch.no_grad()
@pytest.mark.parametrize("tiles", [False, True])
def test_many_scores_in_bfloat16_are_taken_in_blocks_but_where_the_processor_has_tiles(monkeypatch, tiles):
    monkeypatch.setattr("unnoise.networks.unet.attention.multiplies_tiles", lambda: tiles)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 1024, 16).bfloat16()
    assert tiles_are_faster(q) is tiles
    assert blocks_are_faster(q, k)
    wanted = F.scaled_dot_product_attention(q.double(), k.double(), v.double()).transpose(1, 2).flatten(2)
    assert (attend(q, k, v).double() - wanted).norm() < 1e-2 * wanted.norm()


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (6, 3)])
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 1e-6), (torch.bfloat16, 6e-3)]
)
def test_the_four_phases_are_the_convolution_of_the_doubled_map(height, width, dtype, bound):
    """For other sizes too than that for which the sums were laid out; bounds are of rounding."""
    torch.manual_seed(0)
    weight, bias, phases = torch.randn(7, 5, 3, 3).to(dtype), torch.randn(7).to(dtype), Phases()
    for size in ((height, width), (2 * height, 3 * width)):
        x = torch.randn(2, 5, *size).to(dtype)
        expected = F.conv2d(double(x).double(), weight.double(), bias.double(), padding=1)
        assert (phases(x, weight, bias) - expected).norm() <= bound * expected.norm()


@torch.no_grad()
def test_a_wide_upsampling_takes_its_phases_and_follows_its_weights():
    torch.manual_seed(0)
    layer, x = Upsample(192).requires_grad_(False), torch.randn(1, 192, 2, 3)
    assert layer.phases.are_faster(x, layer.conv.weight)

    def plain(one):
        return one.conv(double(x))

    torch.testing.assert_close(layer(x), plain(layer), atol=1e-5, rtol=1e-5)
    layer.conv.weight.mul_(2.0)
    torch.testing.assert_close(layer(x), plain(layer), atol=1e-5, rtol=1e-5)
    other = copy.deepcopy(layer)
    other.conv.weight = torch.nn.Parameter(-layer.conv.weight, requires_grad=False)
    torch.testing.assert_close(other(x), plain(other), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer(x), plain(layer), atol=1e-5, rtol=1e-5)
    with (
        torch.enable_grad()
    ):  # the sums are smaller than this map for none, and for weights that stay never made
        assert not layer.phases.are_faster(x, layer.conv.weight)
        assert not layer.phases.are_faster(x, layer.conv.weight.clone().requires_grad_())


@pytest.mark.parametrize("bias", [True, False])
def test_the_phases_have_the_gradients_of_the_convolution_of_the_doubled_map(bias):
    torch.manual_seed(0)
    given = [torch.randn(2, 5, 3, 4), torch.randn(7, 5, 3, 3), *([torch.randn(7)] if bias else [])]
    given = [one.double().requires_grad_() for one in given]

    def phases(x, weight, bias=None):
        return Phases()(x, weight, bias)

    def plain(x, weight, bias=None):
        return F.conv2d(double(x), weight, bias, padding=1)

    out, expected = phases(*given), plain(*given)
    grad = torch.randn(out.shape).double()
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=1e-12)
    for ours, wanted in zip(
        torch.autograd.grad(out, given, grad), torch.autograd.grad(expected, given, grad), strict=True
    ):
        torch.testing.assert_close(ours, wanted, atol=1e-12, rtol=1e-12)
    small = [one.detach()[:1, :1].requires_grad_() if one.ndim == 4 else one[:1] for one in given]
    assert torch.autograd.gradgradcheck(phases, tuple(small))


@pytest.mark.parametrize("autocast", [False, True])
def test_a_wide_upsampling_learns_by_its_phases(autocast):
    torch.manual_seed(0)
    layer, x = Upsample(192), torch.randn(4, 192, 14, 14, requires_grad=True)
    assert layer.phases.are_faster(x, layer.conv.weight)
    wide = copy.deepcopy(layer).double()
    grad = torch.randn(4, 192, 28, 28)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = layer(x)
    assert out.dtype == (torch.bfloat16 if autocast else torch.float32)
    found = torch.autograd.grad(out, [x, *layer.parameters()], grad.to(out.dtype))
    y = x.detach().double().requires_grad_()
    wanted = torch.autograd.grad(wide.conv(double(y)), [y, *wide.parameters()], grad.double())
    bound = 1e-2 if autocast else 1e-5
    for ours, exact in zip(found, wanted, strict=True):
        assert (ours.double() - exact).norm() < bound * exact.norm()


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("size", [4, 32])
@pytest.mark.parametrize("width", [32, 256])
def test_group_norm_in_bfloat16_agrees_with_float64_and_so_do_its_gradients(size, width, active, monkeypatch):
    monkeypatch.setattr(norms, "_PIECE", 32 * 32 * 32)  # one picture at a time, or all
    torch.manual_seed(0)
    norm = GroupNorm(8, width)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, width, size, size).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    grad = torch.randn(x.shape).bfloat16()
    reference = torch.nn.GroupNorm(8, width).double()
    reference.load_state_dict(norm.state_dict())
    x64 = x.detach().double().requires_grad_()
    out, expected = norm.activated(x) if active else norm(x), reference(x64)
    expected = F.silu(expected) if active else expected
    out.backward(grad)
    expected.backward(grad.double())
    assert out.dtype == torch.bfloat16
    pairs = [(out, expected), (x.grad, x64.grad), (norm.weight.grad, reference.weight.grad)]
    for ours, wanted in [*pairs, (norm.bias.grad, reference.bias.grad)]:
        assert (ours.double() - wanted).norm() < 1e-2 * wanted.norm()


def test_a_norm_that_learns_keeps_its_input_and_nothing_else():
    norm, x = (
        GroupNorm(8, 32),
        torch.randn(2, 32, 8, 8).bfloat16().contiguous(memory_format=torch.channels_last),
    )
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        norm.activated(x.requires_grad_())
    maps = [t for t in kept if t.ndim == 4]
    assert [t.data_ptr() for t in maps] == [x.data_ptr()]


@pytest.mark.parametrize("tiles", [False, True])
def test_a_linear_layer_over_tokens_is_a_linear_layer(monkeypatch, tiles):
    monkeypatch.setattr("unnoise.networks.unet.layers.multiplies_tiles", lambda: tiles)
    torch.manual_seed(0)
    layer, x = TokenLinear(24, 40), torch.randn(2, 9, 24, requires_grad=True)
    for given in (x, x[:, ::2], x[:, :1]):
        torch.testing.assert_close(
            layer(given), F.linear(given, layer.weight, layer.bias), atol=1e-5, rtol=1e-5
        )
    assert torch.autograd.gradcheck(layer.double(), x.double())


def test_float16_is_never_the_fast_dtype():
    assert fast_dtype("cpu") in (torch.bfloat16, torch.float32)
    assert fast_dtype("cuda") in (torch.bfloat16, torch.float32)
    assert fast_dtype("meta") == torch.float32


@torch.no_grad()
def test_the_norm_of_a_large_map_is_rounded_once():
    torch.manual_seed(0)
    norm = GroupNorm(4, 16, 1e-6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    # far from zero, so that sums made one by one in float32 show
    x = (3.0 + torch.randn(2, 16, 160, 128)).contiguous(memory_format=torch.channels_last)
    exact = F.group_norm(x.double(), 4, norm.weight.double(), norm.bias.double(), 1e-6)
    made = norm(x)
    assert made.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(made.double(), exact, rtol=1e-6, atol=4e-6)
    plain = F.group_norm(x, 4, norm.weight, norm.bias, 1e-6).double()
    assert (made - exact).abs().max() < 0.5 * (plain - exact).abs().max()
