"""Stable Diffusion at its full size with random weights, written by diffusers' own classes; and in miniature.

Numbers of a pool, scaled so that each layer keeps the scale of what it reads: time does not depend on them, and
parity sees every one.
"""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

CROSS = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
PLAIN = "DownBlock2D", "UpBlock2D"
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CLIP_L = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "quick_gelu"}
CLIP_H = {"hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16, "hidden_act": "gelu"}
CLIP_G = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 20, "hidden_act": "gelu"}
SMALL = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 1}


@dataclass(frozen=True)
class Made:
    """What one family is made of. side: of its latents. text, text_2: settings of the CLIP text models, if any.

    told: how many sizes (the last may be a score of beauty) a UNet with `text_2` reads.
    """

    side: int
    unet: dict[str, Any]
    vae_widths: tuple[int, ...]
    text: dict[str, Any] | None
    text_2: dict[str, Any] | None = None
    padding: int | None = None
    prediction: str = "epsilon"
    told: int = 6

    @property
    def towers(self) -> dict[str, dict[str, Any]]:
        """Settings of the text models by the name of their folder."""
        both = {"text_encoder": self.text, "text_encoder_2": self.text_2}
        return {name: settings for name, settings in both.items() if settings}


def unet(widths: tuple[int, ...], heads: Any, text: int, deep: str = "1110", **more: Any) -> dict[str, Any]:
    """deep: whether each level reads the text, the finest first."""
    kinds = [CROSS if each == "1" else PLAIN for each in deep]
    return {
        "block_out_channels": widths,
        "down_block_types": tuple(kind[0] for kind in kinds),
        "up_block_types": tuple(kind[1] for kind in reversed(kinds)),
        "attention_head_dim": heads,
        "cross_attention_dim": text,
    } | more


def sizes_told(width: int, pooled: int, count: int = 6) -> dict[str, Any]:
    """What a UNet of Stable Diffusion XL reads beside text: pooled text and `count` sizes."""
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": width,
        "projection_class_embeddings_input_dim": count * width + pooled,
    }


LINEAR = {"use_linear_projection": True}
FULL_VAE, SMALL_VAE = (128, 256, 512, 512), (32, 32, 64)
MODELS = {
    "full": {
        "sd1": Made(64, unet((320, 640, 1280, 1280), 8, 768), FULL_VAE, CLIP_L),
        "sd2": Made(
            96,
            unet((320, 640, 1280, 1280), (5, 10, 20, 20), 1024, **LINEAR),
            FULL_VAE,
            CLIP_H,
            padding=0,
            prediction="v_prediction",
        ),
        "sdxl": Made(
            128,
            unet(
                (320, 640, 1280),
                (5, 10, 20),
                2048,
                "011",
                transformer_layers_per_block=(1, 2, 10),
                **LINEAR,
                **sizes_told(256, 1280),
            ),
            FULL_VAE,
            CLIP_L,
            CLIP_G | {"projection_dim": 1280},
        ),
        "refiner": Made(
            128,
            unet(
                (384, 768, 1536, 1536),
                (6, 12, 24, 24),
                1280,
                "0110",
                transformer_layers_per_block=4,
                **LINEAR,
                **sizes_told(256, 1280, 5),
            ),
            FULL_VAE,
            None,
            CLIP_G | {"projection_dim": 1280},
            told=5,
        ),
    },
    "miniature": {
        "sd1": Made(16, unet((32, 64, 64), 8, 64, "110"), SMALL_VAE, SMALL | {"hidden_act": "quick_gelu"}),
        "sd2": Made(
            16,
            unet((64, 64, 128), (1, 1, 2), 64, "110", **LINEAR),
            SMALL_VAE,
            SMALL | {"hidden_act": "gelu"},
            padding=0,
            prediction="v_prediction",
        ),
        "sdxl": Made(
            16,
            unet(
                (64, 64, 128),
                (1, 1, 2),
                128,
                "011",
                transformer_layers_per_block=(1, 1, 2),
                **LINEAR,
                **sizes_told(8, 32),
            ),
            SMALL_VAE,
            SMALL | {"hidden_act": "quick_gelu"},
            SMALL | {"hidden_act": "gelu", "projection_dim": 32},
        ),
        "refiner": Made(
            16,
            unet(
                (64, 64, 128, 128),
                (1, 1, 2, 2),
                64,
                "0110",
                transformer_layers_per_block=2,
                **LINEAR,
                **sizes_told(8, 32, 5),
            ),
            SMALL_VAE,
            None,
            SMALL | {"hidden_act": "gelu", "projection_dim": 32},
            told=5,
        ),
    },
}


