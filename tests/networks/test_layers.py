"""Layers that keep less, and one pixel's convolution by another kernel, compute what the plain ones do."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unnoise.networks.unet.layers import Convolution, TokenLinear, Unlearned, convolved
from unnoise.networks.unet.transformer import FeedForward, Gated

LARGE = (2, 64, 64, 64)  # numbers enough for the functions that keep less


def kept(function, *arguments):
    """What the function keeps for its gradient."""
    found = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: found.append(tensor) or tensor, lambda t: t):
        out = function(*arguments)
    return out, found


@pytest.mark.parametrize("stride", [1, 2])
def test_the_gradient_past_weights_that_do_not_learn(stride):
    torch.manual_seed(0)
    x, weight = torch.randn(1, 3, 6, 6).double().requires_grad_(), torch.randn(4, 3, 3, 3).double()
    geometry = [stride, stride], [1, 1], [1, 1]
    assert torch.autograd.gradcheck(
        lambda given: Unlearned.apply(given, weight, None, *geometry), x, check_batched_grad=True
    )
    assert torch.autograd.gradgradcheck(lambda given: Unlearned.apply(given, weight, None, *geometry), x)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_that_does_not_learn_keeps_its_weights_alone(order):
    torch.manual_seed(0)
    layer = Convolution(64, 32, 3, padding=1)
    plain = nn.Conv2d(64, 32, 3, padding=1)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(LARGE).to(memory_format=order).requires_grad_()
    out, learning = kept(layer, x)
    wanted = torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])
    assert any(tensor.shape == x.shape for tensor in learning)
    out, still = kept(layer.requires_grad_(False), x)
    assert not any(tensor.shape == x.shape for tensor in still)
    torch.testing.assert_close(out, plain(x), atol=1e-5, rtol=1e-5)
    (found,) = torch.autograd.grad(out.square().sum(), x)
    torch.testing.assert_close(found, wanted[0], atol=1e-4, rtol=1e-5)
    assert found.is_contiguous(memory_format=order)


def test_a_bias_that_learns_alone_still_learns():
    layer = Convolution(64, 8, 1)
    layer.weight.requires_grad_(False)
    x = torch.randn(LARGE, requires_grad=True)
    layer(x).sum().backward()
    assert layer.bias.grad is not None
    torch.testing.assert_close(layer.bias.grad, torch.full((8,), 2.0 * 64 * 64))


def test_a_gate_keeps_what_it_was_given_alone():
    torch.manual_seed(0)
    both = torch.randn(2, 3, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(Gated.apply, both, check_batched_grad=True)
    layer = FeedForward(32).requires_grad_(False)
    x = torch.randn(1, 4096, 32, requires_grad=True)
    out, found = kept(lambda x: layer(x, torch.zeros_like(x)), x)
    assert sum(tensor.numel() for tensor in found if tensor.ndim == 3) == 4096 * 2 * 4 * 32
    value, gate = F.linear(x, layer.gated.weight, layer.gated.bias).chunk(2, dim=-1)
    plain = F.linear(F.gelu(gate) * value, layer.out.weight, layer.out.bias)
    torch.testing.assert_close(out, plain, atol=1e-5, rtol=1e-5)
    one, other = (torch.autograd.grad(each.square().sum(), x)[0] for each in (out, plain))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1, 8, 4, 4), (1, 32, 32, 32), (3, 8, 5, 7)])
def test_one_pixel_is_convolved_the_same_by_any_number_of_threads(threads, shape):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        weight, bias = torch.randn(6, shape[1], 1, 1, requires_grad=True), torch.randn(6, requires_grad=True)
        x = torch.randn(shape, requires_grad=True)
        found = convolved(x, weight, bias)
        wanted = torch.einsum("bchw,oc->bohw", x, weight[:, :, 0, 0]) + bias[:, None, None]
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        for one, other in zip(
            *(torch.autograd.grad(out.square().sum(), (x, weight, bias)) for out in (found, wanted)),
            strict=True,
        ):
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)
    finally:
        torch.set_num_threads(before)


def test_tokens_of_a_layer_that_does_not_learn():
    torch.manual_seed(0)
    layer, x = TokenLinear(128, 8).requires_grad_(False), torch.randn(2, 2048, 128, requires_grad=True)
    (found,) = torch.autograd.grad(layer(x).square().sum(), x)
    (wanted,) = torch.autograd.grad(F.linear(x, layer.weight, layer.bias).square().sum(), x)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
