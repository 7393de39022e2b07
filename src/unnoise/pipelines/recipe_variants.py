"""What a recipe says of a picture begun from another, as A1111 writes it between its other settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unnoise.pipelines.recipe import Recipe

_UPSCALERS = {"latents": "Latent", "pixels": "Lanczos"}


def to_settings(recipe: Recipe) -> dict[str, str]:
    """The settings of the variant that this recipe is of; empty for text to image. Names are A1111's if it has one."""
    inpaint, hires = recipe.variant == "inpaint", recipe.variant == "second pass"
    told = {
        "Denoising strength": _number(recipe.strength),
        "Noise level": _number(recipe.noise_level),
        "Image CFG scale": _number(recipe.image_guidance),
        "Mask blur": f"{recipe.feather:g}" if inpaint else "",
        "Inpaint area": "Only masked" if recipe.area == "masked" else "",
        "Masked area padding": str(recipe.padding) if recipe.area == "masked" else "",
        "Outpaint": recipe.outpaint,
        "Hires upscale": _number(recipe.hires_scale),
        "Hires steps": str(recipe.hires_steps) if hires else "",
        "Hires upscaler": _UPSCALERS.get(recipe.hires_in, ""),
        "Guidance": recipe.guidance_rule,
        "Feature cache": recipe.cache,
        "Init image hash": recipe.init_hash[:10],
        "Mask hash": recipe.mask_hash[:10],
    }
    return {name: value for name, value in told.items() if value}


def from_settings(found: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a recipe that such settings tell. Raises ValueError for numbers that are none."""
    told: dict[str, Any] = {
        name: kind(found[setting]) for name, (setting, kind) in _FIELDS.items() if found.get(setting)
    }
    if "Inpaint area" in found:
        told["area"] = "masked" if found["Inpaint area"] == "Only masked" else ""
    if "hires_scale" in told:
        latent = found.get("Hires upscaler", "Latent").startswith("Latent")
        told["hires_in"] = "latents" if latent else "pixels"
    return told | ({"variant": variant} if (variant := _variant(told)) else {})


_FIELDS: dict[str, tuple[str, type]] = {
    "strength": ("Denoising strength", float),
    "noise_level": ("Noise level", float),
    "image_guidance": ("Image CFG scale", float),
    "feather": ("Mask blur", float),
    "padding": ("Masked area padding", int),
    "outpaint": ("Outpaint", str),
    "hires_scale": ("Hires upscale", float),
    "hires_steps": ("Hires steps", int),
    "guidance_rule": ("Guidance", str),
    "cache": ("Feature cache", str),
    "init_hash": ("Init image hash", str),
    "mask_hash": ("Mask hash", str),
}


def _variant(told: Mapping[str, Any]) -> str:
    """Told by what is there: A1111 does not name it."""
    for name, variant in (
        ("hires_scale", "second pass"),
        ("feather", "inpaint"),
        ("image_guidance", "edit"),
        ("strength", "image to image"),
        ("noise_level", "image to image"),
    ):
        if name in told:
            return variant
    return ""


def _number(value: float) -> str:
    return f"{value:g}" if value else ""
