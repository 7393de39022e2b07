"""What img2img begins from: the picture, and a mask of where it is to be new."""

from __future__ import annotations

from collections.abc import Mapping

from unnoise.server import fields as read
from unnoise.server import pictures
from unnoise.server.card import Card
from unnoise.server.limits import Limits
from unnoise.server.refusals import FieldError

KNOWN = (
    *("init_images", "resize_mode", "mask", "mask_blur", "mask_blur_x", "mask_blur_y", "inpainting_fill"),
    *("inpaint_full_res", "inpaint_full_res_padding", "inpainting_mask_invert", "image_cfg_scale"),
)
THEIRS = {
    "init": "init_images",
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


def picture(
    told: Mapping[str, object], limits: Limits, card: Card | None, notes: list[str]
) -> dict[str, object]:
    """The fields of ours, the pictures in base64. card: of the model. Raises FieldError."""
    given = told.get("init_images")
    if not isinstance(given, list) or len(given) != 1:
        raise FieldError("init_images", "init_images is to be a list of one picture in base64.")
    init = read.picture("init_images", given[0], limits)
    masked = told.get("mask") not in (None, "")
    area = masked and _switch(told, "inpaint_full_res", True)
    size = None if area else _size(told, limits)
    init = _fitted("init_images", init, size, told)
    made: dict[str, object] = {"init": pictures.base64_of(init)}
    strength = told.get("denoising_strength", _STRENGTH)
    if card is None or card.kind != "edit":
        made["strength"] = strength
    else:
        made["image_guidance"] = told.get("image_cfg_scale")
        if "denoising_strength" in told:
            notes.append("denoising_strength is not heeded by a model that edits by instruction")
    if masked:
        made |= _mask(told, limits, size or pictures.size_of("init_images", init), notes)
        made |= {"masked_area": True, "padding": told.get("inpaint_full_res_padding", 0)} if area else {}
    return made


def _mask(
    told: Mapping[str, object], limits: Limits, size: tuple[int, int], notes: list[str]
) -> dict[str, object]:
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
    mask = read.picture("mask", told["mask"], limits)
    if _switch(told, "inpainting_mask_invert", False):
        mask = pictures.inverted("mask", mask)
    mask = _fitted("mask", mask, size, told)
    return {"mask": pictures.base64_of(mask), "feather": _blur(told)}


def _blur(told: Mapping[str, object]) -> object:
    both = told.get("mask_blur", _BLUR)
    across, down = told.get("mask_blur_x", both), told.get("mask_blur_y", both)
    if across != down:
        raise FieldError("mask_blur_x", "mask_blur_x and mask_blur_y differ; give mask_blur.")
    return across


def _fitted(field: str, content: bytes, size: tuple[int, int] | None, told: Mapping[str, object]) -> bytes:
    """The picture at the size that is made, as resize_mode says."""
    mode = read.whole("resize_mode", told.get("resize_mode", _STRETCH), 0, 3)
    if mode > _CROP:
        raise FieldError(
            "resize_mode", f"resize_mode is {mode}; give 0 (just resize) or 1 (crop and resize)."
        )
    return content if size is None else pictures.fitted(field, content, size, crop=mode == _CROP)


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
