"""Pictures and masks of other programs' kinds, brought into the shape of ours. For the worker: PIL decodes here."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageChops, ImageOps

from unnoise import images
from unnoise.errors import FileError
from unnoise.server.refusals import FieldError
from unnoise.server.shaping import New, Shaping


def reshaped(how: Shaping, init: bytes, mask: bytes | None) -> dict[str, bytes | None]:
    """Both in their new shape, as "init" and "mask". Raises FieldError for what is no picture."""
    picture = opened("init", init)
    return {
        "init": init if _size(picture, how) == picture.size else images.png_bytes(_fitted(picture, how)),
        "mask": None if mask is None else images.png_bytes(_fitted(_mask(mask, how.new), how)),
    }


def texts(picture: bytes) -> dict[str, str]:
    """The texts in a picture, as `images.read_text`. Raises FieldError for what is no picture."""
    try:
        return images.read_text(Path("image"), picture)
    except FileError as error:
        raise FieldError("image", str(error)) from error


def _mask(mask: bytes, new: New) -> Image.Image:
    """The mask as ours: light where the picture is to be new."""
    picture = opened("mask", mask)
    if new == "transparent":
        alpha = picture.convert("RGBA").getchannel("A")
        if alpha.getextrema()[0] >= 128:  # type: ignore[operator]
            raise FieldError("mask", "mask is transparent nowhere; the picture is made anew where it is.")
        return ImageChops.invert(alpha)
    light = images.in_mode(picture, "L", "black")
    return ImageChops.invert(light) if new == "dark" else light


def _fitted(picture: Image.Image, how: Shaping) -> Image.Image:
    size, lanczos = _size(picture, how), Image.Resampling.LANCZOS
    return ImageOps.fit(picture, size, lanczos) if how.crop else picture.resize(size, lanczos)


def _size(picture: Image.Image, how: Shaping) -> tuple[int, int]:
    return how.width or picture.width, how.height or picture.height


def opened(field: str, content: bytes) -> Image.Image:
    """A picture that was sent. Raises FieldError for what cannot be read."""
    try:
        return images.open_picture(Path(field), content)
    except FileError as error:
        raise FieldError(field, str(error)) from error
