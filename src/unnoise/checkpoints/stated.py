"""Our configurations as the `config.json` of other programs: the way back of `configs`."""

from __future__ import annotations

from typing import Any

from unnoise.checkpoints.diffusers_folder import CLASSES
from unnoise.checkpoints.families import REFINER, SDXL, Family
from unnoise.errors import InputError
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.networks.unet import UNetConfig
from unnoise.networks.vae import AutoEncoderConfig
from unnoise.process import DiscreteVP, NoiseSchedule

_VERSION = {"_diffusers_version": "0.30.0"}
"""A version whose readers know every setting that is written here."""


def unet_table(config: UNetConfig, linear: bool, side: int, size_ids: int) -> dict[str, Any]:
    """Of a UNet2DConditionModel. side: of its latents; size_ids: width of each size's sinusoids, for XL."""
    kinds = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in config.attention]
    depths = [max(1, depth) for depth in config.attention]
    depths[-1] = config.mid_attention
    heads = [config.heads_of(width) for width in config.widths]
    table = {
        "_class_name": "UNet2DConditionModel",
        **_VERSION,
        "sample_size": side,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "block_out_channels": list(config.widths),
        "layers_per_block": config.blocks if isinstance(config.blocks, int) else list(config.blocks),
        "down_block_types": kinds,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(kinds)],
        "transformer_layers_per_block": depths,
        "attention_head_dim": heads if len(set(heads)) > 1 else heads[0],
        "cross_attention_dim": config.text_width,
        "norm_num_groups": config.norm_groups,
        "norm_eps": config.norm_eps,
        "use_linear_projection": linear,
    }
    if config.pooled_width:
        table |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": size_ids,
            "projection_class_embeddings_input_dim": config.pooled_width,
        }
    return table


def autoencoder_table(config: AutoEncoderConfig) -> dict[str, Any]:
    """Of an AutoencoderKL."""
    levels = len(config.widths)
    return {
        "_class_name": "AutoencoderKL",
        **_VERSION,
        "in_channels": config.channels,
        "out_channels": config.channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": list(config.widths),
        "layers_per_block": config.blocks,
        "latent_channels": config.latent_channels,
        "norm_num_groups": config.norm_groups,
        "scaling_factor": config.scale,
        "shift_factor": config.shift or None,
        "use_quant_conv": config.quant,
        "use_post_quant_conv": config.quant,
        "mid_block_add_attention": config.attention,
    }


def text_table(config: TextEncoderConfig) -> dict[str, Any]:
    """Of a CLIPTextConfig."""
    projected = config.projection is not None
    return {
        "architectures": ["CLIPTextModelWithProjection" if projected else "CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "intermediate_size": config.expansion * config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.positions,
        "hidden_act": config.activation,
        "layer_norm_eps": 1e-5,
        "projection_dim": config.projection or config.width,
        "bos_token_id": config.end_token - 1,
        "eos_token_id": config.end_token,
        "pad_token_id": config.end_token,
    }


def scheduler_table(schedule: NoiseSchedule, prediction: str) -> dict[str, Any]:
    """Of a DDIMScheduler, from which any other is made. Raises InputError for a schedule that it does not know."""
    if not isinstance(schedule, DiscreteVP) or schedule.curve != "scaled_linear":
        raise InputError(
            f"the noise schedule {schedule.config()} is not Stable Diffusion's; it cannot be written."
        )
    return {
        "_class_name": "DDIMScheduler",
        **_VERSION,
        "num_train_timesteps": schedule.steps,
        "beta_start": schedule.beta_start,
        "beta_end": schedule.beta_end,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": {"noise": "epsilon", "velocity": "v_prediction"}.get(prediction, prediction),
        "rescale_betas_zero_snr": schedule.zero_terminal,
    }


def model_index(family: Family, config: UNetConfig) -> dict[str, Any]:
    """Of a StableDiffusionPipeline, or of XL's; for inpainting and editing networks that of their own pipelines."""
    beside = config.in_channels - config.out_channels
    kind = {0: "", config.out_channels: "InstructPix2Pix"}.get(beside, "Inpaint")
    kind = "Img2Img" if family is REFINER else kind
    words = (*(each.name for each in family.encoders), *(each.tokenizer for each in family.encoders))
    parts = {name: kinds[0] for name, kinds in CLASSES.items() if name in ("unet", "vae", *words)}
    absent = {name: [None, None] for name in CLASSES} if family.sizes else {}
    index: dict[str, Any] = {
        "_class_name": f"StableDiffusion{'XL' if family.sizes else ''}{kind}Pipeline",
        **_VERSION,
        **absent,
        **parts,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "feature_extractor": [None, None],
    }
    if not family.sizes:
        return index | {"safety_checker": [None, None], "requires_safety_checker": False}
    index |= {"image_encoder": [None, None], "force_zeros_for_empty_prompt": family is SDXL}
    return index | ({"requires_aesthetics_score": True} if family is REFINER else {})
