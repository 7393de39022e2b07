"""What img2img begins from: the picture, and a mask of where it is to be new."""

from __future__ import annotations

from collections.abc import Mapping

from unnoise.server import fields as read
from unnoise.server.card import Card
from unnoise.server.refusals import FieldError
from unnoise.server.shaping import Shaping

KNOWN = (
    *("init_images", "resize_mode", "mask", "mask_blur", "mask_blur_x", "mask_blur_y", "inpainting_fill"),
    *("inpaint_full_res", "inpaint_full_res_padding", "inpainting_mask_invert", "image_cfg_scale"),
)
THEIRS = {
    "init": "init_images",
    "mask": "mask",
    "strength": "denoising_strength",
    "feather": "mask_blur",
    "padding": "inpaint_full_res_padding",
    "masked_area": "inpaint_full_res",
    "image_guidance": "image_cfg_scale",
}
_STRENGTH, _BLUR = 0.75, 4
_STRETCH, _CROP = 0, 1
_ORIGINAL = 1
_FILLS = ("fill", "original", "latent noise", "latent nothing")


def pictures(told: Mapping[str, object], batch: int) -> list[object]:
    """Those that are begun from: one for all that are made, or one for each of a batch. Raises FieldError."""
    given = told.get("init_images")
    if not isinstance(given, list) or not given:
        raise FieldError("init_images", "init_images is to be a list of pictures in base64.")
    if 1 < len(given) > batch:
        raise FieldError(
            "init_images",
            f"init_images has {len(given)} pictures, and batch_size is {batch}; give one picture, or a batch_size of "
            f"{len(given)}.",
        )
    return given


def begun(
    told: Mapping[str, object], card: Card | None, notes: list[str]
) -> tuple[dict[str, object], Shaping]:
    """The fields of ours, and how the pictures are to be shaped. card: of the model. Raises FieldError."""
    made: dict[str, object] = {}
    if card is None or card.kind != "edit":
        made["strength"] = told.get("denoising_strength", _STRENGTH)
    else:
        made["image_guidance"] = told.get("image_cfg_scale")
        if "denoising_strength" in told:
            notes.append("denoising_strength is not heeded by a model that edits by instruction")
    mode = read.whole("resize_mode", told.get("resize_mode", _STRETCH), 0, 3)
    if mode > _CROP:
        raise read.refusal("resize_mode", mode, "0 (just resize) or 1 (crop and resize)")
    if told.get("mask") in (None, ""):
        return made, Shaping(crop=mode == _CROP)
    made |= {"mask": told["mask"], "feather": _blur(told)}
    _check_fill(told, notes)
    if _switch(told, "inpaint_full_res", True):
        made |= {"masked_area": True, "padding": told.get("inpaint_full_res_padding", 0)}
    dark = _switch(told, "inpainting_mask_invert", False)
    return made, Shaping("dark" if dark else "light", mode == _CROP)


def _check_fill(told: Mapping[str, object], notes: list[str]) -> None:
    fill = read.whole("inpainting_fill", told.get("inpainting_fill", _ORIGINAL), 0, 3)
    if fill > _ORIGINAL:
        raise FieldError(
            "inpainting_fill",
            f"inpainting_fill is {fill} ({_FILLS[fill]}); give 1 (original), with denoising_strength 1 where nothing "
            "of it is to stay.",
        )
    if fill != _ORIGINAL:
        notes.append(
            "inpainting_fill 0 (fill): what is painted begins from what was there, as with 1 (original)"
        )


def _blur(told: Mapping[str, object]) -> object:
    both = told.get("mask_blur", _BLUR)
    across, down = told.get("mask_blur_x", both), told.get("mask_blur_y", both)
    if across != down:
        raise FieldError("mask_blur_x", "mask_blur_x and mask_blur_y differ; give mask_blur.")
    return across


def _switch(told: Mapping[str, object], name: str, usual: bool) -> bool:
    value = told.get(name, usual)
    if value not in (0, 1):
        raise read.refusal(name, value, "true or false")
    return bool(value)
