"""Pictures and masks of other programs' kinds, brought into the shape of ours. For the worker: PIL decodes here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageChops, ImageOps

from unnoise import images
from unnoise.errors import FileError
from unnoise.server.refusals import FieldError

New = Literal["light", "dark", "transparent"]


@dataclass(frozen=True)
class Shaping:
    """What is done to a picture and its mask.

    new: where the mask says that the picture is to be new; ours are light there. size: width and height that both are
    brought to, None for their own. crop: whether a picture of another aspect gives its middle, or is stretched.
    """

    new: New = "light"
    size: tuple[int, int] | None = None
    crop: bool = False

    def applied(self, init: bytes, mask: bytes | None) -> dict[str, bytes | None]:
        """Both in their new shape, as "init" and "mask". Raises FieldError for what is no picture."""
        picture = _opened("init", init)
        same = self.size in (None, picture.size)
        return {
            "init": init if same else images.png_bytes(self._fitted(picture)),
            "mask": None if mask is None else images.png_bytes(self._fitted(self._mask(mask))),
        }

    def _mask(self, mask: bytes) -> Image.Image:
        """The mask as ours: light where the picture is to be new."""
        picture = _opened("mask", mask)
        if self.new == "transparent":
            alpha = picture.convert("RGBA").getchannel("A")
            if alpha.getextrema()[0] >= 128:  # type: ignore[operator]
                raise FieldError("mask", "mask is transparent nowhere; the picture is made anew where it is.")
            return ImageChops.invert(alpha)
        light = images.in_mode(picture, "L", "black")
        return ImageChops.invert(light) if self.new == "dark" else light

    def _fitted(self, picture: Image.Image) -> Image.Image:
        if self.size is None:
            return picture
        how = Image.Resampling.LANCZOS
        return ImageOps.fit(picture, self.size, how) if self.crop else picture.resize(self.size, how)


def texts(picture: bytes) -> dict[str, str]:
    """The texts in a picture, as `images.read_text`. Raises FieldError for what is no picture."""
    try:
        return images.read_text(Path("image"), picture)
    except FileError as error:
        raise FieldError("image", str(error)) from error


def _opened(field: str, content: bytes) -> Image.Image:
    try:
        return images.open_picture(Path(field), content)
    except FileError as error:
        raise FieldError(field, str(error)) from error
