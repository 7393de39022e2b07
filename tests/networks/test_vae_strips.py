"""Decoding in strips is the whole decoder: the same numbers, however thin the strips."""

import pytest
import torch

from unnoise.networks.unet.norm import GroupNorm
from unnoise.networks.vae import AutoEncoder, AutoEncoderConfig
from unnoise.networks.vae_strips import decode_in_strips


def autoencoder(**changes):
    torch.manual_seed(0)
    made = AutoEncoder(AutoEncoderConfig(**{"widths": (8, 16, 16), "norm_groups": 4, "blocks": 1, **changes}))
    for tensor in made.eval().requires_grad_(False).parameters():
        if tensor.ndim == 1:  # norms begin as ones and biases as zeros: make every number count
            tensor.add_(0.2 * torch.randn(tensor.shape))
    return made


@pytest.fixture(scope="module")
def latents():
    made = torch.randn((2, 4, 21, 13), generator=torch.Generator().manual_seed(1))
    made[:, :, :10] = 2.0 * made[:, :, :10] + 1.0  # a strip's own statistics are not the picture's
    return made


def apart(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("pixels", [1, 1000, 10_000, 10**9])
@pytest.mark.parametrize("changes", [{}, {"widths": (8, 8), "blocks": 2}, {"widths": (8,), "quant": False}])
def test_strips_are_the_whole_decoder(latents, changes, pixels):
    model = autoencoder(**changes)
    whole = model.decode(latents)
    made = decode_in_strips(model, latents, pixels)
    assert made.shape == whole.shape
    assert apart(made, whole) <= 2e-5


def test_without_shared_statistics_strips_would_show(latents):
    """What the test above guards against, seen by the same measure."""
    model = autoencoder()
    apiece = torch.cat([model.decode(part) for part in latents.split(7, dim=2)], dim=2)
    assert apart(apiece, model.decode(latents)) > 0.1


def test_half_precision_keeps_its_own_error(latents):
    model = autoencoder()
    exact = model.decode(latents)
    model.bfloat16()
    assert apart(decode_in_strips(model, latents, 1000), exact) <= 2.0 * apart(model.decode(latents), exact)


def test_given_the_statistics_a_norm_is_the_norm():
    norm = GroupNorm(4, 16, 1e-6)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 16, 5, 7) * 3 + 1
    parts = x.double().reshape(2, 4, -1)
    made = norm.by(x, parts.mean(dim=2), parts.var(dim=2, correction=0))
    assert torch.allclose(made, norm(x), atol=1e-5)
