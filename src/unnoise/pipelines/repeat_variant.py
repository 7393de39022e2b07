"""What a picture that is to be repeated was begun from, as arguments of the pipeline that makes such pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unnoise.errors import InputError
from unnoise.pipelines.edit import Edit
from unnoise.pipelines.image_to_image import ImageToImage
from unnoise.pipelines.inpaint import Inpaint
from unnoise.pipelines.options import kind_of
from unnoise.pipelines.second_pass import SecondPass

if TYPE_CHECKING:
    from PIL import Image

    from unnoise.pipelines.denoising import Denoising
    from unnoise.pipelines.recipe import Recipe
    from unnoise.pipelines.second_pass import TwoPasses
    from unnoise.pipelines.text_to_image import TextToImage

SECOND = "second pass"
ENTRY = ("strength", "noise_level")
"""The arguments that say where a run is entered which begins from a picture; one of them."""


def arguments_of(recipe: Recipe) -> dict[str, Any]:
    """The arguments that its variant has beside those of every pipeline. Raises InputError for ones without sense."""
    if recipe.variant == "edit":  # begins with noise alone, whatever strength A1111 tells of it
        return {"picture_guidance": recipe.image_guidance}
    told: dict[str, Any] = {name: getattr(recipe, name) for name in ENTRY if getattr(recipe, name)}
    if recipe.variant == SECOND:
        told |= {"scale": recipe.hires_scale, "enlarge": recipe.hires_in or "latents"}
        told |= {"second_steps": recipe.hires_steps} if recipe.hires_steps else {}
    if recipe.variant == "inpaint":
        told |= {"feather": recipe.feather, "paste": not recipe.unpasted}
        told |= {"area": "masked", "padding": recipe.padding} if recipe.area == "masked" else {}
        told |= {"outpaint": _sides(recipe.outpaint)} if recipe.outpaint else {}
    return told


def _sides(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, text.split(",")))
    except ValueError as error:
        raise InputError(f"the recipe's outpaint is {text[:40]!r}; four numbers were expected.") from error


def missing_picture(variant: str, arguments: Mapping[str, Any], init: bool, mask: bool) -> str:
    """The picture that this variant cannot be made without and that is not given: "init", "mask", or "" for none."""
    if variant in ("", SECOND):
        return ""
    if not init:
        return "init"
    return "mask" if variant == "inpaint" and not mask and "outpaint" not in arguments else ""


def begin(
    pipe: TextToImage,
    prompt: str,
    options: Mapping[str, Any],
    arguments: Mapping[str, Any],
    *,
    init: Image.Image | None = None,
    mask: Image.Image | None = None,
    second: bool = False,
) -> Denoising | TwoPasses:
    """A run by the pipeline that the pictures given, and the model, call for. second: whether it has two passes."""
    if second:
        return SecondPass(pipe.model).denoise(prompt, **arguments, **options)
    if init is None:
        return pipe.denoise(prompt, **options)
    edits = kind_of(pipe.model) == "edit"
    # a model of the other kind has no use for what the picture's own was told
    arguments = {name: value for name, value in arguments.items() if (name == "picture_guidance") == edits}
    if edits:
        return Edit(pipe.model).denoise(prompt, init, **arguments, **options)
    if mask is not None or "outpaint" in arguments:
        return Inpaint(pipe.model).denoise(prompt, init, mask, **arguments, **options)
    return ImageToImage(pipe.model).denoise(prompt, init, **arguments, **options)
