"""Products that add and multiply as they are written are the plain steps, rounded less often."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unnoise.networks.hardware import has_kernels
from unnoise.networks.unet.attention import attend
from unnoise.networks.unet.layers import Convolution, TokenLinear, added, convolved, fuses
from unnoise.networks.unet.transformer import FeedForward

ROUNDED = 2**-8
"""Half of the distance between two bfloat16 numbers around one, and so the largest relative error of a rounding."""


def near(made, wanted, roundings):
    """Each number within so many roundings of the largest."""
    assert (made.double() - wanted).abs().max() <= roundings * ROUNDED * wanted.abs().max()


@pytest.fixture
def tokens():
    torch.manual_seed(0)
    return torch.randn(2, 24, 64).bfloat16(), torch.randn(2, 24, 64).bfloat16()


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_added_to_a_map_is_rounded_once(tokens, bias):
    x, onto = tokens
    layer = TokenLinear(64, 64, bias=bias).bfloat16()
    before = onto.clone()
    shift = layer.bias.double() if bias else 0.0
    wanted = x.double() @ layer.weight.double().T + shift
    near(layer(x), wanted, 1)
    near(added(layer, x, onto), wanted + onto.double(), 1)
    assert torch.equal(onto, before)  # it may be a skip
    strided = torch.randn(2, 64, 24).bfloat16().transpose(1, 2)
    near(
        added(layer, strided, onto[:, :24]),
        strided.double() @ layer.weight.double().T + shift + onto.double(),
        1,
    )


@torch.inference_mode()
def test_a_gated_layer_is_its_definition(tokens):
    x, onto = tokens
    layer = FeedForward(64).bfloat16()
    value, gate = F.linear(x.double(), layer.gated.weight.double(), layer.gated.bias.double()).chunk(
        2, dim=-1
    )
    between = value * F.gelu(gate)
    wanted = F.linear(between, layer.out.weight.double(), layer.out.bias.double()) + onto.double()
    near(layer(x, onto), wanted, 2)


@pytest.mark.skipif(not has_kernels(torch.bfloat16), reason="no bfloat16 here")
@pytest.mark.parametrize("which", ["pre", "after"])
def test_who_watches_a_layer_sees_what_it_is_given_and_gives(tokens, which):
    x, onto = tokens
    layer, seen = FeedForward(64).bfloat16(), []
    for one in (layer.gated, layer.out):
        if which == "pre":
            one.register_forward_pre_hook(lambda module, given: seen.append(module))
        else:
            one.register_forward_hook(lambda module, given, made: seen.append(module))
    with torch.inference_mode():
        assert fuses(x)
        layer(x, onto)
    assert seen == [layer.gated, layer.out]


def test_another_layer_in_its_place_is_asked(tokens):
    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

    x, onto = tokens
    with torch.inference_mode():
        near(added(Doubled(), x, onto), 2 * x.double() + onto.double(), 2)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # of torch's own derivatives
def test_a_forward_derivative_goes_through_plain_steps(tokens):
    """Without a gradient, but not in inference mode, derivatives may go forward."""
    x, onto = tokens
    layer, along = FeedForward(64).bfloat16().requires_grad_(False), torch.randn_like(x)
    with torch.no_grad():
        _, found = torch.func.jvp(lambda x: layer(x, onto), (x,), (along,))
        exact = FeedForward(64).double()
        exact.load_state_dict(layer.state_dict())
        _, wanted = torch.func.jvp(lambda x: exact(x, onto.double()), (x.double(),), (along.double(),))
    assert wanted.abs().max() > 0.1
    near(found, wanted, 4)


@torch.inference_mode()
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("batch", "size"), [(1, (1, 1)), (2, (3, 5)), (2, (16, 16)), (3, (16, 16))])
def test_a_convolution_over_few_pixels_is_a_convolution(batch, size, order):
    """The last is over more pixels than are taken at once."""
    torch.manual_seed(0)
    layer = Convolution(512, 16, 3, padding=1).bfloat16().to(memory_format=order)
    x = torch.randn(batch, 512, *size).bfloat16().contiguous(memory_format=order)
    made = layer(x)
    assert made.is_contiguous(memory_format=torch.channels_last) or order == torch.contiguous_format
    near(made, F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1), 1)
    strided = convolved(x, layer.weight, layer.bias, (2, 2), (1, 1))
    near(strided, F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), 2, 1), 1)


@torch.inference_mode()
@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("mask", ["none", "read", "numbers"])
@pytest.mark.parametrize("keys", [16, 21])
def test_keys_that_fill_a_register_are_not_read(monkeypatch, tiles, mask, keys):
    monkeypatch.setattr("unnoise.networks.unet.attention.multiplies_tiles", lambda: tiles)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8).bfloat16() for n in (40, keys, keys))
    k = k - 3 * q.mean(2, keepdim=True)  # a key of zeros would be the most alike
    masks = {
        "none": None,
        "read": torch.arange(keys).view(1, 1, 1, keys) < torch.tensor([5, keys]).view(2, 1, 1, 1),
        "numbers": torch.randn(2, 1, 1, keys).bfloat16(),
    }
    given = masks[mask]
    exact = given.double() if mask == "numbers" else given
    wanted = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), attn_mask=exact)
    near(attend(q, k, v, given), wanted.transpose(1, 2).flatten(2), 3)
    one = F.scaled_dot_product_attention(q.double(), k[:1].double(), v[:1].double())
    near(attend(q, k[:1], v[:1]), one.transpose(1, 2).flatten(2), 3)
