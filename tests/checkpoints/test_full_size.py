"""The published sizes: every tensor of diffusers' and transformers' own full-size networks, by name and shape.

Files of the true size and no content (sparse, so that they take no room) go through the same reading as real ones.
"""

from __future__ import annotations

import json
import math

import pytest
import torch

from unnoise import checkpoints
from unnoise.checkpoints import controlnet, layouts
from unnoise.checkpoints.blueprint import shapes_of
from unnoise.checkpoints.kinds import CLIP_L, OPEN_CLIP_H, REFINER_BIG_G, XL_BIG_G, XL_CLIP_L
from unnoise.networks.unet import ControlNetConfig, PictureAdapterConfig, published
from unnoise.text import Tokenizer

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

XL = {"use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256}
CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
UNETS = {
    "sd1": ((CROSS, CROSS, CROSS, PLAIN), {"attention_head_dim": 8, "cross_attention_dim": 768}),
    "sd2": (
        (CROSS, CROSS, CROSS, PLAIN),
        {
            "attention_head_dim": (5, 10, 20, 20),
            "cross_attention_dim": 1024,
            "use_linear_projection": True,
            "sample_size": 96,
        },
    ),
    "sdxl": (
        (PLAIN, CROSS, CROSS),
        {
            **XL,
            "block_out_channels": (320, 640, 1280),
            "attention_head_dim": (5, 10, 20),
            "transformer_layers_per_block": (1, 2, 10),
            "cross_attention_dim": 2048,
            "projection_class_embeddings_input_dim": 2816,
            "sample_size": 128,
        },
    ),
    "refiner": (
        (PLAIN, CROSS, CROSS, PLAIN),
        {
            **XL,
            "block_out_channels": (384, 768, 1536, 1536),
            "attention_head_dim": (6, 12, 24, 24),
            "transformer_layers_per_block": 4,
            "cross_attention_dim": 1280,
            "projection_class_embeddings_input_dim": 2560,
            "sample_size": 128,
        },
    ),
}
CLIP = {
    "l": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "h": {"hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16, "hidden_act": "gelu"},
    "g": {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 20, "hidden_act": "gelu"},
}
TEXTS = {
    "sd1": {"text_encoder": "l"},
    "sd2": {"text_encoder": "h"},
    "sdxl": {"text_encoder": "l", "text_encoder_2": "g"},
    "refiner": {"text_encoder_2": "g"},
}
NUMBERS = {
    "sd1": {"network": 859_520_964, "text_encoder": 123_060_480},
    "sd2": {"network": 865_910_724, "text_encoder": 340_387_840},
    "sdxl": {"network": 2_567_463_684, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840},
    "refiner": {"text_encoder_2": 694_659_840},
}
"""As the models' pages and papers have them; the autoencoder has 83,653,863 in all."""

TENSORS = {"sd1": 1131, "sdxl": 2515}
"""In v1-5-pruned-emaonly.safetensors and sd_xl_base_1.0.safetensors."""


def sparse(path, shapes):
    """A .safetensors file of these tensors in half precision, all zero, that takes no room."""
    header, place = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + place)
    return path


def made(build):
    """(names and shapes, configuration) of a network of theirs, without memory."""
    with torch.device("meta"):
        network = build()
    config = network.config.to_dict() if hasattr(network.config, "to_dict") else dict(network.config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}, config


def unet(family):
    down, settings = UNETS[family]
    up = tuple(kind.replace("Down", "Up") for kind in reversed(down))
    return diffusers.UNet2DConditionModel(down_block_types=down, up_block_types=up, **settings)


def autoencoder(scale):
    return diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=scale,
    )


def text_encoder(kind, projected):
    settings = CLIP[kind]
    config = transformers.CLIPTextConfig(
        intermediate_size=4 * settings["hidden_size"], projection_dim=settings["hidden_size"], **settings
    )
    return (transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel)(config)


@pytest.fixture(scope="module", params=UNETS)
def folder(request, tmp_path_factory):
    """(family, its folder): diffusers' and transformers' configurations, and all their tensors."""
    family, place = request.param, tmp_path_factory.mktemp(request.param)
    xl = family in ("sdxl", "refiner")
    kind = {"sdxl": "XL", "refiner": "XLImg2Img"}.get(family, "")
    index = {
        "_class_name": f"StableDiffusion{kind}Pipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    parts = {"unet": lambda: unet(family), "vae": lambda: autoencoder(0.13025 if xl else 0.18215)}
    for name, clip in TEXTS[family].items():
        projected = name == "text_encoder_2"
        parts[name] = lambda clip=clip, projected=projected: text_encoder(clip, projected)
        words = name.replace("text_encoder", "tokenizer")
        Tokenizer(padding=-1 if clip == "l" else 0).save_pretrained(place / words)
        index[words] = ["transformers", "CLIPTokenizer"]
        index[name] = ["transformers", "CLIPTextModelWithProjection" if projected else "CLIPTextModel"]
    for name, build in parts.items():
        shapes, config = made(build)
        base = "model" if name.startswith("text") else "diffusion_pytorch_model"
        sparse(place / name / f"{base}.safetensors", shapes)
        (place / name / "config.json").write_text(json.dumps(config))
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction" if family == "sd2" else "epsilon",
    )
    scheduler.save_pretrained(place / "scheduler")
    (place / "model_index.json").write_text(json.dumps(index))
    return family, place


