"""Layers in eight bits: how far from the exact ones they can be, from the steps of their grids alone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unnoise.networks.unet import UNet, UNetConfig
from unnoise.networks.unet.int8 import Rounded, Watch, plain, rounded

LAYERS = {
    "linear": (nn.Linear(12, 7), (5, 9, 12)),
    "convolution": (nn.Conv2d(12, 7, 3, stride=2, padding=1), (5, 12, 6, 8)),
}


def span_of(x):
    rows = x.movedim(1 if x.ndim == 4 else -1, 0).flatten(1)
    return rows.amin(1).clamp_max(0), rows.amax(1).clamp_min(0)


def made(name):
    """A layer with its answer, inputs whose channels differ in size, and the layer in eight bits."""
    torch.manual_seed(0)
    layer, shape = LAYERS[name]
    x = F.silu(torch.randn(shape)) * (
        torch.logspace(-1, 1, 12)[:, None, None] if len(shape) == 4 else torch.logspace(-1, 1, 12)
    )
    exact = layer(x)
    return x, exact, Rounded(copy.deepcopy(layer), span_of(x))


def sums(inner, weight, x):
    """The layer's sums of products, of these weights."""
    if isinstance(inner, nn.Linear):
        return F.linear(x, weight)
    return F.conv2d(x, weight, stride=inner.stride, padding=inner.padding)


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_no_output_is_further_off_than_half_a_step_of_each_product(name):
    x, exact, layer = made(name)
    inner, weight = layer.layer, layer.layer.weight
    scaled = x / (layer.factor[:, None, None] if x.ndim == 4 else layer.factor)
    steps = layer.steps[:, None, None] if x.ndim == 4 else layer.steps
    inputs = sums(inner, weight.abs(), torch.full_like(x, layer.step / 2))
    # the inputs on their grid, at most half a step larger
    weights = sums(inner, torch.ones_like(weight), scaled.abs() + layer.step / 2) * steps / 2
    error = (layer(x) - exact).abs()
    assert (error <= (inputs + weights) * (1 + 1e-5)).all()
    assert 0 < error.square().mean().sqrt() < 0.02 * exact.square().mean().sqrt()


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_zero_stays_zero_and_what_lies_outside_becomes_the_end(name):
    x, _, layer = made(name)
    bias = layer.layer.bias
    zero = layer(torch.zeros_like(x))
    assert torch.allclose(zero, (bias[:, None, None] if x.ndim == 4 else bias).expand_as(zero), atol=1e-6)
    assert torch.equal(layer(x.sign() * 1e4), layer(x.sign() * 1e6))


@torch.no_grad()
def test_a_channel_of_large_numbers_leaves_room_to_the_others():
    """Of equal use to the output, all channels are off by as much; on one grid for x itself the small ones vanish."""
    torch.manual_seed(0)
    x = torch.randn(64, 16) * torch.logspace(-2, 2, 16)
    layer = nn.Linear(16, 8)
    layer.weight /= torch.logspace(-2, 2, 16)
    exact = layer(x)
    low, high = span_of(x)
    error = (Rounded(copy.deepcopy(layer), (low, high))(x) - exact).abs().mean()
    level = torch.fake_quantize_per_tensor_affine(x, float((high.max() - low.min()) / 255), 128, 0, 255)
    assert error < 0.1 * (layer(level) - exact).abs().mean()


def network():
    torch.manual_seed(0)
    config = UNetConfig(widths=(8, 16), blocks=1, attention=(0, 1), heads=2, norm_groups=4, text_width=12)
    made = UNet(config).eval().requires_grad_(False)
    for tensor in made.parameters():
        tensor.copy_(0.3 * torch.randn_like(tensor))
    return made


def asked(unet):
    torch.manual_seed(1)
    x, text = torch.randn(1, 3, 8, 8), torch.randn(2, 4, 12)
    return unet(x, 0.5, text=text).sample


@torch.no_grad()
def test_a_network_is_watched_and_rounded_and_the_given_one_stays_as_it_is():
    unet = network()
    exact, again = asked(unet), plain(unet)
    assert torch.equal(asked(again), exact)
    assert again.conv_in.weight.data_ptr() == unet.conv_in.weight.data_ptr()
    with Watch(again) as watch:
        asked(again)
    spans = watch.spans
    assert not again.conv_in._forward_pre_hooks
    assert {"down_blocks.0.residuals.0.conv1", "mid_block.attention.blocks.0.feed_forward.out"} < set(
        spans.layers
    )
    assert not {"conv_in", "shortcut", "time", "kv", "upsample"} & set(".".join(spans.layers).split("."))
    low, high = spans.layers["down_blocks.0.residuals.0.conv1"]
    assert low.shape == (8,)
    assert (low >= -0.2785).all()  # SiLU has no lower value
    assert (high >= 0).all()
    assert (high > 0).any()
    made = rounded(again, spans)
    error = (asked(made) - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 0 < error < 0.05
    assert torch.equal(asked(unet), exact)
    assert watch.spans.digest == spans.digest
