"""What img2img begins from: the picture, and a mask of where it is to be new."""

from __future__ import annotations

from collections.abc import Mapping

from unnoise.server import fields as read
from unnoise.server.card import Card
from unnoise.server.limits import Limits
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


def begun(
    told: Mapping[str, object], limits: Limits, card: Card | None, notes: list[str]
) -> tuple[dict[str, object], Shaping]:
    """The fields of ours, and how the pictures are to be shaped. card: of the model. Raises FieldError."""
    given = told.get("init_images")
    if not isinstance(given, list) or len(given) != 1:
        raise FieldError("init_images", "init_images is to be a list of one picture in base64.")
    made: dict[str, object] = {"init": given[0]}
    if card is None or card.kind != "edit":
        made["strength"] = told.get("denoising_strength", _STRENGTH)
    else:
        made["image_guidance"] = told.get("image_cfg_scale")
        if "denoising_strength" in told:
            notes.append("denoising_strength is not heeded by a model that edits by instruction")
    mode = read.whole("resize_mode", told.get("resize_mode", _STRETCH), 0, 3)
    if mode > _CROP:
        raise FieldError(
            "resize_mode", f"resize_mode is {mode}; give 0 (just resize) or 1 (crop and resize)."
        )
    size, crop = _size(told, limits), mode == _CROP
    if told.get("mask") in (None, ""):
        return made, Shaping(size=size, crop=crop)
    made |= {"mask": told["mask"], "feather": _blur(told)}
    _check_fill(told, notes)
    if _switch(told, "inpaint_full_res", True):
        # width and height are then of the part that is worked on, and not of the picture
        made |= {"masked_area": True, "padding": told.get("inpaint_full_res_padding", 0)}
        size = None
    dark = _switch(told, "inpainting_mask_invert", False)
    return made, Shaping("dark" if dark else "light", size, crop)


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


def _size(told: Mapping[str, object], limits: Limits) -> tuple[int, int] | None:
    """The size that is asked for; None where it is the picture's own."""
    if "width" not in told or "height" not in told:
        return None
    width, height = (read.whole(name, told[name], 1, limits.side_high) for name in ("width", "height"))
    return width, height


def _switch(told: Mapping[str, object], name: str, usual: bool) -> bool:
    value = told.get(name, usual)
    if value not in (0, 1):
        raise read.refusal(name, value, "true or false")
    return bool(value)
