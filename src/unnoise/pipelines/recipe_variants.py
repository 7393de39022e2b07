"""What a recipe says of a picture begun from another, as A1111 writes it between its other settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from unnoise.checkpoints.recipes.found import senseless

if TYPE_CHECKING:
    from unnoise.checkpoints.recipes import FoundRecipe
    from unnoise.pipelines.recipe import Recipe

_UPSCALERS = {"latents": "Latent", "pixels": "Lanczos"}


def _number(value: float) -> str:
    return f"{value:g}" if value else ""


# Field -> its setting, by A1111's name if it has one; how the field is written ("": not at all), and read.
_SETTINGS: dict[str, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    "strength": ("Denoising strength", _number, float),
    "noise_level": ("Noise level", _number, float),
    "image_guidance": ("Image CFG scale", _number, float),
    "feather": ("Mask blur", "{:g}".format, float),
    "area": (
        "Inpaint area",
        lambda area: "Only masked" if area == "masked" else "",
        lambda text: "masked" if text == "Only masked" else "",
    ),
    "padding": ("Masked area padding", str, int),
    "outpaint": ("Outpaint", str, str),
    "hires_scale": ("Hires upscale", _number, float),
    "hires_steps": ("Hires steps", str, int),
    "hires_in": (
        "Hires upscaler",
        lambda way: _UPSCALERS.get(way, ""),
        lambda text: "latents" if text.startswith("Latent") else "pixels",
    ),
    "guidance_rule": ("Guidance", str, str),
    "cache": ("Feature cache", str, str),
    "arithmetic": ("Arithmetic", str, str),
    "merge": ("Merged tokens", str, str),
    "batch": ("Batch size", lambda count: str(count) if count else "", int),
    "init_hash": ("Init image hash", lambda digest: digest[:10], str),
    "mask_hash": ("Mask hash", lambda digest: digest[:10], str),
}
# The field that tells a variant, the surest first: A1111 does not name it.
_VARIANTS = (
    ("hires_scale", "second pass"),
    ("feather", "inpaint"),
    ("image_guidance", "edit"),
    ("strength", "image to image"),
    ("noise_level", "image to image"),
)
NAMES = tuple(name for name, _, _ in _SETTINGS.values())
_OURS = (
    *("Guidance", "Feature cache", "Arithmetic", "Merged tokens", "Noise level", "Outpaint", "Adapters"),
    *("Prompt style", "Init image hash", "Mask hash", "Batch size"),
)
"""Settings that other programs have too, and mean something else by, or not at all."""


def settings_of(found: FoundRecipe) -> Mapping[str, str]:
    """Its settings as names of ours; of another program without those that are ours alone."""
    if found.program == "unnoise":
        return found.more
    return {name: value for name, value in found.more.items() if name not in _OURS}


def to_settings(recipe: Recipe) -> dict[str, str]:
    """The settings of the variant that this recipe is of; empty for text to image."""
    spare = {
        "feather": recipe.variant != "inpaint",
        "padding": recipe.area != "masked",
        "hires_steps": recipe.variant != "second pass",
    }
    told = {
        name: write(getattr(recipe, field))
        for field, (name, write, _) in _SETTINGS.items()
        if not spare.get(field)
    }
    return {name: value for name, value in told.items() if value}


def from_settings(found: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a recipe that such settings tell. Raises InputError for numbers that are none."""
    told: dict[str, Any] = {}
    for field, (name, _, read) in _SETTINGS.items():
        try:
            told |= {field: read(found[name])} if found.get(name) else {}
        except ValueError:
            raise senseless(name, found[name]) from None
    if "hires_scale" in told:
        told.setdefault("hires_in", "latents")
    else:
        told.pop("hires_in", None)
    variant = next((variant for name, variant in _VARIANTS if name in told), "")
    return {**told, "variant": variant} if variant else told