@dataclass(frozen=True)
class Place:
    """Where a model lies. folder: as diffusers writes it, in float16; file: the same numbers in one."""

    size: str
    family: str
    folder: Path
    file: Path

    @property
    def made(self) -> Made:
        """What it is made of."""
        return MODELS[self.size][self.family]

    @property
    def pixels(self) -> int:
        """A side of its pictures."""
        return self.made.side * 2 ** (len(self.made.vae_widths) - 1)


def place(root: Path, size: str, family: str) -> Place:
    """Where the model of this size and family lies below `root`, whether it is there or not."""
    return Place(size, family, root / f"{family}-{size}", root / f"{family}-{size}.safetensors")


def ready(where: Place, one_file: bool = False) -> Place:
    """Writes what is not there yet; one_file: the single file as well, by `unnoise convert`."""
    if not where.folder.is_dir():
        half = where.folder.with_name(where.folder.name + ".part")
        shutil.rmtree(half, ignore_errors=True)
        _write(where.made, half)
        half.rename(where.folder)
    if one_file and not where.file.is_file():
        from unnoise import checkpoints

        checkpoints.convert(where.folder, where.file)
    return where


def _write(made: Made, folder: Path) -> None:
    import diffusers
    import transformers

    from unnoise.text import Tokenizer

    vae = {
        "down_block_types": ("DownEncoderBlock2D",) * len(made.vae_widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(made.vae_widths),
        "block_out_channels": made.vae_widths,
        "layers_per_block": 2,
        "scaling_factor": 0.13025 if made.text_2 else 0.18215,
    }
    parts = {
        "unet": _filled(diffusers.UNet2DConditionModel, sample_size=made.side, **made.unet),
        "vae": _filled(diffusers.AutoencoderKL, **vae),
        "text_encoder": None,
        "tokenizer": None,
        "scheduler": diffusers.DDIMScheduler(
            **BETAS,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=made.prediction,
        ),
    }
    for encoder, settings in made.towers.items():
        second = encoder == "text_encoder_2"
        name, padding = encoder.replace("text_encoder", "tokenizer"), 0 if second else made.padding
        Tokenizer(**({} if padding is None else {"padding": padding})).save_pretrained(folder / name)
        parts[name] = transformers.CLIPTokenizer.from_pretrained(str(folder / name))
        parts[encoder] = _text(settings, projected=second)
    kind = diffusers.StableDiffusionXLPipeline if made.text_2 else diffusers.StableDiffusionPipeline
    if not made.text_2:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if made.text is None:
        kind = diffusers.StableDiffusionXLImg2ImgPipeline
        parts |= {"requires_aesthetics_score": True, "force_zeros_for_empty_prompt": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind(**parts).save_pretrained(str(folder), variant="fp16", max_shard_size="100GB")


def _text(settings: dict[str, Any], projected: bool) -> torch.nn.Module:
    import transformers

    config = transformers.CLIPTextConfig(
        vocab_size=49408,
        max_position_embeddings=77,
        intermediate_size=4 * settings["hidden_size"],
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
        **{"projection_dim": settings["hidden_size"]} | settings,
    )
    return _filled(
        transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel, config
    )


@torch.no_grad()
def _filled(kind: Any, *args: Any, **settings: Any) -> torch.nn.Module:
    """A network in float16, never in more memory than that."""
    with torch.device("meta"):
        outline = kind(*args, **settings)
    network = outline.half().to_empty(device="cpu").eval()
    pool = torch.randn(2**20 + 7, generator=torch.Generator().manual_seed(0))
    at = 0
    for tensor in network.parameters():
        flat = tensor.view(-1)
        scale = 0.1 if tensor.ndim == 1 else float(tensor[0].numel()) ** -0.5
        small = (scale * pool).half()
        for low in range(0, len(flat), 2**20):
            part = flat[low : low + 2**20]
            part.copy_(small[at : at + len(part)])
            at = (at + 1) % 7
    for module in network.modules():
        if "Norm" in type(module).__name__ and getattr(module, "weight", None) is not None:
            module.weight += 1
    for name, buffer in network.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand(buffer.shape))
    return network
