"""Names of other programs: every tensor once, both ways without loss, and as diffusers' own converters see them."""

from __future__ import annotations

import pytest
import torch

from unnoise.checkpoints import layouts
from unnoise.networks import AutoEncoder, AutoEncoderConfig, TextEncoder, TextEncoderConfig, UNet, UNetConfig
from unnoise.networks.unet import published

UNETS = {
    "sd1": (published.stable_diffusion_1(), False),
    "sd2": (published.stable_diffusion_2(), True),
    "sdxl": (published.stable_diffusion_xl(), True),
    "refiner": (published.stable_diffusion_xl_refiner(), True),
}
TEXTS = {
    "clip_l": (TextEncoderConfig.clip_l(), layouts.text.transformers("cond_stage_model.transformer.")),
    "open_clip_h": (TextEncoderConfig.open_clip_h(), layouts.text.open_clip("cond_stage_model.model.")),
    "big_g": (
        TextEncoderConfig.open_clip_big_g(),
        layouts.text.open_clip("conditioner.embedders.1.model."),
    ),
}


def shapes_of(build, config):
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build(config).state_dict().items()}


def miniatures():
    unet = UNetConfig(
        in_channels=4, out_channels=4, widths=(64, 128), blocks=1, attention=(1, 0), text_width=32, heads=4
    )
    encoder = TextEncoderConfig(vocabulary=50, width=64, layers=2, heads=1, projection=32, end_token=49)
    vae = AutoEncoderConfig(widths=(32, 64), blocks=1)
    return [
        (UNet(unet), layouts.unet.diffusers(False)),
        (UNet(unet), layouts.unet.original(unet, False)),
        (UNet(unet), layouts.unet.original(unet, True)),
        (AutoEncoder(vae), layouts.autoencoder.diffusers()),
        (AutoEncoder(vae), layouts.autoencoder.diffusers(old=True)),
        (AutoEncoder(vae), layouts.autoencoder.original(2)),
        (TextEncoder(encoder), layouts.text.transformers()),
        (TextEncoder(encoder), layouts.text.open_clip("model.")),
    ]


@pytest.mark.parametrize("network_and_layout", miniatures())
def test_there_and_back_is_the_same_to_the_bit(network_and_layout):
    network, layout = network_and_layout
    ours = network.state_dict()
    theirs = layouts.spread(layout, ours)
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == layout.shapes(
        {name: tuple(tensor.shape) for name, tensor in ours.items()}
    )
    left = dict(theirs)
    for name, tensor in ours.items():
        back = torch.full_like(tensor, torch.nan)
        layouts.pour(layout.source(name), back, left.pop)
        assert torch.equal(back, tensor)
    assert not left
    assert sum(t.numel() for t in theirs.values()) == sum(t.numel() for t in ours.values())


@pytest.mark.parametrize("family", UNETS)
def test_diffusers_own_converter_finds_the_full_unet_in_our_single_file_names(family):
    single_file = pytest.importorskip("diffusers.loaders.single_file_utils")
    config, linear = UNETS[family]
    ours = shapes_of(UNet, config)
    single = {
        name: torch.empty(shape, device="meta")
        for name, shape in layouts.unet.original(config, linear).shapes(ours).items()
    }
    wanted = layouts.unet.diffusers(linear).shapes(ours)
    kind = "text_time" if config.pooled_width else None
    converted = single_file.convert_ldm_unet_checkpoint(
        single, {"layers_per_block": 2, "class_embed_type": None, "addition_embed_type": kind}
    )
    assert {name: tuple(tensor.shape) for name, tensor in converted.items()} == wanted


def test_diffusers_own_converter_finds_the_full_autoencoder_in_our_single_file_names():
    single_file = pytest.importorskip("diffusers.loaders.single_file_utils")
    ours = shapes_of(AutoEncoder, AutoEncoderConfig())
    single = {
        name: torch.empty(shape, device="meta")
        for name, shape in layouts.autoencoder.original(4).shapes(ours).items()
    }
    converted = single_file.convert_ldm_vae_checkpoint(
        single, {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    )
    found = {name: tuple(tensor.shape[:2]) for name, tensor in converted.items()}
    wanted = layouts.autoencoder.diffusers().shapes(ours)
    assert found == {name: shape[:2] for name, shape in wanted.items()}


@pytest.mark.parametrize("name", TEXTS)
def test_every_tensor_of_a_full_text_encoder_has_a_name_of_its_own(name):
    config, layout = TEXTS[name]
    ours = shapes_of(TextEncoder, config)
    theirs = layout.shapes(ours)
    parts = sum(len(layout.source(each).names) for each in ours)
    assert len(theirs) == parts
    assert all(each.startswith(layout.prefix) for each in theirs)


def test_transformers_own_classes_have_exactly_our_names():
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_attention_heads=12, projection_dim=768
    )
    with torch.device("meta"):
        plain = transformers.CLIPTextModel(config).state_dict()
        projected = transformers.CLIPTextModelWithProjection(config).state_dict()
    ours = shapes_of(TextEncoder, TextEncoderConfig.clip_l())
    short = layouts.text.transformers(text_model=False).shapes(ours)
    assert short == {name: tuple(t.shape) for name, t in plain.items()}
    ours = shapes_of(TextEncoder, TextEncoderConfig(projection=768))
    long = layouts.text.transformers().shapes(ours)
    assert long == {name: tuple(t.shape) for name, t in projected.items()}
