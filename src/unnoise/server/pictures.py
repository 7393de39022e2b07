"""Pictures on their way in and out in the shapes of other programs. PIL alone, bounded, and off the event loop.

The functions here compute for milliseconds up to a second: call them by `asyncio.to_thread`.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageOps

from unnoise import images
from unnoise.errors import FileError
from unnoise.server.refusals import FieldError

FORMATS = ("png", "jpeg", "webp")
_COMMENT, _EXIF = 0x9286, 0x8769  # EXIF's UserComment, and the directory that it stands in


def opened(field: str, content: bytes) -> Image.Image:
    """The picture of these bytes. Raises FieldError where they are none, or one too large."""
    try:
        return images.open_picture(Path(field), content)
    except FileError as error:
        raise FieldError(field, str(error)) from error


def from_alpha(field: str, content: bytes) -> bytes | None:
    """A mask of ours (PNG, light where to paint) of a picture that is transparent there; None where it is nowhere."""
    picture = opened(field, content)
    if not picture.has_transparency_data:
        return None
    alpha = picture.convert("RGBA").getchannel("A")
    return images.png_bytes(ImageChops.invert(alpha)) if alpha.getextrema()[0] < 128 else None  # type: ignore[operator]


def inverted(field: str, content: bytes) -> bytes:
    """The mask with light and dark exchanged; its transparent places count as dark before."""
    return images.png_bytes(ImageChops.invert(images.in_mode(opened(field, content), "L", "black")))


def fitted(field: str, content: bytes, size: tuple[int, int], crop: bool) -> bytes:
    """The picture at this width and height: its middle where `crop`, else stretched."""
    picture = opened(field, content)
    if picture.size == size:
        return content
    lanczos = Image.Resampling.LANCZOS
    return images.png_bytes(ImageOps.fit(picture, size, lanczos) if crop else picture.resize(size, lanczos))


def size_of(field: str, content: bytes) -> tuple[int, int]:
    """Width and height."""
    return opened(field, content).size


def recoded(content: bytes, kind: str, quality: int = 100) -> bytes:
    """A PNG of ours as "png" (unchanged), "jpeg" or "webp"; its recipe goes along as EXIF.

    quality: 0 to 100; WebP at 100 loses nothing.
    """
    if kind == "png":
        return content
    picture = images.open_picture(Path("picture"), content)
    exif = Image.Exif()
    recipe = images.read_text(Path("picture"), content).get("parameters", "")
    if recipe:
        exif.get_ifd(_EXIF)[_COMMENT] = b"UNICODE\0" + recipe.encode("utf-16-be", "replace")
    if kind == "jpeg" and picture.mode != "L":
        picture = images.in_mode(picture, "RGB")
    made = io.BytesIO()
    # of a lossless WebP, quality is the time that is spent on making it small
    how: dict[str, Any] = {"lossless": True} if (kind, quality) == ("webp", 100) else {"quality": quality}
    picture.save(made, format=kind.upper(), exif=exif.tobytes() if recipe else b"", **how)
    return made.getvalue()


def base64_of(content: bytes) -> str:
    """As JSON carries them."""
    return base64.b64encode(content).decode("ascii")
