"""A whole model in one file, in the original layout of Stable Diffusion 1, 2 or XL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from unnoise.checkpoints import layouts
from unnoise.checkpoints import shapes as told
from unnoise.checkpoints.blueprint import Blueprint, Config, Part, check_channels, sinusoid_width
from unnoise.checkpoints.building import uncollected
from unnoise.checkpoints.families import FAMILIES, REFINER, SD1, SD2, SDXL, Encoder, Family
from unnoise.checkpoints.kinds import OPEN_CLIP_H, UNET, VAE, is_original, other
from unnoise.checkpoints.manifest import making_sense
from unnoise.checkpoints.shapes import Shapes, inside
from unnoise.checkpoints.weights import Weights, open_weights
from unnoise.errors import CheckpointError
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.networks.unet import UNetConfig
from unnoise.process import DiscreteVP
from unnoise.text import Tokenizer

# Averages of training, counters, tables that are computed here, and what only training reads.
UNUSED = (
    r"model_ema\..*|(.*\.)?position_ids|(.*\.)?logit_scale|(.*\.)?attn_mask|first_stage_model\.(loss|model_ema)\..*"
    r"|betas|alphas_cumprod(_prev)?|sqrt_.*|log_one_minus_alphas_cumprod|posterior_.*|logvar|lvlb_weights|scale_factor"
    r"|denoiser\.sigmas|v_pred|ztsnr|cond_stage_model\.model\.text_projection"
    # of CLIP ViT-L/14, whose pooled vector neither Stable Diffusion 1 nor XL reads; merging tools keep it
    r"|(cond_stage_model|conditioner\.embedders\.0)\.(transformer\.)?text_projection(\.weight)?"
)


@uncollected()
def read(path: Path, prediction: str | None = None) -> Blueprint:
    """What the file is.

    prediction: "noise", "velocity" or "sample" where the file should not be trusted to tell. Raises
    CheckpointError for a file that is no whole model of a known family.
    """
    weights = open_weights([path])
    shapes = weights.shapes
    family = _family(path, shapes)
    parts = parts_of(path, shapes, family)
    prediction = prediction or _prediction(family, parts["network"].config, weights)
    schedule = DiscreteVP.scaled_linear()
    return Blueprint(
        kind=family,
        parts=parts,
        tokenizers=tuple(Tokenizer(padding=0 if each.open_clip else -1) for each in family.encoders),
        schedule=schedule.zero_terminal_snr() if "ztsnr" in shapes else schedule,
        prediction=prediction,
        unused=_unused(shapes, family, parts),
        size=family.size(prediction),
        name=path.stem,
        hashed=path,
    )


def _family(path: Path, shapes: Shapes) -> Family:
    if is_original(shapes):
        # the newest first: merging tools leave names of Stable Diffusion 1 in XL's files
        for family in (SDXL, REFINER, SD2, SD1):
            if any(name.startswith(family.encoders[-1].prefix) for name in shapes):
                return family
        raise CheckpointError(
            f"'{path}' holds a UNet but no text encoder; give a whole model (a 'checkpoint', not 'UNet only')."
        )
    what, known = other(shapes), ", ".join(family.name for family in FAMILIES)
    if what is not None:
        raise CheckpointError(f"'{path}' is {what}; give a whole {known} model.")
    some = f" (its first tensor is {next(iter(shapes))!r})" if shapes else " (it holds no tensor)"
    raise CheckpointError(f"'{path}' is no model that is known here{some}; give one of {known}.")


def parts_of(path: Path, shapes: Shapes, family: Family) -> dict[str, Part]:
    """What a file of these names and shapes is read as. Raises CheckpointError where they make no model."""
    unet = inside(shapes, UNET)
    with making_sense(f"'{path}' is no model that can be built"):
        vae = told.autoencoder_config(inside(shapes, VAE), family.scale)
        encoders = {each.name: _text(path, shapes, family, each) for each in family.encoders}
        config = told.unet_config(unet)
    check_channels(path, config)
    parts = {
        "network": Part(config, layouts.unet.original(config, told.linear_projection(unet)), (path,), path),
        "autoencoder": Part(vae, layouts.autoencoder.original(len(vae.widths)), (path,), path),
        **encoders,
    }
    if family.sizes:
        sinusoid_width(parts, family.sizes)
    return parts


def _text(path: Path, shapes: Shapes, family: Family, encoder: Encoder) -> Part:
    if encoder.open_clip:
        layout = layouts.text.open_clip(encoder.prefix)
    else:  # some early files leave `text_model.` out
        nested = any(name.startswith(f"{encoder.prefix}text_model.") for name in shapes)
        layout = layouts.text.transformers(encoder.prefix, nested)
    layers = told.text_layers(shapes, layout)
    # the hidden states are those before the last layer, which files hold (24 layers) or leave out (23)
    if family is SD2 and (f"{encoder.prefix}text_projection" in shapes or layers == 24):
        layers -= 1
    config = told.text_config(shapes, layout, encoder, layers, normalize_skipped=not family.sizes)
    return Part(config, layout, (path,), path)


def _unused(shapes: Shapes, family: Family, parts: Mapping[str, Part]) -> str:
    """Pattern of the names that no network needs: of Stable Diffusion 2's text encoder the last layer too."""
    if family is not SD2:
        return UNUSED
    config = parts["text_encoder"].config
    assert isinstance(config, TextEncoderConfig)
    last = f"{OPEN_CLIP_H}transformer.resblocks.{config.layers}."
    return rf"{UNUSED}|{re.escape(last)}.*" if f"{last}mlp.c_fc.weight" in shapes else UNUSED


def _prediction(family: Family, config: Config, weights: Weights) -> str:
    """What the network was trained to say: by the file's own word, else by how its kind is known to look."""
    stated = weights.metadata.get("modelspec.prediction_type", "")
    if stated in ("v", "epsilon"):
        return "velocity" if stated == "v" else "noise"
    if "v_pred" in weights.infos:
        return "velocity"
    if family is not SD2:
        return "noise"
    assert isinstance(config, UNetConfig)
    # Stable Diffusion 2's two kinds have the same names and shapes; ComfyUI parts them by the spread of this bias.
    last = sum(config.blocks_at(level) + 1 for level in range(len(config.widths))) - 1
    name = f"{UNET}output_blocks.{last}.1.transformer_blocks.0.norm1.bias"
    wide = name in weights.infos and float(weights.take(name).float().std(correction=0)) > 0.09
    return "velocity" if wide else "noise"
