"""A whole model in one file, in the original layout of Stable Diffusion 1, 2 or XL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from unnoise.checkpoints import layouts
from unnoise.checkpoints import shapes as told
from unnoise.checkpoints.blueprint import Blueprint, Config, Part, check_channels, sinusoid_width
from unnoise.checkpoints.building import uncollected
from unnoise.checkpoints.families import FAMILIES, REFINER, SD1, SD2, SDXL, Family
from unnoise.checkpoints.kinds import (
    CLIP_L,
    OPEN_CLIP_H,
    REFINER_BIG_G,
    UNET,
    VAE,
    XL_BIG_G,
    XL_CLIP_L,
    is_original,
    other,
)
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


_PREFIXES = {XL_BIG_G: SDXL, REFINER_BIG_G: REFINER, OPEN_CLIP_H: SD2, CLIP_L: SD1}


@uncollected()
def read(path: Path, prediction: str | None = None) -> Blueprint:
    """What the file is.

    prediction: "noise", "velocity" or "sample" where the file should not be trusted to tell. Raises
    CheckpointError for a file that is no whole model of a known family.
    """
    weights = open_weights([path])
    shapes = {name: info.shape for name, info in weights.infos.items()}
    family = _family(path, shapes)
    held = parts_of(path, shapes, family)
    prediction = prediction or _prediction(family, held.parts["network"].config, weights)
    schedule = DiscreteVP.scaled_linear()
    return Blueprint(
        family=family.name,
        parts=held.parts,
        tokenizers=held.tokenizers,
        skips=(family.skip,) * len(held.tokenizers),
        schedule=schedule.zero_terminal_snr() if "ztsnr" in shapes else schedule,
        prediction=prediction,
        unused=f"{UNUSED}|{held.unused}" if held.unused else UNUSED,
        size=family.size(prediction),
        defaults=family.defaults,
        name=path.stem,
        hashed=path,
    )


def _family(path: Path, shapes: Shapes) -> Family:
    if is_original(shapes):
        for prefix, family in _PREFIXES.items():
            if any(name.startswith(prefix) for name in shapes):
                return family
        raise CheckpointError(
            f"'{path}' holds a UNet but no text encoder; give a whole model (a 'checkpoint', not 'UNet only')."
        )
    what = other(shapes)
    if what is not None:
        raise CheckpointError(
            f"'{path}' is {what}; give a whole {', '.join(family.name for family in FAMILIES)} model."
        )
    some = f" (its first tensor is {next(iter(shapes))!r})" if shapes else " (it holds no tensor)"
    raise CheckpointError(
        f"'{path}' is no model that is known here{some}; give one of {', '.join(f.name for f in FAMILIES)}."
    )


def parts_of(path: Path, shapes: Shapes, family: Family) -> Held:
    """What a file of these names and shapes is read as. Raises CheckpointError where they make no model."""
    unet = inside(shapes, UNET)
    try:
        rest = _READERS[family.name](path, shapes)
        config = told.unet_config(unet)
    except (
        IndexError,
        ValueError,
        ZeroDivisionError,
    ) as error:  # InputError is one; the others are of shapes that no weight has
        raise CheckpointError(f"'{path}' is no model that can be built: {error}") from error
    check_channels(path, config)
    layout = layouts.unet.original(config, told.linear_projection(unet), UNET)
    parts = {"network": Part(config, layout, (path,), path), **rest.parts}
    if family.sizes:
        sinusoid_width(parts, family.sizes)
    return replace(rest, parts=parts)


@dataclass(frozen=True, eq=False)
class Held:
    """The networks of a file. unused: names that the family's files hold beside the common ones."""

    parts: dict[str, Part]
    tokenizers: tuple[Tokenizer, ...]
    unused: str = ""


def _autoencoder(path: Path, shapes: Shapes, scale: float) -> Part:
    config = told.autoencoder_config(inside(shapes, VAE), scale)
    return Part(config, layouts.autoencoder.original(len(config.widths), VAE), (path,), path)


def _clip(path: Path, shapes: Shapes, prefix: str, normalize_skipped: bool) -> Part:
    # some early files leave `text_model.` out
    full = prefix + "text_model."
    nested = any(name.startswith(full) for name in shapes)
    config = told.clip_config(inside(shapes, full if nested else prefix), normalize_skipped)
    return Part(config, layouts.text.transformers(prefix, nested), (path,), path)


def _open_clip(path: Path, prefix: str, config: TextEncoderConfig) -> Part:
    return Part(config, layouts.text.open_clip(prefix), (path,), path)


def _sd1(path: Path, shapes: Shapes) -> Held:
    parts = {
        "autoencoder": _autoencoder(path, shapes, 0.18215),
        "text_encoder": _clip(path, shapes, CLIP_L, True),
    }
    return Held(parts, (Tokenizer(),))


def _sd2(path: Path, shapes: Shapes) -> Held:
    """The hidden states are those before the last layer, which files hold (24 layers) or leave out (23)."""
    encoder = inside(shapes, OPEN_CLIP_H)
    held = told.open_clip_layers(encoder)
    layers = held - 1 if "text_projection" in encoder or held == 24 else held
    config = told.open_clip_config(encoder, layers, projection=False)
    parts = {
        "autoencoder": _autoencoder(path, shapes, 0.18215),
        "text_encoder": _open_clip(path, OPEN_CLIP_H, config),
    }
    unused = rf"cond_stage_model\.model\.transformer\.resblocks\.{layers}\..*" if layers < held else ""
    return Held(parts, (Tokenizer(padding=0),), unused)


def _sdxl(path: Path, shapes: Shapes) -> Held:
    rest = _refiner(path, shapes, XL_BIG_G)
    parts = {
        "autoencoder": rest.parts["autoencoder"],
        "text_encoder": _clip(path, shapes, XL_CLIP_L, False),
        "text_encoder_2": rest.parts["text_encoder_2"],
    }
    return Held(parts, (Tokenizer(), *rest.tokenizers))


def _refiner(path: Path, shapes: Shapes, prefix: str = REFINER_BIG_G) -> Held:
    encoder = inside(shapes, prefix)
    config = told.open_clip_config(encoder, told.open_clip_layers(encoder), projection=True)
    parts = {
        "autoencoder": _autoencoder(path, shapes, 0.13025),
        "text_encoder_2": _open_clip(path, prefix, config),
    }
    return Held(parts, (Tokenizer(padding=0),))


_READERS: dict[str, Callable[[Path, Shapes], Held]] = {
    SD1.name: _sd1,
    SD2.name: _sd2,
    SDXL.name: _sdxl,
    REFINER.name: _refiner,
}


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
