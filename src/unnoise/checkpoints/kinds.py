"""What a file of tensors is, by their names alone. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Iterable

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP_L, OPEN_CLIP_H = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP_L, XL_BIG_G = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
REFINER_BIG_G = "conditioner.embedders.0.model."

LORA = "a LoRA, which changes a model and is none itself"
WORD = "a word of a textual inversion, for --embedding"
CONTROL = "a ControlNet, which steers a model and is none itself"
PICTURE_ADAPTER = "a T2I-Adapter, which steers a model and is none itself"

_OTHERS = {
    r"lora_controlnet": "a Control-LoRA, which is not read here, only whole ControlNets are",
    r"(image_proj|ip_adapter)\..*": "an IP-Adapter, which is not read here",
    r"lora_.*|lycoris_.*|.*\.lora_(up|down|A|B)\..*": LORA,
    r"emb_params|clip_l|clip_g|\*": WORD,
    r"control_model\..*|input_hint_block\..*|controlnet_.*": CONTROL,
    r"(adapter\.)?body\.0\.(block1|(body|resnets)\.0\.block1)\..*": PICTURE_ADAPTER,
    r"model\.diffusion_model\.joint_blocks\..*|joint_blocks\..*": "Stable Diffusion 3",
    r"(model\.diffusion_model\.)?double_blocks\..*": "Flux",
    r"model\.diffusion_model\.input_blocks\..*": "a model, for --model",
    r"down_blocks\..*|up_blocks\..*": "a UNet alone, in diffusers' names",
    r"(first_stage_model\.)?(encoder|decoder)\.conv_in\..*": "an autoencoder alone",
    r"(cond_stage_model|conditioner\.embedders|text_model|embeddings|transformer\.resblocks)\..*": "a text encoder "
    "alone",
}


def is_original(names: Iterable[str]) -> bool:
    """Whether a UNet in the original layout of Stable Diffusion 1, 2 or XL is among the tensors."""
    return any(name.startswith(UNET + "input_blocks.") for name in names)


def other(names: Iterable[str]) -> str | None:
    """What else, of the kinds that people take for a model, the tensors are; None where nothing is known."""
    listed = list(names)
    for pattern, what in _OTHERS.items():
        known = re.compile(pattern)
        if any(known.fullmatch(name) for name in listed):
            return what
    return None
