"""Ours against diffusers' UNets with the same weights: shapes and conventions of every lineage agree."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from unnoise.networks.unet import UNet, UNetConfig, published

diffusers = pytest.importorskip("diffusers")
our_weights = runpy.run_path(str(Path(__file__).with_name("diffusers_unet.py")))["our_weights"]

pytestmark = pytest.mark.parity

DDPM_CIFAR10 = {
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
SD_DOWN = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
SD_UP = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
SD = {"down_block_types": SD_DOWN, "up_block_types": SD_UP}


def build(kind, **settings):
    """diffusers warns of its own internals while building; that is not ours to fail on."""
    torch.manual_seed(0)
    return getattr(diffusers, kind)(**settings).eval()


def with_weights_of(theirs, config):
    """Ours with their weights; the norms' and biases' first values (ones and zeros) are drawn anew to count."""
    generator = torch.Generator().manual_seed(1)
    for tensor in theirs.parameters():
        if tensor.ndim == 1:
            tensor.data += 0.2 * torch.randn(tensor.shape, generator=generator)
    with torch.device("meta"):
        ours = UNet(config)
    ours.load_state_dict(our_weights(theirs.state_dict()), assign=True)
    return ours.eval()


def noise(*shape, seed=2):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_agree(ours, theirs, bound=1e-5):
    """Within rounding of float32, at the scale of the values."""
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= bound * max(1.0, float(theirs.abs().max()))


@torch.no_grad()
def assert_same_function(theirs, config, size=16, **conditioning):
    ours = with_weights_of(theirs, config)
    x, time = noise(2, config.in_channels, size, size), torch.tensor([3.0, 977.0])
    assert_agree(
        ours(x, time, **conditioning).sample, theirs(x, time, *conditioning_of_theirs(conditioning)).sample
    )


def conditioning_of_theirs(conditioning):
    return [conditioning[name] for name in ("text", "labels") if name in conditioning]


@torch.no_grad()
def test_ddpm_cifar10_at_full_size_computes_the_same():
    theirs = build("UNet2DModel", **DDPM_CIFAR10)
    assert sum(p.numel() for p in theirs.parameters()) == 35_746_307
    assert_same_function(theirs, published.ddpm_cifar10(), size=32)


@torch.no_grad()
def test_adm_in_miniature_computes_the_same():
    theirs = build(
        "UNet2DModel",
        out_channels=6,
        block_out_channels=(32, 64, 96),
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        attention_head_dim=16,
        attn_norm_num_groups=32,
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        num_class_embeds=10,
    )
    config = UNetConfig(
        out_channels=6,
        widths=(32, 64, 96),
        attention=(0, 1, 1),
        head_width=16,
        scale_shift=True,
        resample="residual",
        classes=10,
    )
    assert_same_function(theirs, config, labels=torch.tensor([3, 9]))


@pytest.mark.parametrize("generation", [1, 2])
def test_stable_diffusion_in_miniature_computes_the_same(generation):
    heads = {"heads": 4} if generation == 1 else {"head_width": 16}
    theirs = build(
        "UNet2DConditionModel",
        **SD,
        block_out_channels=(32, 64, 96, 96),
        # In this class the setting named as a width is the number of heads, one entry per level where it varies.
        attention_head_dim=4 if generation == 1 else (2, 4, 6, 6),
        cross_attention_dim=24,
        use_linear_projection=generation == 2,
    )
    config = UNetConfig(
        in_channels=4, out_channels=4, widths=(32, 64, 96, 96), attention=(1, 1, 1, 0), text_width=24, **heads
    )
    assert_same_function(theirs, config, text=noise(2, 7, 24, seed=3))


@torch.no_grad()
def test_stable_diffusion_xl_in_miniature_computes_the_same():
    theirs = build(
        "UNet2DConditionModel",
        block_out_channels=(32, 64, 96),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4, 6),
        transformer_layers_per_block=(1, 2, 3),
        cross_attention_dim=24,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 20,
    )
    config = UNetConfig(
        in_channels=4,
        out_channels=4,
        widths=(32, 64, 96),
        attention=(0, 2, 3),
        mid_attention=3,
        head_width=16,
        text_width=24,
        pooled_width=6 * 8 + 20,
    )
    ours = with_weights_of(theirs, config)
    x, text, pooled, time = noise(2, 4, 16, 16), noise(2, 7, 24), noise(2, 20), torch.tensor([3.0, 977.0])
    ids = torch.tensor([[16.0, 16, 0, 0, 16, 16], [32, 16, 4, 8, 32, 16]])
    added = {"text_embeds": pooled, "time_ids": ids}
    both = torch.cat((pooled, theirs.add_time_proj(ids.flatten()).reshape(2, -1)), dim=1)
    assert_agree(
        ours(x, time, text, pooled=both).sample, theirs(x, time, text, added_cond_kwargs=added).sample
    )


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(9, 16), (13, 22), (18, 21)])
def test_sizes_that_cannot_be_halved_without_a_rest_compute_the_same(height, width):
    theirs = build("UNet2DConditionModel", **SD, block_out_channels=(32, 32, 32, 32), cross_attention_dim=24)
    config = UNetConfig(
        in_channels=4, out_channels=4, widths=(32, 32, 32, 32), attention=(1, 1, 1, 0), heads=8, text_width=24
    )
    ours = with_weights_of(theirs, config)
    x, text, time = noise(2, 4, height, width), noise(2, 7, 24), torch.tensor([3.0, 977.0])
    assert_agree(ours(x, time, text).sample, theirs(x, time, text).sample)


@torch.no_grad()
def test_a_mask_over_the_text_means_the_same():
    theirs = build("UNet2DConditionModel", **SD, block_out_channels=(32, 32, 32, 32), cross_attention_dim=24)
    config = UNetConfig(
        in_channels=4, out_channels=4, widths=(32, 32, 32, 32), attention=(1, 1, 1, 0), heads=8, text_width=24
    )
    ours = with_weights_of(theirs, config)
    x, text, time = noise(2, 4, 16, 16), noise(2, 7, 24), torch.tensor([3.0, 977.0])
    mask = torch.arange(7) < torch.tensor([[3], [7]])
    assert_agree(ours(x, time, text, mask).sample, theirs(x, time, text, encoder_attention_mask=mask).sample)


@pytest.mark.parametrize(
    ("settings", "config", "parameters"),
    [
        ({"attention_head_dim": 8, "cross_attention_dim": 768}, published.stable_diffusion_1(), 859_520_964),
        (
            {
                "attention_head_dim": (5, 10, 20, 20),
                "cross_attention_dim": 1024,
                "use_linear_projection": True,
            },
            published.stable_diffusion_2(),
            865_910_724,
        ),
        (
            {
                "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                "block_out_channels": (320, 640, 1280),
                "attention_head_dim": (5, 10, 20),
                "transformer_layers_per_block": (1, 2, 10),
                "cross_attention_dim": 2048,
                "use_linear_projection": True,
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 2816,
            },
            published.stable_diffusion_xl(),
            2_567_463_684,
        ),
    ],
    ids=["sd1", "sd2", "sdxl"],
)
def test_published_key_lists_and_shapes_are_covered_exactly(settings, config, parameters):
    with torch.device("meta"):
        theirs = diffusers.UNet2DConditionModel(**{**SD, **settings})
        ours = UNet(config)
    mapped = our_weights(theirs.state_dict())
    assert {name: tensor.shape for name, tensor in mapped.items()} == {
        name: tensor.shape for name, tensor in ours.state_dict().items()
    }
    assert sum(p.numel() for p in ours.parameters()) == parameters