def test_every_tensor_of_a_full_size_folder_is_accounted_for(folder):
    family, place = folder
    found = checkpoints.recognise(place)
    found.check()
    counts = found.parameters()
    assert counts["autoencoder"] == 83_653_863
    assert {name: counts[name] for name in NUMBERS[family]} == NUMBERS[family]
    expected = {
        "sd1": published.stable_diffusion_1(),
        "sd2": published.stable_diffusion_2(),
        "sdxl": published.stable_diffusion_xl(),
        "refiner": published.stable_diffusion_xl_refiner(),
    }[family]
    config = found.parts["network"].config
    assert shapes_of(config) == shapes_of(expected)
    assert [config.heads_of(width) for width in config.widths] == [
        expected.heads_of(width) for width in expected.widths
    ]


def test_a_full_size_single_file_is_told_by_its_tensors_to_be_the_same_model(folder, tmp_path):
    """Its names are those that diffusers' own converters read (`test_layouts`), and what real files hold beside."""
    family, place = folder
    whole = checkpoints.recognise(place)
    config = whole.parts["network"].config
    texts = {
        "sd1": {"text_encoder": layouts.text.transformers(CLIP_L)},
        "sd2": {"text_encoder": layouts.text.open_clip(OPEN_CLIP_H)},
        "sdxl": {
            "text_encoder": layouts.text.transformers(XL_CLIP_L),
            "text_encoder_2": layouts.text.open_clip(XL_BIG_G),
        },
        "refiner": {"text_encoder_2": layouts.text.open_clip(REFINER_BIG_G)},
    }[family]
    each = {
        "network": layouts.unet.original(config, family != "sd1"),
        "autoencoder": layouts.autoencoder.original(4),
        **texts,
    }
    shapes = {}
    for name, layout in each.items():
        shapes |= layout.shapes(shapes_of(whole.parts[name].config))
    beside = {
        "sd1": {f"{CLIP_L}text_model.embeddings.position_ids": (1, 77)},
        "sd2": {f"{OPEN_CLIP_H}text_projection": (1024, 1024), f"{OPEN_CLIP_H}logit_scale": ()},
        "sdxl": {
            f"{XL_CLIP_L}text_model.embeddings.position_ids": (1, 77),
            f"{XL_BIG_G}logit_scale": (),
        },
        "refiner": {f"{REFINER_BIG_G}logit_scale": ()},
    }[family]
    if family == "sd2":  # the layer that is never read
        last = [name for name in shapes if ".resblocks.22." in name]
        beside |= {name.replace("blocks.22.", "blocks.23."): shapes[name] for name in last}
    shapes |= beside
    assert len(shapes) == TENSORS.get(family, len(shapes))
    shapes[f"{CLIP_L}text_model.embeddings.position_ids"] = (
        1,
        77,
    )  # merging tools leave it in files of any family
    found = checkpoints.recognise(sparse(tmp_path / "model.safetensors", shapes))
    found.check()
    assert found.family == whole.family
    assert found.parameters() == whole.parameters()
    assert found.size == whole.size or family == "sd2"  # the bias that tells velocity is zero here
    for name in each:
        one, other = found.parts[name].config, whole.parts[name].config
        assert shapes_of(one) == shapes_of(other)
        if name == "network":
            assert [one.heads_of(width) for width in one.widths] == [
                other.heads_of(width) for width in one.widths
            ]


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_full_size_control_nets_in_both_layouts(family, tmp_path):
    single_file = pytest.importorskip("diffusers.loaders.single_file_utils")
    down, settings = UNETS[family]
    settings = {name: value for name, value in settings.items() if name != "sample_size"}
    wanted, _ = made(lambda: diffusers.ControlNetModel(down_block_types=down, **settings))
    config = {"sd1": published.stable_diffusion_1(), "sdxl": published.stable_diffusion_xl()}[family]
    ours = shapes_of(ControlNetConfig(config))
    linear = family != "sd1"
    assert layouts.control.diffusers(linear).shapes(ours) == wanted
    single = layouts.control.original(config, linear, "control_model.").shapes(ours)
    tensors = {name: torch.empty(shape, device="meta") for name, shape in single.items()}
    converted = single_file.convert_controlnet_checkpoint(tensors, {"layers_per_block": 2})
    found = {name: tuple(tensor.shape) for name, tensor in converted.items()}
    if family == "sdxl":  # which their converter leaves out
        found |= {name: shape for name, shape in wanted.items() if name.startswith("add_embedding.")}
    assert found == wanted
    path = sparse(tmp_path / "control.safetensors", single)
    assert shapes_of(controlnet.read(path).config) == ours


ADAPTERS = {
    "full_adapter": (8, PictureAdapterConfig()),
    "full_adapter_xl": (16, PictureAdapterConfig(fold=16, halves=(2,))),
    "light_adapter": (8, PictureAdapterConfig(blocks=4, light=True)),
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_full_size_adapters_in_both_layouts(kind, tmp_path):
    fold, config = ADAPTERS[kind]
    light = kind == "light_adapter"
    widths = [320, 640, 1280] if light else [320, 640, 1280, 1280]
    wanted, _ = made(lambda: diffusers.T2IAdapter(3, widths, config.blocks, fold, kind))
    ours = shapes_of(config)
    assert layouts.picture_adapter.diffusers().shapes(ours) == wanted
    single = layouts.picture_adapter.original(config).shapes(ours)
    if light:
        theirs = [f"body.{n}.{part}_conv" for n in range(4) for part in ("in", "out")]
        theirs += [f"body.{n}.body.{k}.block{b}" for n in range(4) for k in range(4) for b in (1, 2)]
    else:  # the residual blocks counted through all levels; two levels are wider than the one before
        theirs = ["conv_in", "body.2.in_conv", "body.4.in_conv"]
        theirs += [f"body.{n}.block{b}" for n in range(8) for b in (1, 2)]
    assert set(single) == {f"{name}.{leaf}" for name in theirs for leaf in ("weight", "bias")}
    assert controlnet.read(sparse(tmp_path / "adapter.safetensors", single)).config == config
