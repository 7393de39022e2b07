"""Stable Diffusion pipelines in miniature with random weights, made and written by diffusers' own classes."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from unnoise.schedulers import names
from unnoise.text import Tokenizer

DOWN = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
UP = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
PROMPT, NEGATIVE = "a red apple on a wooden table", "blurry"
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

UNETS = {
    "sd1": {"block_out_channels": (32, 64, 64), "attention_head_dim": 8, "cross_attention_dim": 64},
    "sd2": {
        "block_out_channels": (64, 64, 128),
        "attention_head_dim": (1, 1, 2),
        "cross_attention_dim": 64,
        "use_linear_projection": True,
    },
    "sdxl": {
        "block_out_channels": (64, 64, 128),
        "attention_head_dim": (1, 1, 2),
        "cross_attention_dim": 128,
        "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 32,
    },
    "refiner": {
        "block_out_channels": (64, 64, 128, 128),
        "attention_head_dim": (1, 1, 2, 2),
        "cross_attention_dim": 64,
        "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": 2,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 5 * 8 + 32,
    },
}


def pipeline(family: str, folder: Path, prediction: str = "epsilon"):
    """diffusers' pipeline; its tokenizer lies in `folder`."""
    import diffusers

    torch.manual_seed(0)
    xl = family in ("sdxl", "refiner")
    parts = {
        "unet": diffusers.UNet2DConditionModel(
            **{
                "down_block_types": DOWN,
                "up_block_types": UP,
                "layers_per_block": 1,
                "sample_size": 16,
                **UNETS[family],
            }
        ),
        "vae": diffusers.AutoencoderKL(
            block_out_channels=(32, 32, 64),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=1,
            latent_channels=4,
            scaling_factor=0.13025 if xl else 0.18215,
        ),
        "scheduler": diffusers.DDIMScheduler(
            **BETAS,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=prediction,
        ),
        "tokenizer": tokenizer(folder / "words", 0 if family == "sd2" else -1),
        "text_encoder": text_encoder("gelu" if family == "sd2" else "quick_gelu"),
    }
    if xl:
        parts["tokenizer_2"] = tokenizer(folder / "words_2", 0)
        parts["text_encoder_2"] = text_encoder("gelu", projection=32)
        kind = diffusers.StableDiffusionXLPipeline
        if family == "refiner":
            parts |= {"tokenizer": None, "text_encoder": None}
            parts |= {"requires_aesthetics_score": True, "force_zeros_for_empty_prompt": False}
            kind = diffusers.StableDiffusionXLImg2ImgPipeline
    else:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        kind = diffusers.StableDiffusionPipeline
    for module in parts.values():
        if isinstance(module, torch.nn.Module):
            stir(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = kind(**parts)
    made.set_progress_bar_config(disable=True)
    return made


def with_channels(pipe, kind, channels):
    """The pipeline with another UNet, that sees so many channels; everything else is shared."""
    import diffusers

    torch.manual_seed(channels)
    config = {name: value for name, value in pipe.unet.config.items() if not name.startswith("_")}
    config["in_channels"] = channels
    network = diffusers.UNet2DConditionModel.from_config(config)
    stir(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = kind(**{**pipe.components, "unet": network}, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def stir(module):
    """Norms begin as ones and biases as zeros: make every number count."""
    for tensor in module.eval().parameters():
        if tensor.ndim == 1:
            tensor.data += 0.1 * torch.randn(tensor.shape)


def text_encoder(activation, projection=0):
    import transformers

    config = transformers.CLIPTextConfig(
        vocab_size=49408,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=1,
        max_position_embeddings=77,
        hidden_act=activation,
        projection_dim=projection or 64,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
    )
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    encoder = kind(config)
    torch.nn.init.normal_(encoder.get_input_embeddings().weight, std=0.5)
    return encoder


def tokenizer(folder, padding):
    import transformers

    Tokenizer(padding=padding).save_pretrained(folder)
    return transformers.CLIPTokenizer.from_pretrained(str(folder))


def save(pipe, folder: Path, **options) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.save_pretrained(str(folder), **options)
    return folder


def fresh(folder):
    """diffusers' pipeline of a folder."""
    import diffusers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents():
    return torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))


def theirs(pipe, steps=20):
    """A small picture of diffusers' pipeline, (32, 32, 3) in [0, 1]."""
    options = {"num_inference_steps": steps, "guidance_scale": 5.0, "latents": latents(), "output_type": "np"}
    return pipe([PROMPT], negative_prompt=[NEGATIVE], width=32, height=32, **options).images[0]


def ours(pipe, config, steps=20):
    """The same of ours, with DDIM as `config` has it."""
    scheduler = names.from_config({**config, "_class_name": "DDIMScheduler"}, compat="diffusers").scheduler
    options = {"steps": steps, "guidance": 5.0, "latents": latents(), "scheduler": scheduler}
    return pipe(PROMPT, negative=NEGATIVE, width=32, height=32, **options).arrays[0]
