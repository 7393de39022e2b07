"""Ours against diffusers' KL autoencoder with the same weights."""

from __future__ import annotations

import pytest
import torch

from unnoise.checkpoints import layouts
from unnoise.errors import InputError
from unnoise.networks.vae import AutoEncoder, AutoEncoderConfig

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.parity

MINIATURE = AutoEncoderConfig(widths=(32, 64, 64), blocks=1)


def their_class(config):
    levels = len(config.widths)
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.widths,
        layers_per_block=config.blocks,
        latent_channels=config.latent_channels,
        use_quant_conv=config.quant,
        use_post_quant_conv=config.quant,
        mid_block_add_attention=config.attention,
    ).eval()


def pair(config):
    torch.manual_seed(0)
    theirs = their_class(config)
    for tensor in theirs.parameters():  # norms begin as ones, biases as zeros: make every number count
        tensor.data += 0.1 * torch.randn(tensor.shape)
    ours = AutoEncoder(config).eval()
    fill(ours, layouts.autoencoder.diffusers(), theirs.state_dict())
    return ours, theirs


def fill(ours, layout, theirs):
    left = dict(theirs)
    for name, tensor in ours.state_dict().items():
        layouts.pour(layout.source(name), tensor, left.pop)
    assert not left


def assert_agree(ours, theirs, bound=1e-5):
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= bound * max(1.0, float(theirs.abs().max()))


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "changes",
    [{}, {"quant": False, "latent_channels": 16}, {"attention": False}],
    ids=["sd", "without quant", "without attention"],
)
@torch.no_grad()
def test_both_ways_compute_the_same(changes):
    ours, theirs = pair(AutoEncoderConfig(**(MINIATURE.to_dict() | {"widths": (32, 64, 64)} | changes)))
    pictures, latents = noise(2, 3, 24, 32), noise(2, ours.config.latent_channels, 6, 8)
    encoded = theirs.encode(pictures).latent_dist
    assert_agree(ours.encode(pictures).mean, encoded.mean)
    assert_agree(ours.encode(pictures).log_variance, encoded.logvar)
    assert_agree(ours.decode(latents), theirs.decode(latents).sample)


@torch.no_grad()
def test_a_drawn_latent_is_the_mean_and_its_deviation():
    ours, theirs = pair(MINIATURE)
    encoded = ours.encode(noise(1, 3, 8, 8))
    assert torch.equal(encoded.sample(torch.zeros_like(encoded.mean)), encoded.mean)
    deviation = encoded.sample(torch.ones_like(encoded.mean)) - encoded.mean
    assert_agree(deviation, theirs.encode(noise(1, 3, 8, 8)).latent_dist.std)


@torch.no_grad()
def test_the_log_variance_is_held_as_in_training():
    ours, _ = pair(MINIATURE)
    ours.encoder.conv_out.bias += 1000.0
    assert float(ours.encode(noise(1, 3, 8, 8)).log_variance.max()) == 20.0


def test_full_size_has_the_published_names_shapes_and_count():
    with torch.device("meta"):
        ours, theirs = AutoEncoder(AutoEncoderConfig()), their_class(AutoEncoderConfig())
    shapes = {name: tuple(tensor.shape) for name, tensor in ours.state_dict().items()}
    assert layouts.autoencoder.diffusers().shapes(shapes) == {
        name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()
    }
    assert sum(p.numel() for p in ours.parameters()) == 83_653_863


def test_units_of_the_diffusion_come_back_exactly_to_rounding():
    ours = AutoEncoder(AutoEncoderConfig(widths=(32,), shift=0.1))
    latents = noise(1, 4, 2, 2)
    assert_agree(ours.unscaled(ours.scaled(latents)), latents, 1e-6)


def test_a_size_that_cannot_be_halved_is_refused_by_name():
    ours = AutoEncoder(MINIATURE)
    with pytest.raises(InputError, match="multiples of 4"):
        ours.encode(torch.zeros(1, 3, 10, 8))
    with pytest.raises(InputError, match=r"give \(batch, 4, height, width\)"):
        ours.decode(torch.zeros(1, 3, 8, 8))


def test_the_configuration_comes_back_from_plain_values():
    assert AutoEncoderConfig.from_dict(MINIATURE.to_dict()) == MINIATURE
    with pytest.raises(InputError, match="'depth' is not a setting"):
        AutoEncoderConfig.from_dict({"depth": 3})


@torch.no_grad()
def test_bfloat16_stays_near_float32():
    ours, _ = pair(MINIATURE)
    latents = noise(1, 4, 8, 8)
    exact = ours.decode(latents)
    rough = ours.bfloat16().decode(latents)
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() / exact.norm() < 0.05
